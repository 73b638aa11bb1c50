//! Events are written down here; nothing is decided before `Event::Judge`.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::{
    action::PlacedAddress,
    config::{DataAddresses, InterfaceConfig},
    consistency::Identity,
    core_loop::Engine,
    event::{CarrierSource, Command, NotSent, Presence},
    ids::{Family, GroupId, MemberId, SessionId},
    member::{Member, TEST_ADDRESS_GRACE, slot},
    reason::{Kind, Reason, Record},
    time::Timestamp,
    timer::TimerKey,
};

/// `Event::Carrier` without its member.
#[derive(Clone, Copy, Debug)]
pub(super) struct CarrierFact {
    pub(super) up: bool,
    pub(super) at: Timestamp,
    pub(super) source: CarrierSource,
    pub(super) downs: u64,
}

/// The listed data addresses of an interface, at home.
pub(super) fn listed(member: MemberId, config: &InterfaceConfig) -> Vec<PlacedAddress> {
    match &config.data {
        DataAddresses::Adopt => Vec::new(),
        DataAddresses::Listed(addresses) => addresses
            .iter()
            .map(|address| PlacedAddress { address: *address, home: member, on: member })
            .collect(),
    }
}

impl Engine {
    pub(super) fn interface_present(&mut self, now: Timestamp, presence: Presence) {
        let Presence { member: id, ifindex, link_up, adopted, displaced } = presence;
        let Some(member) = self.member_mut(id) else { return };
        let adopts = member.config.data == DataAddresses::Adopt;
        let appeared = member.ifindex != Some(ifindex);
        let was_told_absent = member.absence_told;
        member.ifindex = Some(ifindex);
        member.absence_told = false;
        if appeared {
            member.link = link_up;
            member.link_changed_at = now;
            // It may never have had a carrier: that there is none is no loss.
            (member.link_source, member.link_downs) = (CarrierSource::Netlink, 0);
            member.probing_expected_by = now + TEST_ADDRESS_GRACE;
            if !member.failed {
                member.reason = Reason::InterfaceFound { ifindex };
                member.since = now;
            }
        }
        if link_up != Some(false) {
            self.end_wait(id);
        }
        let Some(member) = self.member(id) else { return };
        let group_id = member.group;
        if appeared && self.is_tested(member) {
            let by = member.probing_expected_by;
            self.timers.set(TimerKey::ProbingGrace(id), by);
        }
        let returns = was_told_absent && self.siblings(id).any(Member::functioning);
        // At start: what an earlier run found dead may be so still, and a restart must not move addresses onto it.
        let left = displaced && appeared && !was_told_absent;
        if let Some(group) = self.group_mut(group_id) {
            group.dirty = true;
            for address in adopted.into_iter().filter(|_| adopts) {
                if !group.addresses.iter().any(|known| known.address == address) {
                    group.addresses.push(PlacedAddress { address, home: id, on: id });
                }
            }
        }
        if left && link_up == Some(false) {
            let reason = Reason::LinkDown { source: CarrierSource::Netlink, downs: 0 };
            self.fail_member(now, id, reason);
        }
        if returns || left {
            self.put_to_the_proof(now, id);
        }
        if let Some(reason) = self.member(id).map(|member| member.reason.clone()).filter(|_| was_told_absent)
        {
            self.publish(now, Kind::Present, Some(group_id), Some(id), reason);
        }
        if appeared {
            self.rebuild_sessions(now, id);
        }
    }

    /// Its addresses are served elsewhere: one that returns gets them back as if repaired, so not before it is
    /// known to work. Whether it can be probed is known only when its test addresses stand on it. That it does not work
    /// yet is no failure to be told: its absence was, and its repair will be.
    fn put_to_the_proof(&mut self, now: Timestamp, id: MemberId) {
        let tested = self.member(id).is_some_and(|member| self.is_tested(member));
        let Some(member) = self.member_mut(id) else { return };
        member.reason = if member.link_is_up() {
            Reason::Unproved
        } else {
            Reason::LinkDown { source: member.link_source, downs: member.link_downs }
        };
        member.failed = true;
        member.inactive = false;
        member.failed_by_probes = tested;
        member.test_address_until = tested.then_some(now + TEST_ADDRESS_GRACE);
    }

