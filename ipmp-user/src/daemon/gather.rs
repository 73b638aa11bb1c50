//! Facts, gathered before anything is judged.

use std::net::IpAddr;

use ipmp_common::{
    abi::{EVENT_CARRIER_DOWN, EVENT_CARRIER_UP},
    engine::{
        config::{DataAddresses, InterfaceConfig},
        event::{CarrierSource, Event, NotSent},
        ids::SessionId,
        time::{Nanos, Timestamp},
    },
};

use ipnet::IpNet;

use super::{Daemon, clock, members::MemberIo, serve::source};
use crate::{
    kernel::DepartureRung,
    net::{apply::Work, base::Base, inventory::Inventory, monitor::Change},
    probe::SendResult,
};

/// Ring buffer records taken in one turn. Their facts stand in the maps as well; what is left over is read in
/// the next turn.
const RING_BATCH: usize = 256;
/// What one turn spends on netlink, but for the drain that it is in, which is bounded itself. A storm must not keep probes
/// from leaving.
const NETLINK_TIME: Nanos = Nanos::from_millis(1);
/// After so many probes in a row that the kernel took but the egress program never saw, the program is taken
/// to be gone (somebody removed it), not the path.
const BLIND_EGRESS: u32 = 3;

impl Daemon {
    /// Hands every fact that is ready to the engine, the newest source last.
    pub(super) fn gather(&mut self, now: Timestamp) {
        self.gather_netlink(now);
        self.gather_ring(now);
        self.gather_poll(now);
        self.gather_settled(now);
        self.gather_outcomes(now);
        self.tell_put_backs(now);
        self.gather_counted(now);
        self.gather_stamps(now);
    }

    fn gather_netlink(&mut self, now: Timestamp) {
        self.unread = true;
        let mut addresses = false;
        let began = clock::now();
        while clock::now().since(began) < NETLINK_TIME {
            let changes = match self.monitor.drain(&mut self.inventory) {
                Ok(changes) if changes.is_empty() => {
                    self.unread = false;
                    break;
                }
                Ok(changes) => changes,
                Err(error) => {
                    tracing::warn!(%error, "cannot read the kernel's notifications");
                    self.unread = false;
                    break;
                }
            };
            for change in changes {
                addresses |= matches!(change, Change::Address { .. } | Change::Resync);
                self.take_change(now, &change);
            }
        }
        if addresses {
            self.tell_duplicates(now);
        }
        self.note_authors(now);
        for refusal in self.resolver.drain() {
            tracing::debug!(%refusal, "a hardware address could not be asked for");
        }
        if self.newcomers && self.admin.detaching.is_none() {
            self.newcomers = false;
            self.track_newcomers(now);
        }
        self.discover_targets(now);
    }

    fn take_change(&mut self, now: Timestamp, change: &Change) {
        self.newcomers |= matches!(change, Change::Link { .. } | Change::Resync)
            && !self.admin.source.file.daemon.track_interfaces_only_with_groups;
        match change {
            Change::Link { ifindex, name, gone, .. } => {
                if *gone {
                    // Before anything: another one may be there by now, even with the same number.
                    self.admin.detached.gone(name);
                    self.admin.identities.gone(*ifindex);
                    self.lose(now, *ifindex);
                } else {
                    self.take_back(name);
                }
                self.follow_names(now);
                self.sync_links(now, Some(*ifindex));
                self.sync_hardware(now, *ifindex);
                if self.outbound.is_empty() {
                    self.foresight.changed(now);
                } else {
                    // Whatever is judged of it: by an interface without carrier nothing can be spread.
                    self.note_foreign_change(now, Some(*ifindex));
                }
            }
            Change::Address { ifindex } => {
                self.sync_sources(now);
                self.sync_hardware(now, *ifindex);
                self.targets.changed();
                self.note_foreign_change(now, Some(*ifindex));
            }
            Change::Route => {
                self.targets.changed();
                self.note_foreign_change(now, None);
            }
            Change::Neighbour { ifindex, ip, moved } => {
                let member = self.members.iter().find(|member| member.ifindex == Some(*ifindex));
                if let Some(member) = member.filter(|_| *moved) {
                    self.engine.handle(now, Event::NeighbourMoved { member: member.id });
                }
                if self.is_possible_target(*ifindex, *ip) {
                    self.targets.changed();
                }
            }
            Change::Resync => {
                self.follow_names(now);
                self.sync_links(now, None);
                self.sync_sources(now);
                let present: Vec<u32> = self.members.iter().filter_map(|member| member.ifindex).collect();
                for ifindex in present {
                    self.sync_hardware(now, ifindex);
                }
                self.targets.changed();
                self.note_foreign_change(now, None);
            }
        }
    }

