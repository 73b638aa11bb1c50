//! Probe-based detection on one member in one address family: the schedule, what became of each probe,
//! and the runs of losses and answers that the member's verdict rests on.
//!
//! ```text
//!  slot base ──U──▶ slot base ──U──▶ …        U = FDT / 7
//!      │└ probe leaves uniformly in [U/2, U] after its base
//!      ▼
//!  outstanding ── reply stamped ───────────────▶ answered   (losses := 0)
//!      ├───────── left, no reply within W ─────▶ lost       (losses + 1; a later reply still undoes it)
//!      └───────── never left the host ─────────▶ forgotten  (evidence of nothing)
//! ```

mod suspect;

use alloc::{collections::VecDeque, vec::Vec};
use core::net::IpAddr;

use crate::abi::NOTIFY_EVERY;

use super::{
    event::NotSent,
    ids::SessionId,
    rng::Rng,
    suspicion::Suspicion,
    target::Target,
    time::{Nanos, Timestamp},
};

/// Consecutive losses that fail a member (in.mpathd `NUM_PROBE_FAILS`).
pub const LOSSES_TO_FAIL: u32 = 5;
/// Consecutive answers that repair it (in.mpathd `NUM_PROBE_REPAIRS`).
pub const REPLIES_TO_REPAIR: u32 = 10;
/// Answers beyond which a repaired member no longer waits for another one to recover with it.
pub(super) const REPLIES_OF_PATIENCE: u32 = 2 * REPLIES_TO_REPAIR;
/// Probe slots in one failure detection time. Seven, not five: it leaves room for the reply wait and for
/// the random placement of probes, so that five losses fit into the FDT wherever the failure falls.
pub const SLOTS_PER_FDT: u64 = 7;
/// Targets probed in turn (in.mpathd probes three to five of the known ones).
pub const MAX_ACTIVE_TARGETS: usize = 5;
/// Probes remembered; the kernel keeps as many stamps for each single target.
const MEMORY: usize = 64;

/// One probe and what became of it.
#[derive(Clone, Debug)]
struct Probe {
    session: SessionId,
    seq: u64,
    decided_at: Timestamp,
    sent_at: Option<Timestamp>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Outstanding,
    Answered,
    Lost,
    /// Lost in the quiet period.
    Excused,
    Unsent,
}

/// What a verdict or a reply changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The newest answer or loss concerned this target.
    pub(super) target: IpAddr,
}

/// Probing of one member in one family.
#[derive(Clone, Debug)]
pub(super) struct Detector {
    pub(super) source: IpAddr,
    /// The interface that its sessions are armed for.
    pub(super) ifindex: u32,
    pub(super) targets: Vec<Target>,
    interval: Nanos,
    turn: usize,
    base: Timestamp,
    /// When the next regular slot is due; confirm probes leave in between.
    next_slot: Timestamp,
    /// `None`: only the regular slots are probed.
    suspicion: Option<Suspicion>,
    probes: VecDeque<Probe>,
    /// So many of the oldest probes are settled for good: answered, or never sent.
    settled: usize,
    /// Consecutive losses over all targets.
    pub(super) losses: u32,
    /// Consecutive answers over all targets; counted no further than `REPLIES_OF_PATIENCE`.
    pub(super) replies: u32,
    /// From the departure of the first probe of the present run of losses to that of the last.
    loss_span: Nanos,
    /// Confirm probes sent in the present suspicion.
    confirms: u32,
    /// When the reply to the oldest probe of the present run of losses was overdue.
    pub(super) first_loss_at: Option<Timestamp>,
    /// Kernel time of the newest answer.
    pub(super) last_reply_at: Option<Timestamp>,
    /// When the newest of the answered probes had left.
    pub(super) answered_sent_at: Option<Timestamp>,
    /// The target of the newest verdict.
    pub(super) last_target: Option<IpAddr>,
    /// Losses before this are not counted; an answer ends it.
    pub(super) quiet_until: Timestamp,
}

impl Detector {
    pub(super) fn new(
        source: IpAddr,
        ifindex: u32,
        fdt: Nanos,
        targets: Vec<Target>,
        quiet_until: Timestamp,
    ) -> Self {
        Self {
            source,
            ifindex,
            targets,
            interval: fdt.divided(SLOTS_PER_FDT),
            turn: 0,
            base: Timestamp(0),
            next_slot: Timestamp(0),
            suspicion: None,
            probes: VecDeque::new(),
            settled: 0,
            losses: 0,
            replies: 0,
            loss_span: Nanos(0),
            confirms: 0,
            first_loss_at: None,
            last_reply_at: None,
            answered_sent_at: None,
            last_target: None,
            quiet_until,
        }
    }

