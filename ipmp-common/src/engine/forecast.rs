//! What a failure detection time means on a lossy path: false failures, detection and repair time.
//!
//! The path is Gilbert's: good and bad in turn, each for an exponentially distributed time; while it is bad every
//! probe is lost. Then two moments `t` apart are both bad with probability `π·b(t)`, where
//!
//! ```text
//! b(t) = π + (1 − π)·exp(−t / τ)      π = share of time that is bad      1/τ = 1/good + 1/bad
//! ```
//! and the chance of a false failure is the chance that a run begins (good, then bad) times the `b` of every gap of
//! the schedule, averaged over the random places of the probes in their slots. No simulation of 10⁹ probes could
//! show a failure a year; the simulation agrees where it can count (`sim/TABLE.md`).

use super::{
    adaptive::raised,
    config::{MAX_FAILURE_DETECTION_TIME, MIN_FAILURE_DETECTION_TIME},
    detector::{LOSSES_TO_FAIL, REPLIES_TO_REPAIR, SLOTS_PER_FDT},
    suspicion::Suspicion,
    time::Nanos,
};

/// Places in half a slot at which a probe may leave, for averaging.
const PLACES: usize = 24;
const DAY: f64 = 86_400e9;

/// A lossy path, there and back together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Share of probes lost, above 0 and below 1.
    pub loss: f64,
    /// Mean length of a burst of loss.
    pub burst: Nanos,
    /// Round trip.
    pub rtt: Nanos,
}

/// A time as it usually is and at its worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The mean, as the event falls at a random moment.
    pub typical: Nanos,
    /// Never exceeded by a daemon that wakes on time.
    pub worst: Nanos,
}

/// What is to be expected of one member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// A day, of one member that is probed in one family and whose siblings work.
    pub false_failures: f64,
    /// From the cut to the verdict.
    pub detection: Times,
    /// From the mend to the verdict.
    pub repair: Times,
}

/// The failure detection time that comes to be in force on a path whose answers take `rtt`: the configured one, or, where
/// they take longer than a probe slot, the least to which the daemon raises it (`adaptive`).
pub fn in_force(fdt: Nanos, rtt: Nanos) -> Nanos {
    if rtt <= fdt.divided(SLOTS_PER_FDT) { fdt } else { raised(rtt) }
}

/// Foretells what `fdt`, once it is in force, means on `path`.
pub fn forecast(fdt: Nanos, path: Path, suspicion: bool) -> Forecast {
    let schedule = Schedule::new(fdt, path, suspicion);
    Forecast {
        false_failures: schedule.false_failures() * DAY / schedule.slot,
        detection: schedule.detection(),
        repair: schedule.repair(),
    }
}