    /// Compares every member with the inventory: appeared, gone, replaced; and the carrier of the one that the
    /// news is about, or of all. Of the others the inventory may not know yet that their carrier is lost: the
    /// kernel tells that up to a second later than faster sources do (`net/core/link_watch.c`), and what is left
    /// there from before would look like its return.
    pub(super) fn sync_links(&mut self, now: Timestamp, about: Option<u32>) {
        for position in 0..self.members.len() {
            let Some(member) = self.members.get_mut(position) else { break };
            let link = self.inventory.link_by_name(&member.config.name);
            member.tell_port(link.and_then(|link| self.inventory.swallower(link)));
            let (gone, present) = member.replaced(link, &self.inventory, &self.admin);
            if let Some(link) = link {
                self.admin.identities.tell(link);
            }
            if let Some(ifindex) = gone {
                self.lose_interface(now, position, ifindex);
            }
            if let Some(ifindex) = present {
                self.take_interface(now, position, ifindex);
            }
            let Some(member) = self.members.get_mut(position) else { break };
            let link = member.ifindex.and_then(|ifindex| self.inventory.link(ifindex));
            let Some(link) = link else { continue };
            if let Some(mac) = link.mac {
                self.sender.set_source_mac(link.ifindex, mac);
            }
            if about.is_some_and(|about| about != link.ifindex) {
                continue;
            }
            if let Some(event) = member.link_news(now, link) {
                self.kernel.note_link_event();
                self.engine.handle(now, event);
            }
        }
    }

    /// An interface has gone, if it was a member's.
    fn lose(&mut self, now: Timestamp, ifindex: u32) {
        if let Some(position) = self.members.iter().position(|member| member.ifindex == Some(ifindex)) {
            self.lose_interface(now, position, ifindex);
        }
    }

    fn lose_interface(&mut self, now: Timestamp, position: usize, ifindex: u32) {
        let Some(member) = self.members.get_mut(position) else { return };
        let tests = member.config.test.clone();
        let event = member.gone();
        if !member.ungrouped {
            if let Err(error) = self.kernel.detach(ifindex) {
                tracing::warn!("{error}");
            }
            self.take_tests_off(ifindex, &tests);
        }
        self.engine.handle(now, event);
    }

    /// An interface that was renamed is there still, with the test addresses of the member that it was.
    fn take_tests_off(&mut self, ifindex: u32, tests: &[IpAddr]) {
        let standing = tests.iter().filter_map(|ip| self.standing(ifindex, *ip));
        let addresses: Vec<_> = standing.filter(|address| !address.is_link_local_v6()).collect();
        if !addresses.is_empty() {
            self.step(Work::Remove(addresses));
        }
    }

    fn take_interface(&mut self, now: Timestamp, position: usize, ifindex: u32) {
        let Some(member) = self.members.get(position) else { return };
        let down = self.inventory.link(ifindex).is_some_and(|link| !link.admin_up());
        if self.admin.started && down && !member.ungrouped {
            // As a start-up script would: plumbed first, then its addresses.
            self.step(Work::SetLink { ifindex, up: true });
        }
        let Some(member) = self.members.get_mut(position) else { return };
        let Some(link) = self.inventory.link(ifindex) else { return };
        member.ifindex = Some(ifindex);
        member.carrier_downs = link.carrier_down_count;
        let new = !member.ungrouped && self.arm_interface(ifindex);
        if !self.settles(now, position, new) {
            self.present(now, position);
        }
    }