    /// Forgets what is in flight and starts at a random phase: at start and after link-up.
    /// Returns when the first probe is due.
    pub(super) fn restart(&mut self, now: Timestamp, rng: &mut Rng) -> Timestamp {
        self.forget();
        let first = now + rng.below(self.interval);
        self.base = first - self.interval.divided(2);
        self.next_slot = first;
        first
    }

    /// Forgets all probes and runs: after link-down what was in flight proves nothing.
    pub(super) fn forget(&mut self) {
        self.probes.clear();
        self.settled = 0;
        self.losses = 0;
        self.replies = 0;
        self.loss_span = Nanos(0);
        self.confirms = 0;
        self.first_loss_at = None;
    }

    /// Takes the slot that is due at `now`. Returns the probe to send, how many whole slots had passed unused
    /// (they are skipped, never bursted), and when the next slot is due.
    pub(super) fn take_slot(
        &mut self,
        now: Timestamp,
        rng: &mut Rng,
    ) -> (Option<(SessionId, u64)>, u64, Timestamp) {
        let skipped = self.advance(now, rng);
        let probe = self.next_probe(now);
        (probe, skipped, self.next_due(now))
    }

    fn next_probe(&mut self, now: Timestamp) -> Option<(SessionId, u64)> {
        let count = self.targets.len();
        let target = self.targets.get_mut(self.turn.checked_rem(count)?)?;
        self.turn = (self.turn + 1) % count;
        let (session, seq) = (target.session, target.next_seq);
        target.next_seq += 1;
        if self.probes.len() == MEMORY {
            self.probes.pop_front();
            self.settled = self.settled.saturating_sub(1);
        }
        self.probes.push_back(Probe {
            session,
            seq,
            decided_at: now,
            sent_at: None,
            fate: Fate::Outstanding,
        });
        Some((session, seq))
    }

    /// How long to wait for a reply: half a slot suffices for a target whose round trip is known to be
    /// short; a whole slot is the most that keeps five losses within the FDT.
    pub(super) fn reply_wait(&self, target: Option<&Target>) -> Nanos {
        let half = self.interval.divided(2);
        match target.and_then(|target| target.rtt.bound()) {
            Some(bound) => bound.clamp(half, self.interval),
            None => self.interval,
        }
    }

