//! The pure decision engine: `handle(now, event)`, then drain `poll_action()`, then sleep until
//! `poll_timeout()`. It does no I/O, reads no clock, and never fails or panics.
//!
//! | file | idea |
//! |---|---|
//! | `time`, `ids`, `config`, `event`, `action`, `reason`, `snapshot` | the vocabulary |
//! | `detector`, `target`, `rtt` | one member, one family: what became of each probe |
//! | `suspicion` | the first loss makes the next probes follow faster |
//! | `member`, `group` | what is known, and the states that follow |
//! | `facts` | events are written down |
//! | `judge` | timers, failure and repair verdicts |
//! | `activity`, `placement` | which members serve, which address is where |
//! | `moves` | placements and announcements, and what came of them |
//! | `sessions` | targets turned into probe sessions |
//! | `forecast` (feature `forecast`) | what a detection time means on a lossy path |
//! | `sim` (feature `sim`) | a simulated host and network around the engine |
#![forbid(unsafe_code)]

pub mod action;
mod activity;
pub mod config;
mod core_loop;
pub mod detector;
pub mod event;
mod facts;
#[cfg(any(test, feature = "forecast"))]
pub mod forecast;
mod group;
pub mod ids;
mod judge;
mod member;
mod moves;
mod picture;
mod placement;
pub mod reason;
mod reason_text;
mod rng;
mod rtt;
mod sessions;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod snapshot;
pub mod suspicion;
mod target;
pub mod time;
mod timer;

#[cfg(test)]
mod tests;

pub use core_loop::{Engine, Refusal};
pub use placement::place;
