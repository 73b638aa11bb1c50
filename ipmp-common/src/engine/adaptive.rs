//! The failure detection time follows the round trip (section 7 of the behaviour).
//!
//! A reply that takes longer than the probe interval would be judged lost before it comes. As soon as a target's
//! round trip with four deviations exceeds the interval twice in a row, either that one target is set aside, or the whole group
//! is given an interval of twice that bound. It shrinks again by halves once every path is four times as quick.
//!
//! in.mpathd sends probes that serve only to measure the round trip while its detection time is raised. They are
//! not needed here: every probe is stamped by the kernel and every answer is a sample, however late, so that
//! the estimates are as new as the newest slot of the raised interval.

use alloc::vec::Vec;

use super::{
    action::Action,
    config::MAX_FAILURE_DETECTION_TIME,
    core_loop::Engine,
    detector::{Detector, SLOTS_PER_FDT},
    ids::{Family, GroupId, MemberId, SessionId},
    member::slot,
    reason::{Kind, Reason, Record},
    rtt::RttEstimate,
    target::Target,
    time::{Nanos, Timestamp},
    timer::TimerKey,
};

/// With so many targets one of them may be set aside for being slow.
const TARGETS_TO_SPARE_ONE: usize = 4;
/// The others are quick if their bound is at most the interval divided by this (in.mpathd's exception factor).
const EXCEPTION_FACTOR: u64 = 2;
/// The raised interval is so many times the bound.
const RAISE_FACTOR: u64 = 2;
/// Paths are quick again when every bound is at most the interval divided by this.
const LOWER_FACTOR: u64 = 4;
/// A slow target is not probed for so long (in.mpathd: a minute).
pub(super) const SLOW_QUARANTINE: Nanos = Nanos::from_secs(60);
/// A raised detection time stands at least so long (in.mpathd: a minute, of one clock for all groups).
const SETTLING: Nanos = Nanos::from_secs(60);

/// The failure detection time that a round trip's bound asks for.
pub(super) fn raised(bound: Nanos) -> Nanos {
    bound.times(RAISE_FACTOR).times(SLOTS_PER_FDT).min(MAX_FAILURE_DETECTION_TIME)
}

impl Target {
    /// SLOW: sets it aside. What was known of its round trip is forgotten, so that it is measured anew.
    pub(super) const fn set_aside(&mut self, until: Timestamp) {
        self.slow_until = Some(until);
        self.rtt = RttEstimate::unknown();
    }

    /// Whether its round trip is at most `limit`, or not known yet.
    fn within(&self, limit: Nanos) -> bool {
        self.rtt.bound().is_none_or(|bound| bound <= limit)
    }
}

impl Detector {
    fn active_targets(&self, now: Timestamp) -> impl Iterator<Item = &Target> + '_ {
        self.targets.iter().filter(move |target| target.is_active() && target.in_rotation(now))
    }

    /// Whether one slow target can be spared: enough others, and all of them quick.
    fn can_spare(&self, now: Timestamp, slow: SessionId) -> bool {
        let limit = self.interval.divided(EXCEPTION_FACTOR);
        let others = || self.active_targets(now).filter(|target| target.session != Some(slow));
        others().count() + 1 >= TARGETS_TO_SPARE_ONE && others().all(|target| target.within(limit))
    }
}

