//! As [`super::settle`], for members that appear while the daemon runs, and without waiting: what the carrier does right after
//! our programs were attached is our doing. The engine is told of the interface when its carrier has been quiet for a while,
//! or is back.

use ipmp_common::engine::{
    event::Event,
    time::{Nanos, Timestamp},
};

use super::{Daemon, members::link_up, settle};
use crate::kernel::ReplyRung;

/// Drivers that reset their rings do so before the attaching call returns, or in a work queue right after it.
const QUIET: Nanos = Nanos::from_millis(250);
/// As at start.
const LIMIT: Nanos = Nanos::from_secs(settle::LIMIT.as_secs());

/// What is awaited of an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settling {
    until: Timestamp,
    quiet_at: Timestamp,
    /// It has no carrier now.
    lost: bool,
    /// The engine does not know of the interface yet.
    pub(super) withheld: bool,
}

impl Settling {
    pub(super) fn new(now: Timestamp, withheld: bool) -> Self {
        Self { until: now + LIMIT, quiet_at: now + QUIET, lost: false, withheld }
    }

    /// The carrier changed.
    pub(super) fn hear(&mut self, now: Timestamp, up: bool) {
        self.lost = !up;
        self.quiet_at = now + QUIET;
    }

    /// When to look again.
    fn due(&self) -> Timestamp {
        if self.lost { self.until } else { self.quiet_at.min(self.until) }
    }
}

impl Daemon {
    /// A member's interface was taken: its programs are `new`, if it has any. Whether it has to settle.
    pub(super) fn settles(&mut self, now: Timestamp, position: usize, new: bool) -> bool {
        let Some(member) = self.members.get_mut(position) else { return false };
        let link = member.ifindex.and_then(|ifindex| self.inventory.link(ifindex));
        let Some(link) = link.filter(|link| self.admin.started && link_up(link) != Some(false)) else {
            return false;
        };
        let rung = self.kernel.rungs(link.ifindex).map(|rungs| rungs.reply);
        // One that is only watched may have been a member, whose programs were taken off.
        let touched = member.ungrouped || (new && rung == Some(ReplyRung::XdpNative));
        if !touched {
            return false;
        }
        let mut settling = Settling::new(now, true);
        if self.kernel.link_up(&link.name) == Some(false) {
            settling.hear(now, false);
        }
        member.settling = Some(settling);
        self.engine.handle(now, Event::InterfaceAwaited { member: member.id, until: settling.until });
        true
    }

    /// Tells the engine of interfaces that have settled, or had the time to.
    pub(super) fn gather_settled(&mut self, now: Timestamp) {
        for position in 0..self.members.len() {
            let Some(member) = self.members.get_mut(position) else { break };
            let Some(settling) = member.settling.filter(|settling| settling.due() <= now) else { continue };
            member.settling = None;
            if settling.lost {
                let interface = &member.config.name;
                tracing::warn!(interface, "no carrier since programs were attached: taken for lost");
            }
            if settling.withheld {
                self.present(now, position);
                continue;
            }
            let link = member.ifindex.and_then(|ifindex| self.inventory.link(ifindex));
            if let Some(event) = link.and_then(|link| member.link_news(now, link)) {
                self.engine.handle(now, event);
            }
        }
    }

    /// When the next interface may have settled.
    pub(super) fn settled_at(&self) -> Option<Timestamp> {
        self.members.iter().filter_map(|member| Some(member.settling.as_ref()?.due())).min()
    }
}