    pub(super) fn interface_gone(&mut self, now: Timestamp, id: MemberId) {
        let Some(member) = self.member_mut(id) else { return };
        if member.ifindex.take().is_none() {
            return;
        }
        member.link = None;
        member.link_changed_at = now;
        member.link_ups = [None; 2];
        member.repair_after = None;
        member.failed = false;
        member.damped.interface_gone();
        let detached = core::mem::take(&mut member.detached);
        if member.identity.held() || detached {
            member.aside = None;
        }
        member.identity = Identity::default();
        let sources = core::mem::take(&mut member.sources);
        member.inactive = member.config.standby;
        member.reason = if detached { Reason::Detached } else { Reason::InterfaceRemoved };
        member.since = now;
        self.cancel_waits(id);
        self.rebuild_sessions(now, id);
        self.sources_given_up(now, id, sources);
        self.mark_dirty(id);
    }

    pub(super) fn carrier(&mut self, now: Timestamp, id: MemberId, fact: CarrierFact) {
        let tested = self.member(id).is_some_and(|member| self.is_tested(member));
        let Some(member) = self.member_mut(id) else { return };
        let CarrierFact { up, at, source, downs } = fact;
        let changed = member.link != Some(up);
        let hidden_flap = up && downs > 0;
        if member.ifindex.is_none() || (!changed && !hidden_flap) {
            return;
        }
        let was = member.link;
        member.link = Some(up);
        member.link_changed_at = at;
        member.link_source = source;
        member.link_downs = downs;
        let was_up = was != Some(false);
        let ups = if up {
            downs.saturating_add(u64::from(!was_up))
        } else {
            downs.saturating_sub(u64::from(was_up))
        };
        for _ in 0..ups.min(3) {
            member.remember_link_up(at);
        }
        if up && member.failed && tested && member.sources == [None; 2] {
            // It appeared without carrier: the link alone must not repair what its probes are to judge.
            member.test_address_until = Some(now + TEST_ADDRESS_GRACE);
        }
        let group = member.group;
        if hidden_flap || !up {
            self.publish_link(now, group, id, Kind::LinkDown, at, Reason::LinkDown { source, downs });
        }
        if up && (was.is_some() || hidden_flap) {
            self.publish_link(now, group, id, Kind::LinkUp, at, Reason::LinkUp { source });
        }
        if up {
            self.end_wait(id);
        }
        if up && (was.is_some() || hidden_flap) {
            self.announce_where_it_stands(now, id);
        }
        self.carrier_changed(now, id, changed);
        self.mark_dirty(id);
    }

    fn publish_link(
        &mut self,
        now: Timestamp,
        group: GroupId,
        member: MemberId,
        kind: Kind,
        at: Timestamp,
        reason: Reason,
    ) {
        self.publish_with(Record {
            group: Some(group),
            member: Some(member),
            evidence_at: Some(at),
            ..Record::new(now, kind, reason)
        });
    }

    pub(super) fn test_address(
        &mut self,
        now: Timestamp,
        id: MemberId,
        family: Family,
        address: Option<IpAddr>,
    ) {
        let Some(member) = self.member_mut(id) else { return };
        if member.sources[slot(family)] != address {
            let mut given_up = [None; 2];
            given_up[slot(family)] = core::mem::replace(&mut member.sources[slot(family)], address);
            self.note_shared_source(now, id, family);
            self.rebuild_sessions(now, id);
            self.restart_discovery(now, id);
            self.disown(now, address);
            self.sources_given_up(now, id, given_up);
        }
    }

    pub(super) fn discovered(&mut self, now: Timestamp, id: GroupId, family: Family, targets: Vec<IpAddr>) {
        let Some(group) = self.group_mut(id) else { return };
        // While nothing answers, a route that vanished must not take the targets away by which recovery is seen.
        if group.discovered[slot(family)] == targets || (targets.is_empty() && group.all_failed) {
            return;
        }
        group.discovered[slot(family)].clone_from(&targets);
        let news =
            group.config.targets.is_empty() && group.config.interfaces.iter().any(|i| !i.test.is_empty());
        let members = group.members.clone();
        if news {
            let reason = Reason::RoutersFound { family, routers: targets };
            self.publish(now, Kind::Target, Some(id), None, reason);
        }
        for member in members {
            self.rebuild_sessions(now, member);
        }
    }

    /// An address that turned out to be our own is no target any more, on no member of any group.
    fn disown(&mut self, now: Timestamp, address: Option<IpAddr>) {
        let probes = |member: &&Member| {
            let mut targets = member.detectors().flat_map(|detector| &detector.targets);
            targets.any(|target| Some(target.address) == address)
        };
        let concerned: Vec<MemberId> = self.members.iter().filter(probes).map(|member| member.id).collect();
        for member in concerned {
            self.rebuild_sessions(now, member);
        }
    }

    fn of_session(&self, session: SessionId) -> Option<(MemberId, Family)> {
        self.sessions.get(&session).copied()
    }

