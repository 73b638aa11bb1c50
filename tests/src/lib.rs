//! The test harness: network namespaces, a lab of a host, a switch and a neighbour, the real daemon, and traffic
//! measured from the far side.
//!
//! Every object cleans up when dropped, also on a panic. Nothing here touches the machine's own interfaces.

pub mod address_log;
pub mod call_fault;
pub mod changes;
pub mod config;
pub mod daemon;
pub mod echo;
pub mod fault;
pub mod flows;
pub mod held_call;
pub mod netns;
pub mod pace;
pub mod ping;
pub mod skip;
pub mod snapshot;
pub mod sudden_death;
pub mod tap;
pub mod tcp;
pub mod topology;
pub mod tracer;
pub mod wait;
