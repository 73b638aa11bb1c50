//! The slots, and the confirm probes between them.

use super::Detector;
use crate::engine::{
    rng::Rng,
    suspicion::Suspicion,
    target::Target,
    time::{Nanos, Timestamp},
};

impl Detector {
    /// Turns suspicion on or off.
    pub(in crate::engine) fn with_suspicion(mut self, on: bool) -> Self {
        self.suspicion = on.then(|| Suspicion::of_slot(self.interval));
        self
    }

    /// Moves the schedule on to `now`; returns how many whole slots had passed unused.
    pub(super) fn advance(&mut self, now: Timestamp, rng: &mut Rng) -> u64 {
        let mut skipped = 0;
        if now >= self.next_slot {
            skipped = (now.since(self.base).0 / self.interval.0.max(1)).saturating_sub(1);
            self.base = self.base + self.interval.times(skipped + 1);
            let half = self.interval.divided(2);
            // On time, probes are at least half a slot apart; a late wake-up must not bring them closer.
            self.next_slot = (self.base + half + rng.below(half)).max(now + half);
        } else {
            self.confirms += 1;
        }
        skipped
    }

    /// The next regular slot; while a loss is to be confirmed, sooner.
    pub(super) fn next_due(&self, now: Timestamp) -> Timestamp {
        match self.suspicion {
            Some(suspicion) if self.is_suspect() => now + suspicion.interval,
            // After an answer: not right behind the last confirm probe.
            Some(suspicion) => self.next_slot.max(now + suspicion.interval),
            None => self.next_slot,
        }
    }

    /// Losses are there but not yet conclusive for everybody. Then a run is not confirmed any further, so each costs a
    /// bounded number of probes. Where a round trip takes longer than a slot, every probe is overdue at first: no
    /// ground for more of them.
    fn is_suspect(&self) -> bool {
        let fast = |target: &Target| target.rtt.bound().is_none_or(|bound| bound <= self.interval);
        self.losses > 0 && !self.says_dead() && self.targets.iter().all(fast)
    }

    /// The losses of a confirmed run must span a minimum, lest a short burst be taken for a dead path.
    pub(super) fn spans_enough(&self) -> bool {
        self.suspicion.is_none_or(|suspicion| self.loss_span >= suspicion.span)
    }

    /// Whether they span as much as regular probes would.
    pub(super) fn spans_enough_for_all(&self) -> bool {
        self.suspicion.is_none_or(|suspicion| self.loss_span >= suspicion.group_span)
    }

    /// Notes the span of the present run of losses, `None` or zero if there is none.
    pub(super) fn set_loss_span(&mut self, span: Option<Nanos>) {
        self.loss_span = span.filter(|_| self.losses > 0).unwrap_or_default();
        if self.losses == 0 {
            self.confirms = 0;
        }
    }

    /// What the present losses span, if confirm probes were among them.
    pub(in crate::engine) fn confirmed_in(&self) -> Option<Nanos> {
        (self.confirms > 0).then_some(self.loss_span)
    }
}
