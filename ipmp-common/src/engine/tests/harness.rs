//! A deterministic two-party harness: the engine with a model of the daemon around it on one side, a
//! simulated network on the other. Time is a number that steps to the next deadline.
//!
//! ```text
//!  wire ── replies, at their own time ──▶ stamps ──┐ read for `unanswered()`
//!  inbox ── carrier, addresses, Applied ───────────┼─▶ handle … handle(Judge) ─▶ drain ─▶ wire, inbox
//!  clock ── poll_timeout (+ lateness, stalls) ─────┘
//! ```
//! After every turn `watch` checks what must hold at all times, so each test proves it again.

mod lab;
mod setup;
mod watch;
mod wire;

pub(super) use lab::{GROUP, Lab};
pub(super) use setup::{Setup, V4_TARGET, a, b, c, ms, secs};
pub(super) use wire::Loss;
