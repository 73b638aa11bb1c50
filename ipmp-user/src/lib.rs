//! The user half of IP multipathing.

pub mod kernel;
