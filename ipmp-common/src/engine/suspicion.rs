//! Suspicion: after the first lost probe the next ones follow faster, to the member's targets in turn.
//!
//! ```text
//!  slots      │      │      │      │      │      │        U = FDT / 7
//!  probes   ✓   ✓      ✗      ✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗        one lost: confirm each U / 8
//!                      └──────── span ──────────┘└ W ┘ verdict: five losses or more, over 3.5 U or more
//! ```
//! The loss is noticed in the member's next slot, where the daemon is awake anyway: noticing it earlier would cost
//! every healthy member a wake-up a probe and gain nothing, as the losses must span several slots.
//!
//! The parameters come from simulation (`sim/TABLE.md`, `cargo xtask sim`). A burst in which everything is lost is
//! told from a dead path by nothing but its length, so each slot less of span costs false failures: five losses as
//! fast as they come (a span of one slot) halve the detection time, but at equal false failures the FDT must double,
//! and the verdict comes later than without suspicion. A span of 3.5 slots, the least that five regular probes
//! can span, costs no false failures worth naming (at most a tenth more) and takes a tenth off the detection time;
//! and as one answer to any of the many confirm probes acquits, scattered loss hardly ever fails a member. Hence it
//! is on by default.

use super::time::Nanos;

/// On: it costs no false failures, see above.
pub const DEFAULT_SUSPICION: bool = true;
/// Confirm probes in a slot.
const CONFIRMS_PER_SLOT: u64 = 8;
/// Half slots that the losses must span, from the first lost probe's departure to the last's.
const SPAN_HALF_SLOTS: u64 = 7;
/// Confirm probes are at least so far apart whatever the FDT: five times the lateness of an ordinary wake-up, or
/// they would leave in one go and say the same thing.
const MIN_CONFIRM_INTERVAL: Nanos = Nanos(250_000);

/// How a loss is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// From one confirm probe to the next.
    pub interval: Nanos,
    /// The least time that a conclusive run of losses spans.
    pub span: Nanos,
}

impl Suspicion {
    /// For probes that otherwise leave each `slot`. Never slower than the slots themselves.
    pub const fn of_slot(slot: Nanos) -> Self {
        let share = slot.divided(CONFIRMS_PER_SLOT);
        let floor = if MIN_CONFIRM_INTERVAL.0 < slot.0 { MIN_CONFIRM_INTERVAL } else { slot };
        let interval = if share.0 > floor.0 { share } else { floor };
        Self { interval, span: slot.times(SPAN_HALF_SLOTS).divided(2) }
    }
}
