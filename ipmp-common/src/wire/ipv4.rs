//! IPv4 (RFC 791).

use core::net::Ipv4Addr;

use super::{
    bytes::Bytes,
    checksum::internet_checksum,
    probe::{Located, mapped4},
};

const HEADER_LEN: usize = 20;
const PROTOCOL_ICMP: u8 = 1;
/// "More fragments" and the fragment offset: all zero in a whole datagram.
const FRAGMENT: u16 = 0x3fff;
const DONT_FRAGMENT: u16 = 0x4000;

/// The ICMP message in the IPv4 datagram at `at`. `None`: no ICMP, a fragment, or no IPv4.
#[inline(always)]
pub(super) fn locate<B: Bytes + ?Sized>(frame: &B, at: usize) -> Option<Located> {
    let h: [u8; 10] = frame.load(at)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    let whole = u16::from_be_bytes([h[6], h[7]]) & FRAGMENT == 0;
    if h[9] != PROTOCOL_ICMP || h[0] >> 4 != 4 || header_len < HEADER_LEN || !whole {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([h[2], h[3]]));
    Some(Located {
        at: at + header_len,
        len: total.checked_sub(header_len)?,
    })
}

/// Source and destination of the datagram at `at`, mapped.
#[inline(always)]
pub(super) fn addresses<B: Bytes + ?Sized>(frame: &B, at: usize) -> Option<([u8; 16], [u8; 16])> {
    let [s0, s1, s2, s3, d0, d1, d2, d3] = frame.load(at + 12)?;
    Some((mapped4([s0, s1, s2, s3]), mapped4([d0, d1, d2, d3])))
}

/// A header for `payload_len` bytes of ICMP. The identification is zero, as an atomic datagram's may be
/// (RFC 6864, section 4.1).
pub(super) fn header(source: Ipv4Addr, target: Ipv4Addr, ttl: u8, payload_len: u16) -> [u8; HEADER_LEN] {
    let mut h = [0; HEADER_LEN];
    h[0] = 0x45;
    h[2..4].copy_from_slice(&(HEADER_LEN as u16 + payload_len).to_be_bytes());
    h[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
    h[8] = ttl;
    h[9] = PROTOCOL_ICMP;
    h[12..16].copy_from_slice(&source.octets());
    h[16..20].copy_from_slice(&target.octets());
    let checksum = internet_checksum(&[&h]);
    h[10..12].copy_from_slice(&checksum.to_be_bytes());
    h
}
