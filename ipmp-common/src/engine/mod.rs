//! The pure decision engine: `handle(now, event)`, then drain `poll_action()`, then sleep until
//! `poll_timeout()`. It does no I/O, reads no clock, and never fails or panics.
#![forbid(unsafe_code)]

pub mod action;
pub mod config;
pub mod event;
pub mod ids;
pub mod reason;
pub mod snapshot;
pub mod time;
