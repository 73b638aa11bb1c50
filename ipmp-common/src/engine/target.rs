//! One target of a detector: its session, round trip and counters.

use core::net::IpAddr;

use super::{
    ids::SessionId,
    rtt::RttEstimate,
    time::{Nanos, Timestamp},
};

/// One target of this detector.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) session: SessionId,
    pub(super) address: IpAddr,
    pub(super) next_seq: u64,
    pub(super) rtt: RttEstimate,
    /// Too slow for the group's interval: not probed until then.
    pub(super) slow_until: Option<Timestamp>,
    pub(super) rtt_kernel: Option<Nanos>,
    pub(super) rtt_daemon: Option<Nanos>,
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) lost: u64,
    pub(super) unsent: u64,
}

impl Target {
    pub(super) const fn new(session: SessionId, address: IpAddr) -> Self {
        Self {
            session,
            address,
            next_seq: 1,
            rtt: RttEstimate::unknown(),
            slow_until: None,
            rtt_kernel: None,
            rtt_daemon: None,
            sent: 0,
            acked: 0,
            lost: 0,
            unsent: 0,
        }
    }

    /// Whether it is probed at `now`.
    pub(super) fn in_rotation(&self, now: Timestamp) -> bool {
        self.slow_until.is_none_or(|until| until <= now)
    }
}
