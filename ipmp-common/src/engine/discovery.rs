//! Finding somebody to probe where no route names a router (section 8 of the IPMP behaviour, host mode).
//!
//! The engine asks for multicast echo requests and is told which hosts the neighbour table holds. They go
//! through a trial (`targets`); as one that answers becomes known, and each time nobody new does, the requests
//! become rarer.

use alloc::{collections::BTreeSet, vec::Vec};
use core::net::IpAddr;

use super::{
    action::Action,
    config::MAX_TARGETS,
    core_loop::Engine,
    detector::SLOTS_PER_FDT,
    ids::{Family, GroupId, MemberId},
    member::{Member, slot},
    reason::{Kind, Reason},
    sessions::is_unicast,
    target::Target,
    time::{Nanos, Timestamp},
    timer::TimerKey,
};

/// The longest pause between two multicasts of a group.
const MAX_PAUSE: Nanos = Nanos::from_secs(60);
/// With so many hosts that answer no more are looked for: one alone could not be told from its path.
const ENOUGH_HOSTS: usize = 2;

/// A search that goes on.
#[derive(Debug)]
pub(super) struct Discovery {
    pause: Nanos,
    turn: usize,
}

impl Engine {
    /// Whether the targets of a group in a family are the hosts on the link: probing is wanted, nothing is
    /// configured and no route names a router. In a family without a configured test address also the
    /// other one must have no router.
    pub fn probes_hosts(&self, group: GroupId, family: Family) -> bool {
        let Some(known) = self.group(group).filter(|group| group.config.targets.is_empty()) else {
            return false;
        };
        let routed = |family| known.discovered[slot(family)].iter().any(|target| !self.is_own(*target));
        let mut tests = self.members_of(group).flat_map(|member| &member.config.test).peekable();
        tests.peek().is_some()
            && !routed(family)
            && (tests.any(|test| Family::of(*test) == family) || !Family::ALL.into_iter().any(routed))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        let mut data = self.groups.iter().flat_map(|group| &group.addresses);
        data.any(|placed| placed.address.addr() == address)
            || self.members.iter().any(|member| {
                member.config.test.contains(&address) || member.sources.contains(&Some(address))
            })
    }

    /// The hosts on the link of a group, as the neighbour tables have them. Those that are probed stay known
    /// when the kernel forgets them: an outage must not take away what it is seen by.
    pub(super) fn hosts_seen(&mut self, now: Timestamp, id: GroupId, family: Family, seen: &[IpAddr]) {
        let own = self.own_addresses();
        let probed: BTreeSet<IpAddr> = self
            .members_of(id)
            .filter_map(|member| member.detectors[slot(family)].as_ref())
            .flat_map(|detector| &detector.targets)
            .filter(|target| target.session.is_some())
            .map(|target| target.address)
            .collect();
        let Some(group) = self.group(id) else { return };
        let old = group.hosts[slot(family)].clone();
        let mut hosts: Vec<IpAddr> =
            old.iter().copied().filter(|host| probed.contains(host) || seen.contains(host)).collect();
        for host in seen.iter().filter(|host| !own.contains(host) && is_unicast(**host)) {
            if hosts.len() < MAX_TARGETS && !hosts.contains(host) {
                hosts.push(*host);
            }
        }
        if hosts == old {
            return;
        }
        let came: Vec<IpAddr> = hosts.iter().copied().filter(|host| !old.contains(host)).collect();
        let members = group.members.clone();
        if let Some(group) = self.group_mut(id) {
            group.hosts[slot(family)] = hosts;
        }
        if !self.probes_hosts(id, family) {
            return;
        }
        if !came.is_empty() {
            let reason = Reason::HostsFound { family, hosts: came };
            self.publish(now, Kind::Target, Some(id), None, reason);
        }
        for member in members {
            self.rebuild_sessions(now, member);
        }
    }

    /// Something changed for a member that may make a search successful: it begins anew.
    pub(super) fn restart_discovery(&mut self, now: Timestamp, id: MemberId) {
        let Some(group) = self.member(id).map(|member| member.group) else { return };
        if let Some(search) = self.group_mut(group).and_then(|group| group.discovery.as_mut()) {
            *search = Discovery { pause: Nanos(0), turn: 0 };
            let slot_time = self.fdt_of(group).divided(SLOTS_PER_FDT);
            self.timers.set(TimerKey::Discover(group), now + slot_time);
        }
        self.settle_discovery(now, id);
    }

    /// Starts or ends the search of a member's group.
    pub(super) fn settle_discovery(&mut self, now: Timestamp, id: MemberId) {
        let Some(id) = self.member(id).map(|member| member.group) else { return };
        let slot_time = self.fdt_of(id).divided(SLOTS_PER_FDT);
        let wanted = Family::ALL.into_iter().any(|family| self.seeks_hosts(id, family));
        let running = self.group(id).is_some_and(|group| group.discovery.is_some());
        let Some(group) = self.groups.get_mut(id.0 as usize) else { return };
        if !wanted {
            group.discovery = None;
            self.timers.cancel(TimerKey::Discover(id));
        } else if !running {
            group.discovery = Some(Discovery { pause: Nanos(0), turn: 0 });
            // Not all hosts of a link at once after a power failure.
            let first = group.members.first().and_then(|member| self.rngs.get_mut(member.0 as usize));
            let wait = first.map_or(slot_time, |rng| rng.below(slot_time));
            self.timers.set(TimerKey::Discover(id), now + wait);
        }
    }

    fn seeks_hosts(&self, id: GroupId, family: Family) -> bool {
        if !self.probes_hosts(id, family) || self.searchers(id, family).next().is_none() {
            return false;
        }
        let answering: BTreeSet<IpAddr> = self
            .members_of(id)
            .filter_map(|member| member.detectors[slot(family)].as_ref())
            .flat_map(|detector| &detector.targets)
            .filter(|target| Target::is_active(target))
            .map(|target| target.address)
            .collect();
        answering.len() < ENOUGH_HOSTS || self.members_of(id).all(|member| !member.functioning())
    }

    /// Members that can ask, with their source.
    fn searchers(&self, id: GroupId, family: Family) -> impl Iterator<Item = (MemberId, IpAddr)> {
        let able =
            |member: &&Member| member.link_is_up() && !member.is_offline() && !member.config.test.is_empty();
        self.members_of(id)
            .filter(able)
            .filter_map(move |member| Some((member.id, member.sources[slot(family)]?)))
    }

    /// One multicast, then a longer pause.
    pub(super) fn search(&mut self, now: Timestamp, id: GroupId) {
        let families = Family::ALL.into_iter().filter(|family| self.seeks_hosts(id, *family));
        let ways: Vec<(MemberId, IpAddr)> = families.flat_map(|family| self.searchers(id, family)).collect();
        let slot_time = self.fdt_of(id).divided(SLOTS_PER_FDT).max(Nanos(1));
        let Some(search) = self.group_mut(id).and_then(|group| group.discovery.as_mut()) else { return };
        let Some((member, source)) = search.turn.checked_rem(ways.len()).and_then(|turn| ways.get(turn))
        else {
            return;
        };
        search.turn += 1;
        // Every way is tried once before the pauses grow.
        search.pause = if search.turn <= ways.len() {
            slot_time
        } else {
            search.pause.times(2).max(slot_time).min(MAX_PAUSE.max(slot_time))
        };
        let pause = search.pause;
        self.actions.push_back(Action::Discover { member: *member, source: *source });
        self.timers.set(TimerKey::Discover(id), now + pause);
    }
}
