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

mod blame;
mod suspect;
mod verdict;

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
    /// `None` when the session is gone: its number may name another target by now.
    session: Option<SessionId>,
    /// Sent to find out about the target, not about the path.
    trial: bool,
    seq: u64,
    decided_at: Timestamp,
    sent_at: Option<Timestamp>,
    /// Its verdict came late and was put off until then, which happens once.
    put_off_until: Option<Timestamp>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Outstanding,
    Answered,
    Lost,
    /// Lost in the quiet period, or on trial.
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
    pub(super) interval: Nanos,
    turn: usize,
    trial_turn: usize,
    /// Losses before this are not the target's fault: nothing was answered then.
    pub(super) blame_after: Timestamp,
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
    /// Probes that stayed in the host since the last that left it.
    stayed: u32,
    /// Confirm probes sent in the present suspicion.
    confirms: u32,
    /// When the reply to the oldest probe of the present run of losses was overdue.
    pub(super) first_loss_at: Option<Timestamp>,
    /// When the newest probe of that run had left.
    last_loss_sent_at: Option<Timestamp>,
    /// Kernel time of the newest answer.
    pub(super) last_reply_at: Option<Timestamp>,
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
            trial_turn: 0,
            blame_after: Timestamp(0),
            base: Timestamp(0),
            next_slot: Timestamp(0),
            suspicion: None,
            probes: VecDeque::new(),
            settled: 0,
            losses: 0,
            replies: 0,
            loss_span: Nanos(0),
            stayed: 0,
            confirms: 0,
            first_loss_at: None,
            last_loss_sent_at: None,
            last_reply_at: None,
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
        self.last_loss_sent_at = None;
    }

    /// Takes the slot that is due at `now`. Returns the probes to send, how many whole slots had passed unused
    /// (they are skipped, never bursted), and when the next slot is due.
    pub(super) fn take_slot(
        &mut self,
        now: Timestamp,
        rng: &mut Rng,
    ) -> ([Option<(SessionId, u64)>; 2], u64, Timestamp) {
        // A confirm probe is to tell of the path, which a target on trial cannot.
        let regular = now >= self.next_slot;
        let skipped = self.advance(now, rng);
        let probe = self.next_probe(now);
        let trial = if regular { self.trial_probe(now) } else { None };
        ([probe, trial], skipped, self.next_due(now))
    }

    /// Whose turn it is among the active targets: slow ones are passed over while there are others.
    fn next_turn(&self, now: Timestamp) -> Option<usize> {
        let count = self.targets.len();
        let turns = || (0..count).map(|step| (self.turn + step) % count);
        let chosen = |wanted: &dyn Fn(&Target) -> bool| {
            turns().find(|turn| self.targets.get(*turn).is_some_and(wanted))
        };
        let active = chosen(&|target| target.is_active() && target.in_rotation(now));
        active.or_else(|| chosen(&Target::is_active))
    }

    /// The group's interval changed. Returns when the next probe is due; what is in flight stays.
    pub(super) fn set_interval(&mut self, now: Timestamp, interval: Nanos, rng: &mut Rng) -> Timestamp {
        let half = interval.divided(2);
        self.interval = interval;
        self.suspicion = self.suspicion.map(|_| Suspicion::of_slot(interval));
        self.base = now;
        self.next_slot = now + half + rng.below(half);
        self.next_slot
    }

    fn next_probe(&mut self, now: Timestamp) -> Option<(SessionId, u64)> {
        let turn = self.next_turn(now)?;
        self.turn = turn + 1;
        let target = self.targets.get_mut(turn)?;
        let (session, seq) = (target.session?, target.next_seq);
        target.next_seq += 1;
        self.remember(now, session, seq, false);
        Some((session, seq))
    }

    fn remember(&mut self, now: Timestamp, session: SessionId, seq: u64, trial: bool) {
        if self.probes.len() == MEMORY {
            self.probes.pop_front();
            self.settled = self.settled.saturating_sub(1);
        }
        self.probes.push_back(Probe {
            session: Some(session),
            trial,
            seq,
            decided_at: now,
            sent_at: None,
            put_off_until: None,
            fate: Fate::Outstanding,
        });
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
            .filter_map(|probe| Some((probe.session?, probe.seq)))
    }

    /// When to look at the outstanding probes. While they are too few to complete a run of losses, their
    /// verdict can wait for the next slot, which spares a wake-up a probe.
    pub(super) fn verdict_due(&self) -> Option<Timestamp> {
        let outstanding = || self.unsettled().filter(|probe| probe.fate == Fate::Outstanding && !probe.trial);
        if self.losses as usize + outstanding().count() < LOSSES_TO_FAIL as usize {
            return None;
        }
        outstanding().filter_map(|probe| self.due(probe)).min()
    }

    /// When the verdict over a probe is due.
    fn due(&self, probe: &Probe) -> Option<Timestamp> {
        let due = probe.sent_at? + self.reply_wait(self.target_of(probe));
        Some(due.max(probe.put_off_until.unwrap_or(due)))
    }

    fn position(&self, session: SessionId, seq: u64) -> Option<usize> {
        self.probes.iter().rposition(|probe| probe.session == Some(session) && probe.seq == seq)
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
        let (decided_at, sent_at, interval) = (probe.decided_at, probe.sent_at, self.interval);
        self.last_reply_at = self.last_reply_at.max(Some(received_at));
        let heard = self.target_mut(session).map(|target| {
            target.acked += 1;
            if seq % NOTIFY_EVERY == 1 {
                target.rtt_daemon = Some(now.since(decided_at));
            }
            if let Some(sent_at) = sent_at {
                let rtt = received_at.since(sent_at);
                target.rtt_kernel = Some(rtt);
                target.rtt.sample(rtt, interval);
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
}
