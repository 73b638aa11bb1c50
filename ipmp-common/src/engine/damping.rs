//! Hysteresis: how long good and bad news must last before they count.
//!
//! ```text
//!  carrier lost ──link-down-delay──▶ counts as lost          (it came back meanwhile: nothing happened)
//!  repair due ──link-up-delay after the link-up, hold-down after the last trouble──▶ repaired
//!  repaired ──failback-delay──▶ serves again
//! ```
//! A delay on the way back never leaves a group without a usable member: it yields when nobody else is there.

use super::{
    config::Damping,
    core_loop::Engine,
    ids::MemberId,
    member::Member,
    reason::{Kind, Reason},
    time::{Nanos, Timestamp},
    timer::TimerKey,
};

/// The deferrals of one member.
#[derive(Debug, Default)]
pub(super) struct Damped {
    /// The carrier is lost, which counts from then on.
    link_down_until: Option<Timestamp>,
    /// Repaired, serves again then.
    failback_until: Option<Timestamp>,
    failed_at: Option<Timestamp>,
    repaired_at: Option<Timestamp>,
    /// Failures that came soon after a repair, without a long good time in between.
    flaps: u32,
    /// What is deferred now, for people.
    pub(super) deferred: Option<Reason>,
}

impl Damped {
    /// The carrier is lost, but not long enough to count.
    pub(super) const fn link_in_doubt(&self) -> bool {
        self.link_down_until.is_some()
    }

    /// Repaired, but its addresses shall not come back yet.
    pub(super) fn failback_waits(&self, now: Timestamp) -> bool {
        self.failback_until.is_some_and(|until| until > now)
    }

    /// Another interface of that name is another piece of hardware: it starts without a record of failures.
    pub(super) fn interface_gone(&mut self) {
        *self = Self::default();
    }

    /// For how long a member with so many flaps must be free of trouble.
    fn hold(&self, config: &Damping) -> Nanos {
        let Some(doublings) = self.flaps.checked_sub(1) else { return Nanos(0) };
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        config.hold_down.times(factor).min(config.hold_down_max.max(config.hold_down))
    }
}

impl Engine {
    fn damping_of(&self, id: MemberId) -> Damping {
        let group = self.member(id).and_then(|member| self.group(member.group));
        group.map_or_else(Damping::default, |group| group.config.damping)
    }

    /// Tells a deferral, once as long as it is the same one.
    fn defer(&mut self, now: Timestamp, id: MemberId, reason: Reason) {
        let Some(member) = self.member_mut(id) else { return };
        let group = member.group;
        let known = member.damped.deferred.replace(reason.clone());
        let same =
            known.is_some_and(|known| core::mem::discriminant(&known) == core::mem::discriminant(&reason));
        if !same {
            self.publish(now, Kind::Deferred, Some(group), Some(id), reason);
        }
    }

    /// The carrier of a member is there or gone. `changed`: it was the other way round before.
    pub(super) fn carrier_changed(&mut self, now: Timestamp, id: MemberId, changed: bool) {
        let delay = self.damping_of(id).link_down_delay;
        let Some(member) = self.member_mut(id) else { return };
        let up = member.link != Some(false);
        if up {
            let was_in_doubt = member.damped.link_down_until.take().is_some();
            if was_in_doubt {
                member.damped.deferred = None;
            }
            self.timers.cancel(TimerKey::LinkDown(id));
            // After a loss that never counted, the schedule and the losses of its probes go on.
            if changed && !was_in_doubt {
                self.resume_probing(now, id);
            }
        } else if delay == Nanos(0) || !member.functioning() {
            if matches!(member.damped.deferred, Some(Reason::LinkUpDelayed { .. })) {
                member.damped.deferred = None;
            }
            self.suspend_probing(id);
        } else {
            let until = member.link_changed_at + delay;
            member.damped.link_down_until = Some(until);
            self.timers.set(TimerKey::LinkDown(id), until);
            self.defer(now, id, Reason::LinkDownDelayed { delay, until });
        }
    }

