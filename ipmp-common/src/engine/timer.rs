//! The timer table: a timer is a value under a key, never a task.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    ids::{Family, GroupId, MemberId},
    time::Timestamp,
};

/// What a timer is for. The order breaks ties between equal deadlines: judge before sending more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    /// The oldest outstanding probe of a detector is due for a verdict.
    Verdict(MemberId, Family),
    /// A detector's next probe slot.
    Slot(MemberId, Family),
    /// A carrier loss has lasted long enough to count.
    LinkDown(MemberId),
    /// A deferred repair may be tried again.
    LinkRepair(MemberId),
    /// A repaired member may serve again.
    Failback(MemberId),
    /// A member's test addresses and targets have had their time to appear.
    ProbingGrace(MemberId),
    /// An interface that is missing at start has been waited for long enough.
    Awaited(MemberId),
    /// A group looks for hosts to probe.
    Discover(GroupId),
    /// Announcements of a group are due for repetition.
    Announce(GroupId),
}

/// Deadlines by key and by time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_key: BTreeMap<TimerKey, Timestamp>,
    by_time: BTreeSet<(Timestamp, TimerKey)>,
}

impl Timers {
    /// Arms or moves a timer.
    pub(super) fn set(&mut self, key: TimerKey, at: Timestamp) {
        self.cancel(key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    /// Disarms a timer; harmless if it is not armed.
    pub(super) fn cancel(&mut self, key: TimerKey) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes every timer that is due, earliest first. One that is armed while these are dealt with waits for
    /// the next turn even if it is due already (at the end of time all are), so that a turn always ends.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<(Timestamp, TimerKey)> {
        let due: Vec<_> = self.by_time.iter().copied().take_while(|(at, _)| *at <= now).collect();
        for (_, key) in &due {
            self.cancel(*key);
        }
        due
    }
}