impl Engine {
    /// A target has answered: is the detection time still right?
    pub(super) fn adapt(&mut self, now: Timestamp, id: MemberId, family: Family, session: SessionId) {
        let Some(member) = self.member(id) else { return };
        let Some(group) = self.group(member.group) else { return };
        // A failed member's round trips are no measure for the others, unless all have failed: then it is the
        // slow answers that show the way back.
        if member.failed && !group.all_failed {
            return;
        }
        let Some(detector) = member.detectors[slot(family)].as_ref() else { return };
        let Some(target) = detector.target(session) else { return };
        let Some(bound) = target.rtt.bound() else { return };
        let (group_id, address, interval) = (group.id, target.address, detector.interval);
        let (configured, fdt) = (group.config.failure_detection_time, group.fdt);
        if target.rtt.excessive() {
            if detector.can_spare(now, session) {
                self.set_target_aside(now, id, family, session, bound);
                return;
            }
            let fdt_wanted = raised(bound);
            if fdt_wanted > fdt {
                let reason =
                    Reason::SlowRoundTrip { family, target: address, bound, configured, fdt: fdt_wanted };
                self.set_detection_time(now, group_id, id, fdt_wanted, reason);
            }
        } else if fdt > configured && bound < interval.divided(LOWER_FACTOR) && self.may_lower(now, group_id)
        {
            let lowered = fdt.divided(2).max(configured);
            let reason = Reason::QuickRoundTrip { family, target: address, bound, configured, fdt: lowered };
            self.set_detection_time(now, group_id, id, lowered, reason);
        }
    }

    /// All paths in use are quick, and the raise was long enough ago.
    fn may_lower(&self, now: Timestamp, id: GroupId) -> bool {
        let Some(group) = self.group(id) else { return false };
        let limit = group.fdt.divided(SLOTS_PER_FDT).divided(LOWER_FACTOR);
        let settled = group.fdt_raised_at.is_none_or(|at| now.since(at) >= SETTLING);
        settled
            && self
                .members_of(id)
                .filter(|member| !member.failed)
                .flat_map(super::member::Member::judged)
                .all(|detector| detector.active_targets(now).all(|target| target.within(limit)))
    }

    fn set_target_aside(
        &mut self,
        now: Timestamp,
        id: MemberId,
        family: Family,
        session: SessionId,
        bound: Nanos,
    ) {
        let Some(member) = self.member_mut(id) else { return };
        let group = member.group;
        let Some(target) = member.detector_mut(family).and_then(|detector| detector.target_mut(session))
        else {
            return;
        };
        target.set_aside(now + SLOW_QUARANTINE);
        let reason = Reason::OneSlowTarget { target: target.address, bound, retry_in: SLOW_QUARANTINE };
        self.publish(now, Kind::TargetSlow, Some(group), Some(id), reason);
    }

    /// Gives the whole group another detection time, and every schedule the interval that goes with it.
    fn set_detection_time(&mut self, now: Timestamp, id: GroupId, by: MemberId, fdt: Nanos, reason: Reason) {
        let Some(group) = self.group_mut(id) else { return };
        if fdt > group.fdt {
            group.fdt_raised_at = Some(now);
        }
        group.fdt = fdt;
        let members: Vec<MemberId> = group.members.clone();
        for member in members {
            for family in Family::ALL {
                self.set_interval(now, member, family, fdt.divided(SLOTS_PER_FDT));
            }
        }
        self.publish_with(Record {
            group: Some(id),
            member: Some(by),
            decided_at: Some(now),
            ..Record::new(now, Kind::DetectionTime, reason)
        });
    }

    /// Another detection time was configured: what it was raised to is forgotten.
    pub(super) fn detection_time_configured(&mut self, now: Timestamp, id: GroupId) {
        let Some(group) = self.group_mut(id) else { return };
        group.fdt = group.config.failure_detection_time;
        group.fdt_raised_at = None;
        let (interval, members) = (group.fdt.divided(SLOTS_PER_FDT), group.members.clone());
        for member in members {
            for family in Family::ALL {
                self.set_interval(now, member, family, interval);
            }
        }
    }

    fn set_interval(&mut self, now: Timestamp, id: MemberId, family: Family, interval: Nanos) {
        let Some(member) = self.members.get_mut(id.0 as usize) else { return };
        let Some(rng) = self.rngs.get_mut(id.0 as usize) else { return };
        let probes = member.link_is_up() && !member.is_offline();
        let Some(detector) = member.detectors[slot(family)].as_mut() else { return };
        let next = detector.set_interval(now, interval, rng);
        for session in detector.targets.iter().filter_map(|target| target.session) {
            self.actions.push_back(Action::SetLateAfter { session, late_after: interval });
        }
        if probes {
            self.timers.set(TimerKey::Slot(id, family), next);
            self.arm_verdict(id, family);
        }
    }
}
