//! The verdict over each probe, and the runs of losses and answers that follow.

use super::{Detector, Fate, LOSSES_TO_FAIL, Probe, REPLIES_OF_PATIENCE, REPLIES_TO_REPAIR, SLOTS_PER_FDT};
use crate::engine::time::{Nanos, Timestamp};

impl Detector {
    /// Judges every outstanding probe whose reply wait is over. All evidence up to `now` must have been
    /// handed in. Returns whether anything was lost.
    ///
    /// A verdict that comes `late` by half a slot is put off by as much, once: what starved us may have
    /// starved the kernel's delivery of the reply, too, and that says nothing about the path.
    pub(in crate::engine) fn judge(&mut self, now: Timestamp, late: Nanos) -> bool {
        let half = self.interval.divided(2);
        let mut lost_any = false;
        for position in self.settled..self.probes.len() {
            let Some(probe) = self.probes.get(position) else {
                break;
            };
            let due = self.due(probe).filter(|due| probe.fate == Fate::Outstanding && *due <= now);
            if due.is_none() {
                continue;
            }
            if let Some(probe) = self.probes.get_mut(position).filter(|_| late >= half)
                && probe.put_off_until.is_none()
            {
                probe.put_off_until = Some(now + half);
                continue;
            }
            self.lose(position, now);
            lost_any = true;
        }
        lost_any
    }

    pub(super) fn lose(&mut self, position: usize, now: Timestamp) {
        let Some(probe) = self.probes.get_mut(position) else {
            return;
        };
        let sent_at = probe.sent_at.unwrap_or(now);
        if sent_at < self.quiet_until || probe.trial {
            probe.fate = Fate::Excused;
            return;
        }
        probe.fate = Fate::Lost;
        let session = probe.session;
        let address = session.and_then(|session| self.target_mut(session)).map(|target| {
            target.lost += 1;
            target.address
        });
        self.last_target = address.or(self.last_target);
        self.recount();
    }

    /// Recounts the runs from the newest judged probe backwards. Probes still open or never sent neither
    /// extend nor break a run. Counting anew each time is what lets a late reply undo a loss.
    pub(super) fn recount(&mut self) {
        let settled = |probe: &Probe| matches!(probe.fate, Fate::Answered | Fate::Unsent);
        while self.probes.get(self.settled).is_some_and(settled) {
            self.settled += 1;
        }
        let mut run: Option<Fate> = None;
        let (mut length, mut oldest, mut newest) = (0, None, None);
        for probe in self.probes.iter().rev() {
            match (probe.fate, run) {
                (Fate::Outstanding | Fate::Excused | Fate::Unsent, _) => {}
                (fate, None) => {
                    run = Some(fate);
                    (length, oldest, newest) = (1, Some(probe), Some(probe));
                }
                (fate, Some(of)) if fate == of => {
                    length += 1;
                    oldest = Some(probe);
                }
                (Fate::Answered | Fate::Lost, Some(_)) => break,
            }
            if run == Some(Fate::Answered) && length >= REPLIES_OF_PATIENCE {
                break;
            }
        }
        let overdue = |probe: &Probe| self.due(probe);
        (self.losses, self.replies, self.first_loss_at) = match run {
            Some(Fate::Lost) => (length, 0, oldest.and_then(overdue)),
            Some(Fate::Answered) => (0, length, None),
            Some(Fate::Outstanding | Fate::Excused | Fate::Unsent) | None => (0, 0, None),
        };
        if self.replies < REPLIES_TO_REPAIR {
            // One target that answers shows the path, whatever the others do, or did before they were set aside: repair
            // counts its answers alone too.
            let active = self.targets.iter().filter(|target| target.is_active());
            let own = active.filter_map(|target| Some(self.own_replies(target.session?))).max();
            self.replies = self.replies.max(own.unwrap_or(0).min(REPLIES_TO_REPAIR));
        }
        self.last_loss_sent_at =
            newest.filter(|probe| probe.fate == Fate::Lost).and_then(|probe| probe.sent_at);
        let departed = |probe: Option<&Probe>| probe.and_then(|probe| probe.sent_at);
        let span = departed(newest).zip(departed(oldest)).map(|(newest, oldest)| newest.since(oldest));
        self.set_loss_span(span);
    }

    /// How many probes have stayed in the host since the last that left, if that is news: once they fill a
    /// detection time.
    pub(in crate::engine) fn falls_mute(&mut self) -> Option<u32> {
        self.stayed += 1;
        (u64::from(self.stayed) == SLOTS_PER_FDT).then_some(self.stayed)
    }

    /// The same, when one leaves again after such a time.
    pub(in crate::engine) fn speaks_again(&mut self) -> Option<u32> {
        let stayed = core::mem::take(&mut self.stayed);
        (u64::from(stayed) >= SLOTS_PER_FDT).then_some(stayed)
    }

    /// Whether the newest probes, a detection time's worth of them, all failed to leave the host. Then it cannot
    /// be expected to give evidence.
    pub(in crate::engine) fn is_mute(&self) -> bool {
        let recent = SLOTS_PER_FDT as usize;
        self.probes.len() >= recent
            && self.probes.iter().rev().take(recent).all(|probe| probe.fate == Fate::Unsent)
    }

    /// Whether none of the newest probes, a detection time's worth, has left the host: the neighbour is still
    /// being resolved, or we are at fault. Such a family says nothing, neither for the path nor against it.
    pub(in crate::engine) fn abstains(&self) -> bool {
        let recent = self.probes.iter().rev().filter(|probe| !probe.trial).take(SLOTS_PER_FDT as usize);
        let mut stayed = recent.map(|probe| match probe.fate {
            Fate::Unsent => true,
            Fate::Outstanding => probe.sent_at.is_none(),
            Fate::Answered | Fate::Lost | Fate::Excused => false,
        });
        stayed.all(|stayed| stayed)
    }

    /// Whether the path is no longer proved by any target, be it only for a moment.
    pub(in crate::engine) const fn is_silent(&self) -> bool {
        self.losses >= LOSSES_TO_FAIL
    }

    /// Whether losses suffice to fail, as far as this family goes.
    pub(in crate::engine) fn says_failed(&self) -> bool {
        self.is_silent() && self.spans_enough()
    }

    /// Whether they suffice even to condemn the whole group.
    pub(in crate::engine) fn says_dead(&self) -> bool {
        self.is_silent() && self.spans_enough_for_all()
    }

    /// Whether a probe that left while the present run of losses of `other` went on was answered: after the first of
    /// those was overdue, and not after the last. Then the target lived when `other` lost it.
    pub(in crate::engine) fn answered_during_losses_of(&self, other: &Self) -> bool {
        let Some((from, to)) = other.first_loss_at.zip(other.last_loss_sent_at) else { return false };
        let during = |at: Timestamp| at > from && at <= to;
        self.probes.iter().any(|probe| probe.fate == Fate::Answered && probe.sent_at.is_some_and(during))
    }

    /// Whether answers suffice to repair.
    pub(in crate::engine) const fn says_repaired(&self) -> bool {
        self.replies >= REPLIES_TO_REPAIR
    }
}
