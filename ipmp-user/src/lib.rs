//! The user half of IP multipathing.

pub mod announce;
mod beside;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod diagnosis;
mod frames;
pub mod import;
pub mod journal;
pub mod kernel;
pub mod net;
pub mod privilege;
pub mod probe;
pub mod recorder;
pub mod release;
