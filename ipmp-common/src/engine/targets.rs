//! Which of the known targets are probed (section 8 of the IPMP behaviour).
//!
//! ```text
//!              room, trusted                five own losses while others answer
//!   UNUSED ─────────────────────▶ ACTIVE ─────────────────────────────────────▶ DEAD
//!     ▲  └── room, not trusted ─▶ TRIAL ── five losses while others answer ──────┤
//!     │ 60 s          answer ────▶│ACTIVE│                                      │ 60 s
//!     └──────────────────────── SLOW ◀──────────────────────────────────────────┘
//! ```
//! A neighbour that was merely seen, and a target back from the dead, goes through a trial beside the regular
//! probes: while it is silent nothing rests on it.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::{
    core_loop::Engine,
    detector::{Detector, LOSSES_TO_FAIL, MAX_ACTIVE_TARGETS},
    ids::{Family, MemberId, SessionId},
    member::slot,
    reason::{Kind, Reason},
    snapshot::TargetState,
    target::Target,
    time::Timestamp,
};

/// While fewer targets are active, spares are taken (in.mpathd `MIN_PROBE_TARGETS`).
pub(super) const WANTED_TARGETS: usize = 3;

impl Engine {
    /// Before each slot of a detector: judges its targets, and replaces those that are to blame.
    pub(super) fn tend_targets(&mut self, now: Timestamp, id: MemberId, family: Family) {
        let Some(mut detector) = self.take_detector(id, family) else { return };
        let lost = detector.is_silent();
        if lost {
            detector.blame_after = now;
        }
        for target in &mut detector.targets {
            target.age(now);
        }
        self.condemn(now, id, &mut detector);
        let passed = self.promote(now, id, &mut detector);
        self.fill(id, family, &mut detector);
        self.put_detector(id, family, detector);
        if lost {
            self.settle_discovery(now, id);
        }
        for address in passed {
            self.recommend(now, id, family, address);
        }
    }

    fn take_detector(&mut self, id: MemberId, family: Family) -> Option<Detector> {
        self.member_mut(id)?.detectors[slot(family)].take()
    }

    /// Targets with five losses of their own, while the path is proved by the others.
    fn condemn(&mut self, now: Timestamp, id: MemberId, detector: &mut Detector) {
        if detector.is_silent() {
            return;
        }
        for position in 0..detector.targets.len() {
            let Some(target) = detector.targets.get(position) else { break };
            let Some(session) = target.session else { continue };
            let losses = detector.own_losses(session);
            let last = target.is_active() && detector.active() == 1;
            if losses < LOSSES_TO_FAIL || last {
                continue;
            }
            detector.release(session);
            let Some(target) = detector.targets.get_mut(position) else { break };
            let (address, news) = (target.address, target.is_active() && !target.told_dead);
            (target.state, target.since) = (TargetState::Dead, now);
            (target.session, target.trusted) = (None, false);
            target.told_dead |= news;
            self.free_session(session);
            if news {
                let reason = Reason::TargetDead { target: address, losses };
                self.tell_target(now, id, reason);
            }
        }
    }

    /// Targets on trial that have answered; returns them.
    fn promote(&mut self, now: Timestamp, id: MemberId, detector: &mut Detector) -> Vec<IpAddr> {
        let mut passed = Vec::new();
        for target in detector.targets.iter_mut().filter(|target| target.on_trial() && target.passed()) {
            target.state = TargetState::Active;
            target.trusted = true;
            passed.push(target.address);
            if core::mem::take(&mut target.told_dead) {
                let reason = Reason::TargetAnswers { target: target.address };
                self.tell_target(now, id, reason);
            }
        }
        passed
    }

    /// A target that has answered one member must answer all: as far as possible they probe the same ones.
    fn recommend(&mut self, now: Timestamp, by: MemberId, family: Family, address: IpAddr) {
        let siblings: Vec<MemberId> = self.siblings(by).map(|member| member.id).collect();
        for id in siblings {
            let Some(mut detector) = self.take_detector(id, family) else { continue };
            let (active, none) = (detector.active(), detector.active() == 0);
            if let Some(position) = detector.targets.iter().position(|target| target.address == address)
                && let Some(target) = detector.targets.get_mut(position)
                && active < MAX_ACTIVE_TARGETS
                && match target.state {
                    TargetState::Trial | TargetState::Unused => true,
                    TargetState::Slow | TargetState::Dead => none,
                    TargetState::Active => false,
                }
            {
                target.trusted = true;
                self.activate(id, family, &mut detector, position, TargetState::Active);
            }
            self.put_detector(id, family, detector);
            self.tell_probing(now, id);
        }
        self.tell_probing(now, by);
        self.mark_dirty(by);
        self.settle_discovery(now, by);
    }

    /// Takes spares while too few targets are active. A member without an answer asks everybody it knows.
    pub(super) fn fill(&mut self, id: MemberId, family: Family, detector: &mut Detector) {
        let lost = detector.says_failed();
        for _ in 0..MAX_ACTIVE_TARGETS {
            let (active, probed) = (detector.active(), detector.probed_targets());
            let room = probed < MAX_ACTIVE_TARGETS && (lost || active < WANTED_TARGETS);
            let rank = |target: &Target| match target.state {
                TargetState::Unused => Some(0),
                TargetState::Slow => Some(1),
                TargetState::Dead if lost => Some(2),
                TargetState::Active | TargetState::Trial | TargetState::Dead => None,
            };
            let spares = detector.targets.iter().enumerate();
            let best = spares
                .filter_map(|(position, target)| Some((rank(target)?, target.since, position)))
                .min()
                .filter(|_| room);
            let Some((_, _, position)) = best else { return };
            let trusted = detector.targets.get(position).is_some_and(|target| target.trusted);
            let state = if trusted { TargetState::Active } else { TargetState::Trial };
            if !self.activate(id, family, detector, position, state) {
                return;
            }
        }
    }

    /// Gives a target a session and a part in probing; `false` if no session is left.
    pub(super) fn activate(
        &mut self,
        id: MemberId,
        family: Family,
        detector: &mut Detector,
        position: usize,
        state: TargetState,
    ) -> bool {
        let Some(target) = detector.targets.get_mut(position) else { return false };
        if target.session.is_none() {
            target.session = self.arm(id, family, detector.source, target.address);
            target.next_seq = 1;
            target.acked_before = target.acked;
        }
        if target.session.is_none() {
            return false;
        }
        target.state = state;
        true
    }

    /// Ends a session.
    pub(super) fn free_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.free_sessions.insert(session);
        self.actions.push_back(super::action::Action::DisarmSession { session });
    }

    fn tell_target(&mut self, now: Timestamp, id: MemberId, reason: Reason) {
        let group = self.member(id).map(|member| member.group);
        self.publish(now, Kind::Target, group, Some(id), reason);
    }
}
