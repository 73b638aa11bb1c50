//! What suspicion gains and costs, measured on the simulated network: detection times and false failures of one
//! member on a bursty path whose sibling's path is clean.
//!
#![doc = include_str!("TABLE.md")]

use alloc::vec::Vec;

use super::{Bursts, Lab, Loss, Setup, a};
use crate::engine::{
    action::Action,
    ids::MemberId,
    reason::Kind,
    rng::Rng,
    time::{Nanos, Timestamp},
};

/// One path and one way to watch it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Failure detection time.
    pub fdt: Nanos,
    /// Share of time in which the path is bad.
    pub loss: f64,
    /// Mean length of a burst.
    pub burst: Nanos,
    /// Whether first losses are confirmed faster.
    pub suspicion: bool,
    /// Of the network and the engine.
    pub seed: u64,
}

/// False failures counted.
#[derive(Clone, Copy, Debug)]
pub struct Falses {
    /// How many.
    pub failures: u64,
    /// In so much time.
    pub time: Nanos,
    /// Probes sent on the bursty path and on its sibling's together.
    pub probes: u64,
}

impl Falses {
    /// How many a day.
    pub fn per_day(self) -> f64 {
        self.failures as f64 * 86_400e9 / self.time.0 as f64
    }
}

impl Case {
    fn setup(self) -> Setup {
        let mut setup = Setup::probed(2);
        (setup.seed, setup.fdt, setup.suspicion) = (self.seed, self.fdt, self.suspicion);
        setup.rtt = Nanos(200_000);
        setup
    }

    /// Counts the failures of a path that is never cut, over `slots` probe slots.
    pub fn falses(self, slots: u64) -> Falses {
        let mut lab = Lab::settled(self.setup());
        lab.lean = true;
        lab.forget_history();
        lab.set_loss(a(), Loss::Bursts(Bursts::new(self.loss, self.burst)));
        let (began, sent) = (lab.now, lab.probes);
        let mut failures = 0;
        for _ in 0..slots.div_ceil(1000) {
            lab.run(lab.setup.slot().times(1000));
            failures += lab.count(Kind::Failed, a()) as u64;
            lab.forget_history();
        }
        Falses { failures, time: lab.now.since(began), probes: lab.probes - sent }
    }

    /// Cuts a clean path `cuts` times, each at a random moment; returns the times until the verdict, sorted.
    pub fn detections(self, cuts: u32) -> Vec<Nanos> {
        let mut rng = Rng::new(self.seed, 1 << 33);
        let mut lab = Lab::settled(self.setup());
        lab.lean = true;
        let mut times: Vec<Nanos> = (0..cuts)
            .map(|_| {
                lab.run(self.fdt + rng.below(self.fdt));
                lab.forget_history();
                lab.cut(a());
                let cut = lab.now;
                let failed = lab.run_until(self.fdt.times(2), |lab| told(lab, Kind::Failed, a()).is_some());
                assert!(failed, "a cut path was not noticed");
                lab.mend(a());
                lab.run(self.fdt.times(2));
                told(&lab, Kind::Failed, a()).map_or(Nanos(0), |at| at.since(cut))
            })
            .collect();
        times.sort_unstable();
        times
    }
}

fn told(lab: &Lab, kind: Kind, member: MemberId) -> Option<Timestamp> {
    lab.actions.iter().find_map(|(at, action)| match action {
        Action::Publish(record) => (record.kind == kind && record.member == Some(member)).then_some(*at),
        Action::SendProbe { .. }
        | Action::ArmSession(_)
        | Action::SetLateAfter { .. }
        | Action::DisarmSession { .. }
        | Action::SetPlacement(_)
        | Action::Announce { .. }
        | Action::Discover { .. }
        | Action::Release { .. } => None,
    })
}
