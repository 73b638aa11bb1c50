//! The stamp protocol: how several writers and lock-free readers share one [`Stamp`].
//!
//! Writers are the programs (or the socket fall-back), the reader maps the evidence into its memory.
//! Sequence numbers only grow, so that a slot, once taken for a newer probe, never goes back:
//!
//! 1. A writer that takes a slot first sets `seq` to 0, then reads the clock, clears `received_ns`, sets
//!    `sent_ns`, and sets `seq` last.
//! 2. A writer that answers reads the clock first, then looks at `seq`, then sets `received_ns`.
//! 3. A reader reads `seq`, the times, and `seq` again, and believes them only if both are the one it asked for.
//! 4. An answer that raced with a slot's being taken for a newer probe leaves a time from before that
//!    probe left. Hence everybody takes `received_ns` for an answer only if it is not before `sent_ns`.

#![expect(clippy::inline_always, reason = "part of the BPF programs' one function")]

use crate::abi::Stamp;

/// What a valid reply, or a probe that leaves, means to the stamp in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The stamp is this probe's and has no answer yet.
    First,
    /// The stamp is this probe's and was answered before.
    Duplicate,
    /// The slot is free, or an older probe's: take it.
    Take,
    /// The slot belongs to a newer probe.
    Overwritten,
}

/// Whether the stamp holds an answer to its own probe (rule 4).
#[inline(always)]
pub const fn answered(stamp: &Stamp) -> bool {
    stamp.received_ns != 0 && stamp.received_ns >= stamp.sent_ns
}

/// What a valid reply to probe `seq` does with the stamp in its slot.
#[inline(always)]
pub const fn on_reply(stamp: &Stamp, seq: u64) -> Step {
    if stamp.seq == seq {
        if answered(stamp) {
            Step::Duplicate
        } else {
            Step::First
        }
    } else if stamp.seq > seq {
        Step::Overwritten
    } else {
        Step::Take
    }
}

/// What probe `seq` that leaves now does with the stamp in its slot. A reply cannot come first, but its
/// program may have been attached first: such a slot is left alone.
#[inline(always)]
pub const fn on_departure(stamp: &Stamp, seq: u64) -> Step {
    if stamp.seq == seq {
        Step::Duplicate
    } else if stamp.seq > seq {
        Step::Overwritten
    } else {
        Step::Take
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(seq: u64, sent_ns: u64, received_ns: u64) -> Stamp {
        Stamp {
            seq,
            sent_ns,
            received_ns,
        }
    }

    #[test]
    fn only_the_first_reply_counts() {
        assert_eq!(on_reply(&stamp(7, 100, 0), 7), Step::First);
        assert_eq!(on_reply(&stamp(7, 100, 150), 7), Step::Duplicate);
        assert_eq!(
            on_reply(&stamp(7, 0, 150), 7),
            Step::Duplicate,
            "no egress program"
        );
    }

    #[test]
    fn a_time_from_before_departure_is_no_answer() {
        assert!(!answered(&stamp(7, 100, 99)));
        assert!(answered(&stamp(7, 100, 100)));
        assert_eq!(on_reply(&stamp(7, 100, 99), 7), Step::First);
    }

    #[test]
    fn slots_never_go_back() {
        assert_eq!(on_reply(&stamp(71, 100, 0), 7), Step::Overwritten);
        assert_eq!(on_departure(&stamp(71, 100, 0), 7), Step::Overwritten);
        assert_eq!(on_reply(&stamp(7, 100, 120), 71), Step::Take);
        assert_eq!(on_departure(&stamp(7, 100, 120), 71), Step::Take);
        assert_eq!(on_departure(&stamp(0, 0, 0), 1), Step::Take);
    }
}
