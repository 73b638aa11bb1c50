//! What may be ordered next is told to the applier, which makes it ready: after each placement, and when somebody changed
//! something, because then what was ready is out of date.

use std::collections::BTreeSet;

use ipmp_common::engine::{
    ids::GroupId,
    time::{Nanos, Timestamp},
};

use super::Daemon;
use crate::net::plan::Wanted;

/// After a change, so that a burst of them is one.
const SETTLE: Nanos = Nanos::from_millis(200);
/// Between two on account of changes: the applier reads the kernel's tables for each.
const INTERVAL: Nanos = Nanos::from_secs(1);

/// For which groups, and when for all.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    /// Groups of which the newest placement was carried out since.
    settled: BTreeSet<GroupId>,
    due: Option<Timestamp>,
    not_before: Timestamp,
}

impl Foresight {
    /// A group's newest placement was carried out.
    pub(super) fn settled(&mut self, group: GroupId) {
        self.settled.insert(group);
    }

    /// Somebody changed a link, an address or a route, and no placement is asserted again for it.
    pub(super) fn changed(&mut self, now: Timestamp) {
        self.due.get_or_insert_with(|| (now + SETTLE).max(self.not_before));
    }

    /// When all groups are to be looked at.
    pub(super) const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// The groups to be looked at now; they are not again until something happens.
    fn take(&mut self, now: Timestamp, all: impl Iterator<Item = GroupId>) -> BTreeSet<GroupId> {
        if self.due.take_if(|due| *due <= now).is_some() {
            self.not_before = now + INTERVAL;
            self.settled.extend(all);
        }
        std::mem::take(&mut self.settled)
    }
}

impl Daemon {
    /// Has made ready what may be ordered next. A group whose newest placement is still under way is looked at when that is
    /// carried out.
    pub(super) fn foresee(&mut self, now: Timestamp) {
        for group in self.foresight.take(now, self.placements.keys().copied()) {
            let next = self.engine.foreseen(now, group);
            let next: Vec<Wanted> = next.iter().map(|placement| self.wanted(placement)).collect();
            self.applier.foresee(group, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);

    fn ms(milliseconds: u64) -> Timestamp {
        Timestamp(0) + Nanos::from_millis(milliseconds)
    }

    fn taken(foresight: &mut Foresight, now: Timestamp) -> usize {
        foresight.take(now, [GROUP, GroupId(4)].into_iter()).len()
    }

    #[test]
    fn a_group_is_looked_at_at_once_when_its_placement_was_carried_out() {
        let mut foresight = Foresight::default();
        foresight.settled(GROUP);
        assert_eq!(taken(&mut foresight, ms(0)), 1);
        assert_eq!(taken(&mut foresight, ms(0)), 0, "and once");
    }

    #[test]
    fn a_burst_of_changes_is_one_and_many_are_one_a_second() {
        let mut foresight = Foresight::default();
        let mut times = 0;
        for now in 0..3000 {
            foresight.changed(ms(now));
            times += usize::from(taken(&mut foresight, ms(now)) == 2);
        }
        assert_eq!(times, 3, "after 200, 1200 and 2200 ms");
        assert_eq!(foresight.due(), Some(ms(3200)));
    }
}
