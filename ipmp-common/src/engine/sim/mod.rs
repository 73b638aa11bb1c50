//! The simulation: a deterministic two-party harness, for tests and for the command that measures: the engine with a model of the daemon around it on one side, a
//! simulated network on the other. Time is a number that steps to the next deadline.
//!
//! ```text
//!  wire ── replies, at their own time ──▶ stamps ──┐ read for `unanswered()`
//!  inbox ── carrier, addresses, Applied ───────────┼─▶ handle … handle(Judge) ─▶ drain ─▶ wire, inbox
//!  clock ── poll_timeout (+ lateness, stalls) ─────┘
//! ```
//! After every turn `watch` checks what must hold at all times, so each test proves it again.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a simulation that contradicts itself, or an engine that breaks a rule, shall end with a panic"
)]

mod dice;
mod lab;
mod setup;
pub mod trade;
mod watch;
mod wire;

pub use dice::Dice;
pub use lab::{GROUP, Lab};
pub use setup::{Interface, Setup, V4_TARGET, a, b, c, ms, secs};
pub use wire::{Bursts, Loss, Port, Wire};