    fn unsettled(&self) -> impl Iterator<Item = &Probe> + '_ {
        self.probes.iter().skip(self.settled)
    }

    /// Probes whose fate is open or may still be corrected by a late reply, oldest first.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (SessionId, u64)> + '_ {
        self.unsettled()
            .filter(|probe| matches!(probe.fate, Fate::Outstanding | Fate::Lost | Fate::Excused))
            .map(|probe| (probe.session, probe.seq))
    }

    /// When to look at the outstanding probes. While they are too few to complete a run of losses, their
    /// verdict can wait for the next slot, which spares a wake-up a probe.
    pub(super) fn verdict_due(&self) -> Option<Timestamp> {
        let outstanding = || self.unsettled().filter(|probe| probe.fate == Fate::Outstanding);
        if self.losses as usize + outstanding().count() < LOSSES_TO_FAIL as usize {
            return None;
        }
        outstanding()
            .filter_map(|probe| Some(probe.sent_at? + self.reply_wait(self.target(probe.session))))
            .min()
    }

    pub(super) fn target(&self, session: SessionId) -> Option<&Target> {
        self.targets.iter().find(|target| target.session == session)
    }

    fn target_mut(&mut self, session: SessionId) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.session == session)
    }

    fn position(&self, session: SessionId, seq: u64) -> Option<usize> {
        self.probes.iter().rposition(|probe| probe.session == session && probe.seq == seq)
    }

    /// The probe left the host.
    pub(super) fn sent(&mut self, session: SessionId, seq: u64, at: Timestamp) {
        let Some(position) = self.position(session, seq) else {
            return;
        };
        let Some(probe) = self.probes.get_mut(position) else {
            return;
        };
        if probe.sent_at.is_none() && probe.fate == Fate::Outstanding {
            probe.sent_at = Some(at);
            if let Some(target) = self.target_mut(session) {
                target.sent += 1;
            }
        }
    }

    /// The probe did not leave. Only an unanswered question for the target's hardware address speaks against
    /// the path; everything else is our own fault and proves nothing.
    pub(super) fn not_sent(&mut self, now: Timestamp, session: SessionId, seq: u64, cause: NotSent) {
        let Some(position) = self.position(session, seq) else {
            return;
        };
        let Some(probe) = self.probes.get_mut(position) else {
            return;
        };
        if probe.fate != Fate::Outstanding || probe.sent_at.is_some() {
            return;
        }
        match cause {
            NotSent::Unresolved => {
                probe.sent_at = Some(now);
                self.lose(position, now);
            }
            NotSent::Resolving | NotSent::Local { .. } | NotSent::NeverLeft => {
                probe.fate = Fate::Unsent;
                if let Some(target) = self.target_mut(session) {
                    target.unsent += 1;
                }
                self.recount();
            }
        }
    }

    /// A validated reply. Returns `None` for a probe no longer remembered or answered before.
    pub(super) fn reply(
        &mut self,
        now: Timestamp,
        session: SessionId,
        seq: u64,
        received_at: Timestamp,
    ) -> Option<Heard> {
        let position = self.position(session, seq)?;
        let probe = self.probes.get_mut(position)?;
        if probe.fate == Fate::Answered {
            return None;
        }
        let was_lost = probe.fate == Fate::Lost;
        probe.fate = Fate::Answered;
        let (decided_at, sent_at) = (probe.decided_at, probe.sent_at);
        self.last_reply_at = self.last_reply_at.max(Some(received_at));
        self.answered_sent_at = self.answered_sent_at.max(sent_at);
        let heard = self.target_mut(session).map(|target| {
            target.acked += 1;
            if seq % NOTIFY_EVERY == 1 {
                target.rtt_daemon = Some(now.since(decided_at));
            }
            if let Some(sent_at) = sent_at {
                let rtt = received_at.since(sent_at);
                target.rtt_kernel = Some(rtt);
                target.rtt.sample(rtt);
            }
            if was_lost {
                target.lost = target.lost.saturating_sub(1);
            }
            Heard { target: target.address }
        })?;
        self.last_target = Some(heard.target);
        self.recount();
        Some(heard)
    }

    /// Judges every outstanding probe whose reply wait is over. All evidence up to `now` must have been
    /// handed in. Returns whether anything was lost.
    pub(super) fn judge(&mut self, now: Timestamp) -> bool {
        let mut lost_any = false;
        for position in self.settled..self.probes.len() {
            let Some(probe) = self.probes.get(position) else {
                break;
            };
            let due = probe.sent_at.map(|at| at + self.reply_wait(self.target(probe.session)));
            if probe.fate == Fate::Outstanding && due.is_some_and(|due| due <= now) {
                self.lose(position, now);
                lost_any = true;
            }
        }
        lost_any
    }

    fn lose(&mut self, position: usize, now: Timestamp) {
        let Some(probe) = self.probes.get_mut(position) else {
            return;
        };
        let sent_at = probe.sent_at.unwrap_or(now);
        if sent_at < self.quiet_until {
            probe.fate = Fate::Excused;
            return;
        }
        probe.fate = Fate::Lost;
        let session = probe.session;
        let address = self.target_mut(session).map(|target| {
            target.lost += 1;
            target.address
        });
        self.last_target = address.or(self.last_target);
        self.recount();
    }

    /// Recounts the runs from the newest judged probe backwards. Probes still open or never sent neither
    /// extend nor break a run. Counting anew each time is what lets a late reply undo a loss.
    fn recount(&mut self) {
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
        let overdue = |probe: &Probe| Some(probe.sent_at? + self.reply_wait(self.target(probe.session)));
        (self.losses, self.replies, self.first_loss_at) = match run {
            Some(Fate::Lost) => (length, 0, oldest.and_then(overdue)),
            Some(Fate::Answered) => (0, length, None),
            Some(Fate::Outstanding | Fate::Excused | Fate::Unsent) | None => (0, 0, None),
        };
        let departed = |probe: Option<&Probe>| probe.and_then(|probe| probe.sent_at);
        let span = departed(newest).zip(departed(oldest)).map(|(newest, oldest)| newest.since(oldest));
        self.set_loss_span(span);
    }

    /// Whether the newest probes, a detection time's worth of them, all failed to leave the host. Then it cannot
    /// be expected to give evidence.
    pub(super) fn is_mute(&self) -> bool {
        let recent = SLOTS_PER_FDT as usize;
        self.probes.len() >= recent
            && self.probes.iter().rev().take(recent).all(|probe| probe.fate == Fate::Unsent)
    }

    /// Whether losses suffice to fail, as far as this family goes.
    pub(super) fn says_failed(&self) -> bool {
        self.losses >= LOSSES_TO_FAIL && self.spans_enough()
    }

    /// Whether answers suffice to repair.
    pub(super) const fn says_repaired(&self) -> bool {
        self.replies >= REPLIES_TO_REPAIR
    }

    /// Replaces the targets, keeping what is known of those that stay.
    pub(super) fn set_targets(&mut self, targets: Vec<Target>) {
        self.targets = targets;
        self.turn = 0;
        let kept: Vec<SessionId> = self.targets.iter().map(|target| target.session).collect();
        self.probes.retain(|probe| kept.contains(&probe.session));
        self.settled = 0;
        self.recount();
    }
}
