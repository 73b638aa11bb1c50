//! The user half of IP multipathing.
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod journal;

/// The eBPF programs, as compiled.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipmp-ebpf"));
