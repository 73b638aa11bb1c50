//! The user half of IP multipathing.

pub mod announce;
pub mod net;

pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipmp-ebpf"));
