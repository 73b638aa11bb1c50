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
//! | `standing` | how a member stands, as far as the next two go by it |
//! | `activity`, `placement` | which members serve, which address is where |
//! | `foresee` | what would be ordered next |
//! | `absence` | interfaces that are to be removed, or are missing at start |
//! | `foreign` | what others changed and was put back, and who they were |
//! | `failures` | what could not be done, told once |
//! | `adaptive` | the detection time follows the round trip |
//! | `consistency` | what members must not, or should, have in common |
//! | `damping` | how long good and bad news must last before they count |
//! | `moves` | placements and announcements, and what came of them |
//! | `reconfigure` | another configuration, taken in while everything runs |
//! | `sessions` | targets turned into probe sessions |
//! | `forecast` (feature `forecast`) | what a detection time means on a lossy path |
//! | `sim` (feature `sim`) | a simulated host and network around the engine |
//! | `sessions`, `targets` | known targets; which of them are probed, each a session |
//! | `discovery` | somebody to probe where no route names a router |
#![forbid(unsafe_code)]

mod absence;
pub mod action;
mod activity;
mod adaptive;
pub mod config;
mod consistency;
mod core_loop;
mod damping;
pub mod detector;
mod discovery;
pub mod errors;
pub mod event;
mod facts;
mod failures;
#[cfg(any(test, feature = "forecast"))]
pub mod forecast;
pub mod foreign;
mod foresee;
mod group;
pub mod ids;
mod judge;
mod member;
mod moves;
mod picture;
mod placement;
pub mod reason;
mod reason_text;
mod reconfigure;
mod record;
mod rng;
mod rtt;
mod sessions;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod snapshot;
mod standing;
pub mod suspicion;
mod target;
mod targets;
pub mod time;
mod timer;

#[cfg(test)]
mod tests;

pub use core_loop::{Engine, Refusal};
pub use placement::place;
pub use reconfigure::Roster;
