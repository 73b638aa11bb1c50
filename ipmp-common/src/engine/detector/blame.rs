//! Whose fault a loss is, as far as one detector can tell: what each target did, apart from the others.

use alloc::vec::Vec;

use super::{Detector, Fate, Probe};
use crate::engine::{
    ids::SessionId,
    target::Target,
    time::{Nanos, Timestamp},
};

impl Detector {
    pub(in super::super) fn target(&self, session: SessionId) -> Option<&Target> {
        self.targets.iter().find(|target| target.session == Some(session))
    }

    pub(super) fn target_of(&self, probe: &Probe) -> Option<&Target> {
        probe.session.and_then(|session| self.target(session))
    }

    pub(in crate::engine) fn target_mut(&mut self, session: SessionId) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.session == Some(session))
    }

    /// The probe that goes out beside the slot's own, to a target that must answer before it counts.
    pub(super) fn trial_probe(&mut self, now: Timestamp) -> Option<(SessionId, u64)> {
        let count = self.targets.iter().filter(|target| target.on_trial()).count();
        let turn = self.trial_turn.checked_rem(count)?;
        self.trial_turn = (turn + 1) % count;
        let target = self.targets.iter_mut().filter(|target| target.on_trial()).nth(turn)?;
        let (session, seq) = (target.session?, target.next_seq);
        target.next_seq += 1;
        self.remember(now, session, seq, true);
        Some((session, seq))
    }

    /// How many targets are probed in turn.
    pub(in super::super) fn active(&self) -> usize {
        self.targets.iter().filter(|target| target.is_active()).count()
    }

    /// How many are probed at all.
    pub(in super::super) fn probed_targets(&self) -> usize {
        self.targets.iter().filter(|target| target.session.is_some()).count()
    }

    /// The longest wait for a reply of any active target.
    pub(in super::super) fn longest_wait(&self) -> Nanos {
        let active = self.targets.iter().filter(|target| target.is_active());
        active.map(|target| self.reply_wait(Some(target))).max().unwrap_or_default()
    }

    /// Whether there is a target whose answers and losses count.
    pub(in super::super) fn is_judged(&self) -> bool {
        self.targets.iter().any(Target::is_active)
    }

    /// Consecutive losses of one target that may be its own fault.
    pub(in super::super) fn own_losses(&self, session: SessionId) -> u32 {
        let own = self.probes.iter().rev().filter(|probe| probe.session == Some(session));
        let judged = own.filter(|probe| {
            probe.fate == Fate::Lost || probe.fate == Fate::Answered || probe.is_failed_trial()
        });
        judged
            .take_while(|probe| probe.fate != Fate::Answered && probe.decided_at >= self.blame_after)
            .count() as u32
    }

    /// The newest answers in a row of one target.
    pub(super) fn own_replies(&self, session: SessionId) -> u32 {
        let own = self.probes.iter().rev().filter(|probe| probe.session == Some(session) && !probe.trial);
        let judged = own.filter(|probe| matches!(probe.fate, Fate::Lost | Fate::Answered));
        judged.take_while(|probe| probe.fate == Fate::Answered).count() as u32
    }

    /// A session ends. What is in flight will never be judged; what was lost stays lost.
    pub(in super::super) fn release(&mut self, session: SessionId) {
        for probe in self.probes.iter_mut().filter(|probe| probe.session == Some(session)) {
            probe.session = None;
            if probe.fate == Fate::Outstanding {
                probe.fate = Fate::Unsent;
            }
        }
        self.recount();
    }

    /// Replaces the known targets; sessions of those that are gone have been released.
    pub(in super::super) fn set_targets(&mut self, targets: Vec<Target>) {
        self.targets = targets;
        self.turn = 0;
        // A target that is known no longer leaves neither losses nor answers behind.
        self.probes.retain(|probe| probe.session.is_some());
        self.settled = 0;
        self.recount();
    }
}

impl Probe {
    const fn is_failed_trial(&self) -> bool {
        self.trial && matches!(self.fate, Fate::Excused)
    }
}
