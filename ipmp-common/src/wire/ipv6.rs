//! IPv6 (RFC 8200), without extension headers: neither our probes nor the replies to them have any.

use core::net::Ipv6Addr;

use super::{bytes::Bytes, checksum::internet_checksum, probe::Located};

pub(super) const HEADER_LEN: usize = 40;
const NEXT_HEADER_ICMPV6: u8 = 58;

/// The `ICMPv6` message in the IPv6 packet at `at`. `None`: something else.
#[inline(always)]
pub(super) fn locate<B: Bytes + ?Sized>(frame: &B, at: usize) -> Option<Located> {
    let h: [u8; 8] = frame.load(at)?;
    if h[6] != NEXT_HEADER_ICMPV6 || h[0] >> 4 != 6 {
        return None;
    }
    Some(Located {
        at: at + HEADER_LEN,
        len: usize::from(u16::from_be_bytes([h[4], h[5]])),
    })
}

/// Source and destination of the packet at `at`.
#[inline(always)]
pub(super) fn addresses<B: Bytes + ?Sized>(frame: &B, at: usize) -> Option<([u8; 16], [u8; 16])> {
    Some((frame.load(at + 8)?, frame.load(at + 24)?))
}

/// A header for `payload_len` bytes of `ICMPv6`.
pub(super) fn header(
    source: Ipv6Addr,
    target: Ipv6Addr,
    hop_limit: u8,
    payload_len: u16,
) -> [u8; HEADER_LEN] {
    let mut h = [0; HEADER_LEN];
    h[0] = 0x60;
    h[4..6].copy_from_slice(&payload_len.to_be_bytes());
    h[6] = NEXT_HEADER_ICMPV6;
    h[7] = hop_limit;
    h[8..24].copy_from_slice(&source.octets());
    h[24..40].copy_from_slice(&target.octets());
    h
}

/// The `ICMPv6` checksum of `message` (RFC 4443, section 2.3; pseudo-header of RFC 8200, section 8.1).
pub(super) fn icmpv6_checksum(source: Ipv6Addr, target: Ipv6Addr, message: &[&[u8]; 2]) -> u16 {
    let len = message.iter().map(|part| part.len()).sum::<usize>() as u32;
    internet_checksum(&[
        &source.octets(),
        &target.octets(),
        &len.to_be_bytes(),
        &[0, 0, 0, NEXT_HEADER_ICMPV6],
        message[0],
        message[1],
    ])
}
