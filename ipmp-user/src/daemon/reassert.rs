//! When the wanted state is asserted again.
//!
//! A placement that was carried out stands until somebody changes it, and one that was refused may be accepted later. The
//! kernel announces the first; of what stands in the way of the second (a setting, a limit, a driver) it says nothing, so
//! that is tried again, less and less often. Asserting a state that holds already sends nothing but questions.

use std::collections::BTreeMap;

use ipmp_common::engine::{
    ids::GroupId,
    time::{Nanos, Timestamp},
};

/// After a change of addresses or routes that we did not order ourselves, the wanted state is compared and re-asserted this
/// much later, so that a burst of changes is answered once.
const SETTLE: Nanos = Nanos::from_millis(200);
/// Two re-assertions are at least so far apart: another manager that insists must not drag us into a loop.
const INTERVAL: Nanos = Nanos::from_secs(1);
/// The longest pause between two attempts at something that keeps being refused.
const LONGEST: Nanos = Nanos::from_secs(60);

/// One deadline for all groups.
#[derive(Debug, Default)]
pub(super) struct Reassert {
    due: Option<Timestamp>,
    last: Timestamp,
    /// Of groups of which something was refused last: until the next attempt, should that go on.
    pauses: BTreeMap<GroupId, Nanos>,
    /// The placement that each group has had carried out, all of it.
    stands: BTreeMap<GroupId, u64>,
}

impl Reassert {
    /// Something changed, perhaps not by us.
    pub(super) fn changed(&mut self, now: Timestamp) {
        self.earliest((now + SETTLE).max(self.last + INTERVAL));
    }

    /// A placement could not be handed over.
    pub(super) fn postponed(&mut self, now: Timestamp) {
        self.earliest(now + SETTLE);
    }

    /// A placement was carried out, or not entirely.
    pub(super) fn carried_out(&mut self, now: Timestamp, group: GroupId, entirely: bool) {
        if entirely {
            self.pauses.remove(&group);
            return;
        }
        let pause = self.pauses.entry(group).or_insert(INTERVAL);
        let at = now + *pause;
        *pause = Nanos(pause.0.saturating_mul(2)).min(LONGEST);
        self.earliest(at);
    }

    /// A placement was compared with the kernel, which took so many requests. Whether somebody else had changed something:
    /// it had stood already, all of it.
    pub(super) fn compared(&mut self, group: GroupId, epoch: u64, changes: u32, entirely: bool) -> bool {
        let stood = self.stands.get(&group) == Some(&epoch);
        if entirely {
            self.stands.insert(group, epoch);
        } else if changes > 0 {
            self.stands.remove(&group);
        }
        stood && changes > 0
    }

    /// What stands is ordered otherwise, in the same placements: by another configuration.
    pub(super) fn ordered_anew(&mut self) {
        self.stands.clear();
    }

    /// When to assert again.
    pub(super) const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Whether to assert now; the deadline is then over.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = None;
            self.last = now;
        }
        due
    }

    fn earliest(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

#[cfg(test)]
mod tests;
