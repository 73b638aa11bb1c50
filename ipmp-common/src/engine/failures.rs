//! Actions that failed, each told when it begins to fail: what is tried again and again fails again and again.

use alloc::{collections::BTreeMap, string::String};

use super::{
    core_loop::Engine,
    ids::GroupId,
    reason::{Kind, Reason},
    time::{Nanos, Timestamp},
};

/// Longer than the pause between two attempts at what keeps being refused, which is a minute at most: what failed so long
/// ago has not failed since.
const OVER: Nanos = Nanos::from_secs(150);

/// When each failed last, and for which placement.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(BTreeMap<(GroupId, String, i32), (Timestamp, u64)>);

impl Failures {
    /// Whether this is news.
    fn note(&mut self, now: Timestamp, failed: (GroupId, String, i32), epoch: u64) -> bool {
        self.0.retain(|_, (at, _)| now.since(*at) < OVER);
        self.0.insert(failed, (now, epoch)).is_none_or(|(_, before)| before != epoch)
    }
}

impl Engine {
    /// What the kernel, or a disk, refused.
    pub(super) fn action_failed(
        &mut self,
        now: Timestamp,
        (group, epoch): (GroupId, u64),
        what: String,
        errno: i32,
    ) {
        if self.failures.note(now, (group, what.clone(), errno), epoch) {
            self.publish(now, Kind::ActionFailed, Some(group), None, Reason::Errno { errno, what });
        }
    }
}
