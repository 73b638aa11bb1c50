//! Suspicion: after the first lost probe the next ones follow faster, to the member's targets in turn.
//!
//! ```text
//!  slots      │      │      │      │      │      │        U = FDT / 7
//!  probes   ✓   ✓      ✗      ✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗✗        one lost: confirm each U / 8
//!                      └──────── span ──────────┘└ W ┘ verdict: five losses or more, over the span or more
//! ```
//! The loss is noticed in the member's next slot, where the daemon is awake anyway: noticing it earlier would cost
//! every healthy member a wake-up a probe and gain little.
//!
//! The parameters come from simulation (`sim/TABLE.md`, `cargo xtask sim`). A burst in which everything is lost is
//! told from a dead path by nothing but its length. Five regular probes span 3.5 slots at least, so as long a span
//! costs hardly a false failure (foretold and counted, at most a twentieth more); each slot less does, as long as bursts are not much
//! shorter than that: five losses as fast as they come (a span of one slot) halve the detection time, but at equal false
//! failures the FDT must double, and the verdict comes later than without suspicion. But half a second is so
//! much longer than the bursts of a link (up to 20 ms on average are in the table) that no more than that is ever needed:
//! from an FDT of 1 s on the verdict comes earlier and earlier, at 10 s after a third of it. And as one answer to any of
//! the many confirm probes acquits, scattered loss hardly ever fails a member. Hence suspicion is on by default. Whose
//! paths are dead for whole seconds now and then and who would rather sit that out turns it off: with an FDT of 10 s and
//! bursts of 2 s it has five times as many failures.
//!
//! The failure of a whole group always takes the 3.5 slots: nothing would be moved, so nothing is gained by haste.

use super::time::Nanos;

/// On: it costs hardly a false failure, see above.
pub const DEFAULT_SUSPICION: bool = true;
/// Confirm probes in a slot.
const CONFIRMS_PER_SLOT: u64 = 8;
/// Half slots that the losses must span, from the first lost probe's departure to the last's …
const SPAN_HALF_SLOTS: u64 = 7;
/// … and no more than so long, as far as a single member is concerned: 25 times the longest bursts in the table.
const MAX_SPAN: Nanos = Nanos::from_millis(500);
/// Confirm probes are at least so far apart whatever the FDT: five times the lateness of an ordinary wake-up, or
/// they would leave in one go and say the same thing.
const MIN_CONFIRM_INTERVAL: Nanos = Nanos(250_000);

/// How a loss is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// From one confirm probe to the next.
    pub interval: Nanos,
    /// The least time that a run of losses spans by which one member fails.
    pub span: Nanos,
    /// The least time that the runs of all members span by which the group fails. Up to then they are confirmed.
    pub group_span: Nanos,
}

impl Suspicion {
    /// For probes that otherwise leave each `slot`. Never slower than the slots themselves.
    pub const fn of_slot(slot: Nanos) -> Self {
        let share = slot.divided(CONFIRMS_PER_SLOT);
        let floor = if MIN_CONFIRM_INTERVAL.0 < slot.0 { MIN_CONFIRM_INTERVAL } else { slot };
        let interval = if share.0 > floor.0 { share } else { floor };
        let group_span = slot.times(SPAN_HALF_SLOTS).divided(2);
        let span = if group_span.0 < MAX_SPAN.0 { group_span } else { MAX_SPAN };
        Self { interval, span, group_span }
    }
}