    /// Settings and programs of a member; whether the programs are new.
    fn arm_interface(&mut self, ifindex: u32) -> bool {
        let Some(link) = self.inventory.link(ifindex) else { return false };
        self.admin.identities.note(link);
        // Before its test address appears: without arp_ignore any member would answer for it.
        match self.sysctl.prepare(&link.name) {
            Ok(Some(warning)) => tracing::warn!("{warning}"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a setting that members need could not be made"),
        }
        // At start the programs were attached before anything else.
        let new = self.kernel.rungs(ifindex).is_none();
        if new {
            self.kernel.attach(ifindex, &link.name);
        }
        let Some(rungs) = self.kernel.rungs(ifindex) else { return new };
        tracing::info!(
            interface = link.name,
            ifindex,
            replies = %rungs.reply,
            departures = %rungs.departure,
            carrier = %rungs.carrier,
            "member attached"
        );
        new
    }

    /// Tells the engine of a member's interface.
    pub(super) fn present(&mut self, now: Timestamp, position: usize) {
        let Some(member) = self.members.get(position) else { return };
        let Some(ifindex) = member.ifindex else { return };
        let adopted = if member.ungrouped {
            Vec::new()
        } else {
            adoptable(&self.inventory, &self.base, &member.config, ifindex)
        };
        let displaced =
            !member.ungrouped && (self.was_failed(member) || self.displaced(member, ifindex, &adopted));
        let Some(link) = self.inventory.link(ifindex) else { return };
        let Some(member) = self.members.get_mut(position) else { return };
        let event = member.present(link, adopted, displaced);
        self.engine.handle(now, event);
        self.counted.begin(ifindex);
        if self.members.get(position).is_some_and(|member| member.ungrouped) {
            return;
        }
        self.sync_hardware(now, ifindex);
        self.sync_sources(now);
        self.targets.changed();
    }

    /// Hands over what an interface is, if it is a member's. The engine takes no notice of what it knows.
    fn sync_hardware(&mut self, now: Timestamp, ifindex: u32) {
        let Some(link) = self.inventory.link(ifindex) else { return };
        let member = self.members.iter().find(|m| m.ifindex == Some(ifindex) && !m.is_withheld());
        if let Some(event) = member.map(|member| member.hardware(link)) {
            self.engine.handle(now, event);
        }
    }

    /// Whether the daemon before this one knew a member as failed. Where all had, no address tells.
    fn was_failed(&self, member: &MemberIo) -> bool {
        !self.admin.started && self.base.failed.contains(&member.config.name)
    }

    /// Whether data addresses of a member stand on another of its group instead, whose link is not down. On a standby
    /// that is no news: its addresses rest elsewhere while it rests.
    fn displaced(&self, member: &MemberIo, ifindex: u32, adopted: &[IpNet]) -> bool {
        let homes = match &member.config.data {
            DataAddresses::Listed(listed) => listed.as_slice(),
            DataAddresses::Adopt => adopted,
        };
        let stands =
            |ifindex, home: &IpNet| self.inventory.addresses(ifindex).iter().any(|at| at.ip() == home.addr());
        let elsewhere = |home: &IpNet| {
            self.members
                .iter()
                .filter(|other| other.group == member.group && other.id != member.id)
                .filter_map(|other| self.inventory.link_by_name(&other.config.name))
                .any(|link| link.up() != Some(false) && stands(link.ifindex, home))
        };
        !member.config.standby && homes.iter().any(|home| !stands(ifindex, home) && elsewhere(home))
    }

    pub(super) fn sync_sources(&mut self, now: Timestamp) {
        for member in &mut self.members {
            for event in member.source_news(&self.inventory) {
                self.engine.handle(now, event);
            }
        }
    }

    fn gather_ring(&mut self, now: Timestamp) {
        for taken in 0..RING_BATCH {
            let Some(event) = self.kernel.next_event() else { break };
            self.unread |= taken + 1 == RING_BATCH;
            let up = match event.kind {
                EVENT_CARRIER_UP => true,
                EVENT_CARRIER_DOWN => false,
                // A reply: its stamp is read with all others.
                _ => continue,
            };
            let rung = self.kernel.rungs(event.subject).map(|rungs| rungs.carrier);
            let source = rung.map_or(CarrierSource::Fentry, source);
            self.take_carrier(now, event.subject, up, Timestamp(event.at_ns), source);
        }
    }

    fn gather_poll(&mut self, now: Timestamp) {
        for change in self.kernel.carrier_poll() {
            // What was seen in this turn is decided upon at its time.
            let at = Timestamp(change.at_ns).min(now);
            self.take_carrier(now, change.ifindex, change.up, at, CarrierSource::Poll);
        }
    }

    fn take_carrier(&mut self, now: Timestamp, ifindex: u32, up: bool, at: Timestamp, source: CarrierSource) {
        self.kernel.note_link_event();
        let member = self.members.iter_mut().find(|member| member.ifindex == Some(ifindex));
        let Some(member) = member else { return };
        if up {
            member.carrier_back(at);
        } else if let Some(event) = member.carrier_lost(at, source) {
            self.engine.handle(now, event);
        }
    }

    fn gather_stamps(&mut self, now: Timestamp) {
        self.kernel.drain();
        let open: Vec<(SessionId, u64)> = self.engine.unanswered().collect();
        for (session, seq) in open {
            let Some(stamp) = self.kernel.stamp(session, seq) else { continue };
            if stamp.received_ns != 0 {
                let received_at = Timestamp(stamp.received_ns);
                let event = Event::Reply { session, seq, received_at };
                self.watch_event(now, &event);
                self.engine.handle(now, event);
            }
        }
    }

    /// Sends the turn's probes and tells the engine what became of each.
    pub(super) fn send_probes(&mut self, now: Timestamp) {
        let results = self.sender.flush(now, &self.inventory, &mut self.resolver);
        if results.is_empty() {
            return;
        }
        let taken_at = clock::now();
        for result in results {
            let event = self.fate(result, taken_at);
            self.watch_event(now, &event);
            self.engine.handle(now, event);
        }
    }

    fn fate(&mut self, result: SendResult, taken_at: Timestamp) -> Event {
        let SendResult { session, seq, result } = result;
        if let Err(cause) = result {
            return Event::ProbeNotSent { session, seq, cause };
        }
        let Some(known) = self.sessions.get_mut(&session) else {
            return Event::ProbeSent { session, seq, at: taken_at };
        };
        // The egress program runs within the send call, so its stamp is there or will never be.
        let stamped = self.kernel.stamp(session, seq).map_or(0, |stamp| stamp.sent_ns);
        if stamped != 0 {
            known.unseen_departures = 0;
            return Event::ProbeSent { session, seq, at: Timestamp(stamped) };
        }
        let departure = self.kernel.rungs(known.armed.ifindex).map(|rungs| rungs.departure);
        if departure.is_some_and(|rung| rung != DepartureRung::UserSpace)
            && known.unseen_departures < BLIND_EGRESS
        {
            known.unseen_departures += 1;
            if known.unseen_departures == BLIND_EGRESS {
                tracing::warn!(
                    ?session,
                    "probes no longer pass the egress program; judging by the send call"
                );
            }
            return Event::ProbeNotSent { session, seq, cause: NotSent::NeverLeft };
        }
        self.kernel.note_sent(session, seq, taken_at.0);
        Event::ProbeSent { session, seq, at: taken_at }
    }
}

/// The data addresses whose home a member is, as far as the kernel and the state file know. An address that
/// stands here because of an earlier failover belongs to its home, and one that is elsewhere belongs here.
fn adoptable(inventory: &Inventory, base: &Base, config: &InterfaceConfig, ifindex: u32) -> Vec<IpNet> {
    let home = |address: &IpNet| base.original(address.addr()).map(|original| original.home.as_str());
    let mut adopted = inventory.adoptable(ifindex, &config.test);
    adopted.retain(|address| home(address).is_none_or(|home| home == config.name));
    for address in base.at_home(&config.name) {
        if !adopted.contains(&address) {
            adopted.push(address);
        }
    }
    adopted
}
