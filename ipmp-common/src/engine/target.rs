//! One target of a detector: its part in probing, its session, round trip and counters.

use core::net::IpAddr;

use super::{
    ids::SessionId,
    rtt::RttEstimate,
    snapshot::TargetState,
    time::{Nanos, Timestamp},
};

/// How long a slow or dead target is left alone (in.mpathd: a minute).
pub(super) const QUARANTINE: Nanos = Nanos::from_secs(60);

/// One known target of this detector.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// While it is probed.
    pub(super) session: Option<SessionId>,
    pub(super) address: IpAddr,
    pub(super) state: TargetState,
    /// Since when it is in quarantine.
    pub(super) since: Timestamp,
    /// Whether its losses count from its first probe on: it was configured, is a router, or has answered.
    /// Any other must answer first.
    pub(super) trusted: bool,
    /// Its death was told, its return was not.
    pub(super) told_dead: bool,
    /// Answers it had given when its trial began.
    pub(super) acked_before: u64,
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
    pub(super) const fn new(address: IpAddr, trusted: bool) -> Self {
        Self {
            session: None,
            address,
            state: TargetState::Unused,
            since: Timestamp(0),
            trusted,
            told_dead: false,
            acked_before: 0,
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

    pub(super) fn is_active(&self) -> bool {
        self.state == TargetState::Active
    }

    pub(super) fn on_trial(&self) -> bool {
        self.state == TargetState::Trial
    }

    /// Has answered since its trial began.
    pub(super) const fn passed(&self) -> bool {
        self.acked > self.acked_before
    }

    /// After a minute what is dead may be slow, and what is slow may be as good as any.
    pub(super) fn age(&mut self, now: Timestamp) {
        let better = match self.state {
            TargetState::Slow => TargetState::Unused,
            TargetState::Dead => TargetState::Slow,
            TargetState::Active | TargetState::Trial | TargetState::Unused => return,
        };
        if now.since(self.since) >= QUARANTINE {
            (self.state, self.since) = (better, now);
        }
    }
}
