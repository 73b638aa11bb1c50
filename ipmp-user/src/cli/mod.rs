//! The command lines of `ipmp` and `ipmpd`: one file a sub-command.

pub mod args;
pub mod exit;
pub mod ipmpd;
