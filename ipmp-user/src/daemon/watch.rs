//! What becomes of each probe, for those who watch (`ipmpstat -p`). Decides nothing: the engine judges for itself.
//!
//! As long as somebody watches, every answer wakes the daemon, so that its own round-trip time is one.

use std::{collections::BTreeMap, net::Ipv6Addr};

use ipmp_common::{
    abi::{self, NOTIFY_EVERY, SESSION_NOTIFY_EACH},
    engine::{
        event::{Event, NotSent},
        ids::SessionId,
        time::Timestamp,
    },
};

use super::Daemon;
use crate::{control::feed::FinishedProbe, kernel::ReplyRung};

/// Probes followed at once; more than there can be on their way, so that the bound is never met in earnest.
const MAX_OPEN: usize = 1 << 16;

/// With more sessions than this, one answer in sixteen must do: a watcher shall not cost more than the probing.
const MAX_WOKEN_FOR: usize = 256;

/// Probes on their way; empty while nobody watches.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Some sessions have [`SESSION_NOTIFY_EACH`].
    woken: bool,
    open: BTreeMap<(SessionId, u64), Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    decided: Timestamp,
    /// When the answer is overdue; none before it has left.
    overdue: Option<Timestamp>,
    sent: Option<Timestamp>,
}

impl Daemon {
    /// A probe shall be sent.
    pub(super) fn watch_decided(&mut self, now: Timestamp, session: SessionId, seq: u64) {
        if !self.control.probes.is_watched() {
            self.unwatch();
        } else if self.watch.open.len() < MAX_OPEN {
            if self.sessions.len() <= MAX_WOKEN_FOR {
                self.watch.woken = true;
                self.wake_for_each(session, true);
            }
            let open = Open { decided: now, overdue: None, sent: None };
            self.watch.open.insert((session, seq), open);
        }
    }

    /// Nobody watches, perhaps any more.
    fn unwatch(&mut self) {
        self.watch.open.clear();
        if std::mem::take(&mut self.watch.woken) {
            let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
            for session in sessions {
                self.wake_for_each(session, false);
            }
        }
    }

    /// Whether every answer in a session wakes the daemon.
    fn wake_for_each(&mut self, session: SessionId, each: bool) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let flags = (known.armed.flags & !SESSION_NOTIFY_EACH) | if each { SESSION_NOTIFY_EACH } else { 0 };
        if flags == known.armed.flags {
            return;
        }
        match self.kernel.change(session, abi::Session { flags, ..known.armed }) {
            Ok(()) => known.armed.flags = flags,
            Err(error) => tracing::debug!(?session, %error, "answers wake the daemon as often as before"),
        }
    }

    /// The engine is told something; perhaps of a probe.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is no news of a probe")]
    pub(super) fn watch_event(&mut self, now: Timestamp, event: &Event) {
        if self.watch.open.is_empty() {
            return;
        }
        match *event {
            Event::ProbeSent { session, seq, at } => {
                let wait = self.sessions.get(&session).map(|known| known.armed.late_after_ns);
                if let (Some(open), Some(wait)) = (self.watch.open.get_mut(&(session, seq)), wait) {
                    open.sent = Some(at);
                    open.overdue = Some(Timestamp(at.0.saturating_add(wait)));
                }
            }
            // What the engine takes for a loss, too.
            Event::ProbeNotSent { session, seq, cause: NotSent::Unresolved } => {
                self.finish(session, seq, |_| (false, None, None));
            }
            Event::ProbeNotSent { session, seq, .. } => drop(self.watch.open.remove(&(session, seq))),
            Event::Reply { session, seq, received_at } => {
                let sampled = self.is_woken_for(session, seq);
                self.finish(session, seq, |open| {
                    let rtt = |sent_at: Timestamp| received_at.since(sent_at).0;
                    (true, open.sent.map(rtt), sampled.then(|| now.since(open.decided).0))
                });
            }
            _ => {}
        }
    }

    /// Whether the daemon takes note of an answer as soon as it is there. On the rung of the packet socket it looks when
    /// it is awake for something else.
    fn is_woken_for(&self, session: SessionId, seq: u64) -> bool {
        let Some(armed) = self.sessions.get(&session).map(|known| &known.armed) else { return false };
        let rung = self.kernel.rungs(armed.ifindex).map(|rungs| rungs.reply);
        let each = armed.flags & SESSION_NOTIFY_EACH != 0;
        (each || seq % NOTIFY_EVERY == 1) && rung.is_some_and(|rung| rung != ReplyRung::Socket)
    }

    /// The turn ends: what should have been answered by now is shown as lost.
    pub(super) fn watch_overdue(&mut self, now: Timestamp) {
        let late = |open: &Open| open.overdue.is_some_and(|at| at <= now);
        let overdue: Vec<(SessionId, u64)> =
            self.watch.open.iter().filter(|(_, open)| late(open)).map(|(key, _)| *key).collect();
        for (session, seq) in overdue {
            self.finish(session, seq, |_| (false, None, None));
        }
    }

    fn finish(
        &mut self,
        session: SessionId,
        seq: u64,
        fate: impl FnOnce(&Open) -> (bool, Option<u64>, Option<u64>),
    ) {
        let Some(open) = self.watch.open.remove(&(session, seq)) else { return };
        let Some(armed) = self.sessions.get(&session).map(|known| &known.armed) else { return };
        let Some(link) = self.inventory.link(armed.ifindex) else { return };
        let (answered, rtt_kernel_ns, rtt_daemon_ns) = fate(&open);
        let (source, target) = ends(armed);
        self.control.probes.put(FinishedProbe {
            start_ns: open.decided.0,
            interface: link.name.clone(),
            source,
            target,
            answered,
            rtt_kernel_ns,
            rtt_daemon_ns,
        });
    }
}

/// The addresses of a session.
fn ends(armed: &abi::Session) -> (std::net::IpAddr, std::net::IpAddr) {
    let address = |bytes: [u8; 16]| Ipv6Addr::from(bytes).to_canonical();
    (address(armed.source), address(armed.target))
}