    /// A carrier loss has lasted for the whole delay.
    pub(super) fn link_down_counts(&mut self, id: MemberId) {
        let Some(member) = self.member_mut(id) else { return };
        if member.damped.link_down_until.take().is_some() {
            member.damped.deferred = None;
            self.suspend_probing(id);
            self.mark_dirty(id);
        }
    }

    /// Counts a failure that follows soon upon a repair.
    pub(super) fn note_failure(&mut self, now: Timestamp, id: MemberId) {
        let memory = self.damping_of(id).hold_down_max;
        self.end_failback_delay(id);
        let Some(member) = self.member_mut(id) else { return };
        let damped = &mut member.damped;
        damped.flaps = match damped.repaired_at {
            Some(repaired_at) if now.since(repaired_at) < memory => damped.flaps.saturating_add(1),
            Some(_) | None => 0,
        };
        damped.failed_at = Some(now);
    }

    /// Whether a member that could be repaired now has to wait.
    pub(super) fn damps_repair(&mut self, now: Timestamp, id: MemberId) -> bool {
        let config = self.damping_of(id);
        let Some(member) = self.member(id) else { return false };
        // Nobody is helped by a group without any usable member.
        if !self.siblings(id).any(Member::functioning) {
            return false;
        }
        let since_up = member.link_changed_at;
        let up_until = since_up + config.link_up_delay;
        let hold = member.damped.hold(&config);
        let trouble = member.damped.failed_at.map_or(since_up, |failed_at| failed_at.max(since_up));
        let hold_until = trouble + hold;
        let reason = if hold_until > now && hold_until >= up_until {
            Reason::HeldDown { flaps: member.damped.flaps, hold, until: hold_until }
        } else if up_until > now {
            Reason::LinkUpDelayed { delay: config.link_up_delay, until: up_until }
        } else {
            return false;
        };
        self.timers.set(TimerKey::LinkRepair(id), up_until.max(hold_until));
        self.defer(now, id, reason);
        true
    }

    /// A member was repaired; `returns`: it would serve again at once.
    pub(super) fn note_repair(&mut self, now: Timestamp, id: MemberId, returns: bool) {
        let delay = self.damping_of(id).failback_delay;
        let Some(member) = self.member_mut(id) else { return };
        member.damped.repaired_at = Some(now);
        member.damped.deferred = None;
        if !returns || delay == Nanos(0) || member.config.standby || member.is_offline() {
            return;
        }
        let until = now + delay;
        member.inactive = true;
        member.damped.failback_until = Some(until);
        self.timers.set(TimerKey::Failback(id), until);
        self.defer(now, id, Reason::FailbackDelayed { delay, until });
    }

    /// Other delays were configured: waits that would now be over, or shorter, are.
    pub(super) fn damping_configured(&mut self, id: MemberId, before: &Damping) {
        let config = self.damping_of(id);
        let Some(member) = self.member_mut(id).filter(|_| config != *before) else { return };
        let (lost_at, damped) = (member.link_changed_at, &mut member.damped);
        damped.link_down_until =
            damped.link_down_until.map(|until| until.min(lost_at + config.link_down_delay));
        damped.failback_until = damped
            .failback_until
            .map(|until| damped.repaired_at.map_or(until, |at| until.min(at + config.failback_delay)));
        let waits = [
            (TimerKey::LinkDown(id), damped.link_down_until),
            (TimerKey::Failback(id), damped.failback_until),
        ];
        for (key, until) in waits {
            if let Some(until) = until {
                self.timers.set(key, until);
            }
        }
    }

    /// It serves, or cannot.
    pub(super) fn end_failback_delay(&mut self, id: MemberId) {
        self.timers.cancel(TimerKey::Failback(id));
        if let Some(member) = self.member_mut(id)
            && member.damped.failback_until.take().is_some()
        {
            member.damped.deferred = None;
        }
    }

    /// The interface has gone, and with it everything that was waited for.
    pub(super) fn cancel_waits(&mut self, id: MemberId) {
        use TimerKey::{Failback, LinkDown, LinkRepair, ProbingGrace};
        for key in [LinkDown(id), LinkRepair(id), Failback(id), ProbingGrace(id)] {
            self.timers.cancel(key);
        }
    }
}