/// The smallest failure detection time at which at most `per_day` false failures are to be expected, and at which
/// answers come within a slot; `None` if there is none.
pub fn smallest_fdt(path: Path, suspicion: bool, per_day: f64) -> Option<Nanos> {
    let good = |fdt: u64| forecast(Nanos(fdt), path, suspicion).false_failures <= per_day;
    let (mut low, mut high) = (MIN_FAILURE_DETECTION_TIME.0, MAX_FAILURE_DETECTION_TIME.0);
    low = low.max(path.rtt.times(SLOTS_PER_FDT).0);
    if low >= high || !good(high) {
        return None;
    }
    if good(low) {
        return Some(Nanos(low));
    }
    // Longer slots mean fewer probes and wider gaps: the rate only falls. A percent is near enough.
    while high - low > low / 100 {
        let middle = low + (high - low) / 2;
        if good(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(Nanos(high))
}

/// The detector's schedule in floating-point nanoseconds.
struct Schedule {
    slot: f64,
    wait: f64,
    bad: f64,
    /// 1/τ.
    decay: f64,
    suspicion: Option<(f64, f64)>,
    /// Confirm probes that leave and could be answered while the run waits for its last reply.
    meanwhile: i32,
}

impl Schedule {
    fn new(fdt: Nanos, path: Path, suspicion: bool) -> Self {
        let slot = fdt.divided(SLOTS_PER_FDT);
        let burst = path.burst.0.max(1) as f64;
        let wait = path.rtt.max(slot.divided(2)).min(slot);
        let of = Suspicion::of_slot(slot);
        let answerable = Nanos(wait.0.saturating_sub(path.rtt.0 + 1));
        Self {
            slot: slot.0 as f64,
            wait: wait.0 as f64,
            bad: path.loss,
            decay: 1.0 / (burst * (1.0 - path.loss)),
            suspicion: suspicion.then_some((of.interval.0 as f64, of.span.0 as f64)),
            meanwhile: (answerable.0 / of.interval.0.max(1)) as i32,
        }
    }

    /// Chance that it is bad `gap` after a bad moment.
    fn stays_bad(&self, gap: f64) -> f64 {
        self.bad + (1.0 - self.bad) * (-gap * self.decay).exp()
    }

    /// The gap between the probes of two neighbouring slots, for each difference of their places.
    fn gap(&self, from: usize, to: usize) -> f64 {
        self.slot * (1.0 + 0.5 * (to as f64 - from as f64) / PLACES as f64)
    }

    /// Chance that a false failure begins in a slot.
    fn false_failures(&self) -> f64 {
        match self.suspicion {
            None => self.all_lost(LOSSES_TO_FAIL) - self.all_lost(LOSSES_TO_FAIL + 1),
            Some((interval, span)) => self.average(|before, gap| {
                let confirms = confirms(gap, interval, span) + self.meanwhile;
                let begins = self.bad * (1.0 - self.stays_bad(before));
                begins * self.stays_bad(gap) * self.stays_bad(interval).powi(confirms)
            }),
        }
    }

    /// Chance that so many probes of neighbouring slots are all lost.
    fn all_lost(&self, count: u32) -> f64 {
        let mut chances = [self.bad / PLACES as f64; PLACES];
        for _ in 1..count {
            let before = chances;
            for (to, chance) in chances.iter_mut().enumerate() {
                let from = before.iter().enumerate();
                *chance = from.map(|(from, chance)| chance * self.stays_bad(self.gap(from, to))).sum::<f64>()
                    / PLACES as f64;
            }
        }
        chances.iter().sum()
    }

    /// Averages over two neighbouring gaps.
    fn average(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        let mut sum = 0.0;
        for first in 0..PLACES {
            for second in 0..PLACES {
                for third in 0..PLACES {
                    sum += of(self.gap(first, second), self.gap(second, third));
                }
            }
        }
        sum / (PLACES * PLACES * PLACES) as f64
    }

    fn detection(&self) -> Times {
        let slot = self.slot;
        // A cut meets a gap in proportion to its length, and leaves half of it to wait.
        let phase = self.average(|gap, _| gap * gap) / 2.0 / slot;
        let (typical, worst) = match self.suspicion {
            None => {
                let more = f64::from(LOSSES_TO_FAIL - 1);
                (phase + more * slot, (more + 1.5) * slot)
            }
            Some((interval, span)) => {
                let run = |gap: f64| gap + interval * f64::from(confirms(gap, interval, span));
                let mean =
                    self.average(|before, gap| before * run(gap).max(self.proof(interval, gap))) / slot;
                let proved = self.wait + 1.5 * slot + interval;
                (phase + mean, 1.5 * slot + (span + interval).max(slot + 3.0 * interval).max(proved))
            }
        };
        Times { typical: nanos(typical + self.wait), worst: nanos(worst + self.wait) }
    }

    /// From the first loss to the loss that follows a sibling's answered probe, which must have left when the first loss
    /// was overdue: the sibling's slots are anywhere between ours.
    fn proof(&self, interval: f64, gap: f64) -> f64 {
        self.wait + gap / 2.0 + interval / 2.0
    }

    /// The tenth answer is noticed with the next probe; one that takes more than half a slot may miss that.
    fn repair(&self) -> Times {
        let slots = f64::from(REPLIES_TO_REPAIR);
        let missed = if self.wait > self.slot / 2.0 { 1.0 } else { 0.0 };
        Times { typical: nanos((slots + 0.5) * self.slot), worst: nanos((slots + 1.5 + missed) * self.slot) }
    }
}

/// Confirm probes until a run of losses is long enough in number and in time.
fn confirms(gap: f64, interval: f64, span: f64) -> i32 {
    let least = LOSSES_TO_FAIL as i32 - 2;
    // Whole numbers of intervals are exact in the engine's integers, not here.
    least.max(((span - gap) / interval - 1e-6).ceil() as i32)
}

const fn nanos(value: f64) -> Nanos {
    Nanos(value as u64)
}