    pub(super) fn probe_sent(&mut self, now: Timestamp, session: SessionId, seq: u64, at: Timestamp) {
        let Some((member, family)) = self.of_session(session) else {
            return;
        };
        let Some(detector) = self.member_mut(member).and_then(|member| member.detector_mut(family)) else {
            return;
        };
        detector.sent(session, seq, at);
        let again = detector.speaks_again();
        self.arm_verdict(member, family);
        if let Some(stayed) = again {
            self.tell_mute(now, member, Reason::ProbesLeave { family, stayed });
        }
    }

    fn tell_mute(&mut self, now: Timestamp, member: MemberId, reason: Reason) {
        let group = self.member(member).map(|member| member.group);
        self.publish(now, Kind::Mute, group, Some(member), reason);
    }

    pub(super) fn probe_not_sent(&mut self, now: Timestamp, session: SessionId, seq: u64, cause: NotSent) {
        let Some((member, family)) = self.of_session(session) else {
            return;
        };
        let Some(detector) = self.member_mut(member).and_then(|member| member.detector_mut(family)) else {
            return;
        };
        detector.not_sent(now, session, seq, cause);
        // Who does not answer when asked for its address has been asked: that is a loss.
        let mute = if cause == NotSent::Unresolved { None } else { detector.falls_mute() };
        if let Some(probes) = mute {
            self.tell_mute(now, member, Reason::ProbesStayed { family, probes, cause });
        }
        if self.member(member).is_some_and(Member::probes_say_failed) {
            self.mark_dirty(member);
            // Known only after this turn's judgement; it must not wait for the next probe slot.
            self.timers.set(TimerKey::Verdict(member, family), now);
        }
    }

    pub(super) fn reply(&mut self, now: Timestamp, session: SessionId, seq: u64, received_at: Timestamp) {
        let Some((id, family)) = self.of_session(session) else {
            return;
        };
        let Some(member) = self.member_mut(id) else { return };
        let failed = member.failed;
        let Some(detector) = member.detector_mut(family) else {
            return;
        };
        let in_doubt = detector.losses > 0;
        if detector.reply(now, session, seq, received_at).is_none() {
            return;
        }
        self.adapt(now, id, family, session);
        let Some(member) = self.member_mut(id) else { return };
        // An answer shows that the port forwards, whatever the family.
        for detector in member.detectors.iter_mut().flatten() {
            detector.quiet_until = detector.quiet_until.min(received_at);
        }
        // A healthy member's answers change no decision, unless a sibling waits to be exonerated by them.
        let awaited = self.siblings(id).any(Member::probes_say_failed);
        if failed || in_doubt || awaited {
            self.mark_dirty(id);
        }
        if in_doubt {
            self.arm_verdict(id, family);
        }
    }

    pub(super) fn arm_verdict(&mut self, id: MemberId, family: Family) {
        let due = self
            .member(id)
            .and_then(|member| member.detectors[slot(family)].as_ref())
            .and_then(super::detector::Detector::verdict_due);
        match due {
            Some(at) => self.timers.set(TimerKey::Verdict(id, family), at),
            None => self.timers.cancel(TimerKey::Verdict(id, family)),
        }
    }

    pub(super) fn command(&mut self, now: Timestamp, command: &Command) {
        if self.check(command).is_err() {
            return;
        }
        match command {
            Command::Offline { member, .. } => {
                let unforced = Command::Offline { member: *member, force: false };
                let forced = self.check(&unforced).is_err();
                self.obey(now, *member, Kind::Offline, Reason::Administrator { forced });
            }
            Command::Online { member } => {
                self.obey(now, *member, Kind::Online, Reason::Administrator { forced: false });
            }
            Command::Detach { members, .. } => {
                for member in members {
                    self.obey(now, *member, Kind::Offline, Reason::Detached);
                }
            }
        }
    }

    fn obey(&mut self, now: Timestamp, id: MemberId, kind: Kind, reason: Reason) {
        let Some(member) = self.member_mut(id) else { return };
        member.detached = reason == Reason::Detached;
        member.recalled = kind == Kind::Online;
        member.inactive = member.config.standby && kind == Kind::Online && !member.failed;
        if kind == Kind::Offline {
            member.aside = Some((reason.clone(), now));
        } else {
            member.serves_again(now, reason.clone());
        }
        let group = member.group;
        self.end_failback_delay(id);
        self.publish(now, kind, Some(group), Some(id), reason);
        if kind == Kind::Offline {
            self.suspend_probing(id);
        } else {
            self.resume_probing(now, id);
        }
        self.mark_dirty(id);
    }
}
