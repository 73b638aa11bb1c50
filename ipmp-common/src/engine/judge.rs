//! Verdicts: which member has failed, which is repaired, and when the fault lies with the whole group.

use alloc::vec::Vec;

use super::{
    core_loop::Engine,
    detector::REPLIES_OF_PATIENCE,
    ids::{Family, GroupId, MemberId},
    member::{Member, slot},
    reason::{Kind, Reason, Record},
    time::{Nanos, Timestamp},
    timer::TimerKey,
};

/// Whose fault it is that a member has no working path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A sibling has a working path: the member's.
    Interface,
    /// No sibling has: the target's or the network's.
    Group,
    /// Siblings have lost probes too, but not yet enough to tell. Each of them will answer or fail within
    /// its own detection time.
    Undecided,
}

impl Engine {
    pub(super) fn judge(&mut self, now: Timestamp) {
        let missing = self.run_timers(now);
        for position in 0..self.order.len() {
            let Some(id) = self.order.get(position).copied() else { break };
            if self.group_mut(id).is_some_and(|group| core::mem::take(&mut group.dirty)) {
                self.decide(now, id);
            }
        }
        if !missing.is_empty() {
            self.tell_missing(now, &missing);
        }
    }

    /// Returns the interfaces that were awaited in vain.
    fn run_timers(&mut self, now: Timestamp) -> Vec<MemberId> {
        let (mut late_by, mut skipped_slots) = (Nanos(0), 0);
        let mut missing = Vec::new();
        for (due, key) in self.timers.take_due(now) {
            match key {
                TimerKey::Verdict(member, family) => self.verdict(now, now.since(due), member, family),
                TimerKey::Slot(member, family) => {
                    let skipped = self.probe_slot(now, now.since(due), member, family);
                    skipped_slots = skipped.saturating_add(skipped_slots);
                    if now.since(due) >= self.stall_of(member) {
                        late_by = late_by.max(now.since(due));
                    }
                }
                TimerKey::LinkDown(member) => self.link_down_counts(member),
                TimerKey::LinkRepair(member) | TimerKey::Failback(member) => self.mark_dirty(member),
                TimerKey::ProbingGrace(member) => self.tell_probing(now, member),
                TimerKey::Awaited(member) => missing.extend(self.awaited_in_vain(member)),
                TimerKey::Discover(group) => self.search(now, group),
                TimerKey::Announce(group) => self.announce_again(now, group),
            }
        }
        self.skipped_slots = self.skipped_slots.saturating_add(skipped_slots);
        if late_by > Nanos(0) {
            self.stalls += 1;
            self.publish(now, Kind::Stalled, None, None, Reason::LateWakeup { late_by, skipped_slots });
        }
        missing
    }

    /// From this lateness on a stall is told: half the FDT, when several verdicts had to wait for it.
    fn stall_of(&self, member: MemberId) -> Nanos {
        self.member(member).map_or(Nanos(0), |member| self.fdt_of(member.group).divided(2)).max(Nanos(1))
    }

    fn verdict(&mut self, now: Timestamp, late: Nanos, id: MemberId, family: Family) {
        let Some(member) = self.member_mut(id) else { return };
        let failed = member.failed;
        let Some(detector) = member.detector_mut(family) else {
            return;
        };
        let lost = detector.judge(now, late);
        let news = lost && (failed || detector.says_failed());
        self.arm_verdict(id, family);
        if news {
            self.mark_dirty(id);
        }
    }

    /// Sends the probe of a slot; returns how many slots were skipped.
    fn probe_slot(&mut self, now: Timestamp, late: Nanos, id: MemberId, family: Family) -> u64 {
        self.verdict(now, late, id, family);
        self.tend_targets(now, id, family);
        let Some(member) = self.members.get_mut(id.0 as usize) else {
            return 0;
        };
        let Some(rng) = self.rngs.get_mut(id.0 as usize) else {
            return 0;
        };
        let Some(detector) = member.detectors[slot(family)].as_mut() else {
            return 0;
        };
        let (probes, skipped, next) = detector.take_slot(now, rng);
        self.timers.set(TimerKey::Slot(id, family), next);
        for (session, seq) in probes.into_iter().flatten() {
            self.actions.push_back(super::action::Action::SendProbe { session, seq });
        }
        skipped
    }

