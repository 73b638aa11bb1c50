//! Bounded, panic-free parsers and builders; shared by the eBPF programs, the daemon and the fuzz targets.
//! They never allocate.
//!
//! Recognition of our own probes ([`recognise`]) is generic over [`Bytes`], so that XDP (direct packet
//! access), tc (direct access, then a helper call) and user space (a slice) run the very same code.
//! Builders fill a [`Frame`] of fixed capacity and are used by user space only.

#![expect(
    clippy::inline_always,
    reason = "the BPF verifier follows frame pointers best within one function"
)]

mod arp;
mod bytes;
mod checksum;
mod ether;
mod frame;
mod icmp;
mod ipv4;
mod ipv6;
mod nd;
mod probe;

pub use arp::{ARP_FRAME_LEN, gratuitous_arp};
pub use bytes::Bytes;
pub use checksum::internet_checksum;
pub use ether::{BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Mac};
pub use frame::Frame;
pub use icmp::Kind;
pub use nd::{NA_FRAME_LEN, unsolicited_advertisement};
pub use probe::{MAGIC, PAYLOAD_LEN, PROBE_FRAME_MAX, Probe, ProbeFrame, Rejected, mapped, recognise};

#[cfg(test)]
mod tests;