    fn tell_absence(&mut self, now: Timestamp, group: GroupId) {
        let absent =
            |member: &&Member| member.ifindex.is_none() && !member.absence_told && !member.is_awaited();
        let absentees: Vec<MemberId> =
            self.members_of(group).filter(absent).map(|member| member.id).collect();
        for id in absentees {
            let Some(member) = self.member_mut(id) else { continue };
            member.absence_told = true;
            member.probing_told = None;
            let reason = member.reason.clone();
            self.publish(now, Kind::Absent, Some(group), Some(id), reason);
        }
    }

    fn decide(&mut self, now: Timestamp, group: GroupId) {
        self.tell_absence(now, group);
        self.check_hardware(now, group);
        let members = self.group(group).map(|group| group.members.clone()).unwrap_or_default();
        // One verdict can exonerate or condemn a sibling; each member changes at most once in a round.
        for _ in 0..=members.len() {
            let mut changed = false;
            for member in &members {
                changed |= self.decide_member(now, *member);
            }
            if !changed {
                break;
            }
        }
        self.settle_activity(now, group);
        self.settle_placement(now, group);
        self.settle_released(group);
        self.settle_state(now, group);
    }

    fn decide_member(&mut self, now: Timestamp, id: MemberId) -> bool {
        let Some(member) = self.member(id).filter(|member| member.ifindex.is_some()) else {
            return false;
        };
        if member.failed {
            return member.link_is_up() && self.try_repair(now, id);
        }
        if member.is_offline() || member.is_awaited() || (member.link_is_up() && !member.probes_say_failed())
        {
            return false;
        }
        match self.whose_fault(member) {
            Fault::Undecided => return false,
            Fault::Interface => {
                let reason = self.failure_reason(now, member);
                self.fail_member(now, id, reason);
            }
            Fault::Group => self.fail_group(now, id),
        }
        true
    }

    fn failure_reason(&self, now: Timestamp, member: &Member) -> Reason {
        if !member.link_is_up() {
            return Reason::LinkDown { source: member.link_source, downs: member.link_downs };
        }
        let Some((family, detector)) = member.telling_family() else {
            return Reason::NoTargets;
        };
        Reason::ProbesLost {
            losses: detector.losses,
            family,
            target: detector.last_target.unwrap_or(detector.source),
            silent_for: member.last_reply_at().map(|at| now.since(at)),
            fdt: self.fdt_of(member.group),
            confirmed_in: detector.confirmed_in(),
        }
    }

    /// Looks for a sibling that proves the network innocent. A sibling with link and nothing to probe, or unable
    /// to send, counts as healthy; one that is only lossy never turns one failure into a group failure. A sibling's answer
    /// counts if its probe left while the member's were being lost: what both asked of a target that died in between, or
    /// came back, would prove nothing about the member.
    fn whose_fault(&self, member: &Member) -> Fault {
        if self.is_anonymous(member.group) {
            return Fault::Interface;
        }
        let link_fault = !member.link_is_up();
        let mut fault = if link_fault || member.probes_say_dead() { Fault::Group } else { Fault::Undecided };
        for sibling in self.siblings(member.id).filter(|sibling| sibling.functioning()) {
            if !sibling.link_is_up() {
                continue;
            }
            if sibling.damped.link_in_doubt() {
                fault = Fault::Undecided;
                continue;
            }
            if link_fault || sibling.is_mute() || sibling.answered_during_losses_of(member) {
                return Fault::Interface;
            }
            if !sibling.probes_say_dead() {
                fault = Fault::Undecided;
            }
        }
        fault
    }

    /// Kernel time of what speaks for or against a member now.
    pub(super) fn evidence_at(member: &Member) -> Option<Timestamp> {
        if member.link == Some(false) || !member.probed() {
            Some(member.link_changed_at).filter(|at| *at > Timestamp(0))
        } else {
            member.last_reply_at()
        }
    }

    pub(super) fn fail_member(&mut self, now: Timestamp, id: MemberId, reason: Reason) {
        self.note_failure(now, id);
        let Some(member) = self.member_mut(id) else { return };
        member.failed = true;
        member.failed_by_probes = member.link_is_up();
        member.inactive = false;
        member.recalled = false;
        member.reason = reason.clone();
        member.since = now;
        let record = Record {
            group: Some(member.group),
            member: Some(id),
            evidence_at: Self::evidence_at(member),
            decided_at: Some(now),
            ..Record::new(now, Kind::Failed, reason)
        };
        self.publish_with(record);
    }

    /// No functioning member is left without evidence against it: each is told with its own (also the only
    /// member of a group, where in.mpathd logs the group alone).
    fn fail_group(&mut self, now: Timestamp, first: MemberId) {
        let Some(group_id) = self.member(first).map(|member| member.group) else {
            return;
        };
        let members = self.group(group_id).map(|group| group.members.clone()).unwrap_or_default();
        if let Some(group) = self.group_mut(group_id) {
            group.all_failed = true;
        }
        for id in members {
            let Some(member) = self.member(id) else { continue };
            if member.functioning() && (!member.link_is_up() || member.probes_say_failed()) {
                let reason = self.failure_reason(now, member);
                self.fail_member(now, id, reason);
            }
        }
    }

    fn try_repair(&mut self, now: Timestamp, id: MemberId) -> bool {
        let Some(member) = self.member(id) else {
            return false;
        };
        let reason = if member.probed() {
            if !member.probes_say_repaired() || self.host_is_recovering(member) {
                return false;
            }
            let Some((family, detector)) = member.telling_family() else {
                return false;
            };
            let target = detector.last_target.unwrap_or(detector.source);
            Reason::ProbesAnswered { replies: detector.replies, family, target }
        } else if let Some(until) = member.awaits_test_address(now) {
            self.timers.set(TimerKey::LinkRepair(id), until);
            return false;
        } else if member.awaits_targets() {
            return false;
        } else if let Some(until) = member.repair_after.filter(|until| *until > now) {
            self.defer_repair(now, id, until);
            return false;
        } else {
            Reason::LinkRestored
        };
        if self.damps_repair(now, id) {
            return false;
        }
        self.repair(now, id, reason);
        true
    }

    /// After a group failure the member that carries the addresses is about to be repaired too: moving them
    /// for a slot or two would help nobody. It goes on answering, or its next loss ends the wait, or patience
    /// does.
    fn host_is_recovering(&self, member: &Member) -> bool {
        if member.judged().any(|detector| detector.replies >= REPLIES_OF_PATIENCE) {
            return false;
        }
        let Some(group) = self.group(member.group).filter(|group| group.all_failed) else {
            return false;
        };
        self.siblings(member.id).any(|sibling| {
            sibling.failed
                && sibling.link_is_up()
                && group.hosts(sibling.id)
                && !sibling.probes_say_repaired()
                && sibling.judged().any(|detector| detector.replies > 0)
        })
    }

    fn defer_repair(&mut self, now: Timestamp, id: MemberId, until: Timestamp) {
        self.timers.set(TimerKey::LinkRepair(id), until);
        let Some(member) = self.member_mut(id).filter(|member| !member.flap_told) else {
            return;
        };
        member.flap_told = true;
        let group = member.group;
        // Two remembered ups and the one before them.
        let reason = Reason::LinkFlaps { ups: 3, retry_in: until.since(now) };
        member.damped.deferred = Some(reason.clone());
        self.publish(now, Kind::Flapping, Some(group), Some(id), reason);
    }

    fn repair(&mut self, now: Timestamp, id: MemberId, reason: Reason) {
        let Some(group_id) = self.member(id).map(|member| member.group) else {
            return;
        };
        let Some(group) = self.group(group_id) else { return };
        let (serves, delayed) = (group.repaired_serve(), !group.all_failed);
        let Some(member) = self.member_mut(id) else { return };
        member.failed = false;
        member.inactive = member.config.standby || !serves;
        member.flap_told = false;
        member.repair_after = None;
        member.test_address_until = None;
        member.reason = reason.clone();
        member.since = now;
        let record = Record {
            group: Some(group_id),
            member: Some(id),
            evidence_at: Self::evidence_at(member),
            decided_at: Some(now),
            ..Record::new(now, Kind::Repaired, reason)
        };
        self.timers.cancel(TimerKey::LinkRepair(id));
        if let Some(group) = self.group_mut(group_id) {
            group.all_failed = false;
        }
        self.publish_with(record);
        self.note_repair(now, id, serves && delayed);
    }
}
