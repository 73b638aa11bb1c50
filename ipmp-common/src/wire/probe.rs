//! Our probes: an echo request with a 24-byte payload that only we can have written.
//!
//! ```text
//!  0        4         8            16           24
//!  | "IPMP" | session | token      | seq        |     big endian
//! ```
//! The ICMP identifier is the session's, the ICMP sequence number the low 16 bits of `seq`.

use core::net::IpAddr;

use super::{
    bytes::Bytes,
    checksum::internet_checksum,
    ether::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Mac},
    frame::Frame,
    icmp::{ECHO_HEADER_LEN, Kind, echo_header},
    ipv4, ipv6,
};
use crate::abi::Session;

/// First four bytes of the payload.
pub const MAGIC: [u8; 4] = *b"IPMP";
/// Bytes of the payload.
pub const PAYLOAD_LEN: usize = 24;
/// The longest probe frame: IPv6, untagged.
pub const PROBE_FRAME_MAX: usize = ether::HEADER_LEN + ipv6::HEADER_LEN + MESSAGE_LEN;

/// Bytes of the ICMP message.
const MESSAGE_LEN: usize = ECHO_HEADER_LEN + PAYLOAD_LEN;
/// A target is a neighbour on the link; in.mpathd sends with one hop too, so that a router that proxies
/// for a dead neighbour is no evidence.
const HOP_LIMIT: u8 = 1;

/// Where an ICMP message is.
pub(super) struct Located {
    /// Offset of the message in the frame.
    pub(super) at: usize,
    /// Its length, as the IP header gives it.
    pub(super) len: usize,
}

/// A message in the form of our probes; nothing in it is trusted before [`Probe::belongs_to`] said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// 4 or 6.
    pub family: u8,
    /// IP source, mapped.
    pub source: [u8; 16],
    /// IP destination, mapped.
    pub destination: [u8; 16],
    /// ICMP identifier.
    pub icmp_id: u16,
    /// Claimed session number; may be out of range.
    pub session: u32,
    /// Claimed token.
    pub token: u64,
    /// Sequence number.
    pub seq: u64,
}

/// Why a frame is not one of our probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It is no ICMP echo message of the wanted kind at all: nearly all traffic.
    Other,
    /// An echo message that is cut short or contradicts itself.
    Malformed,
    /// An echo message of somebody else.
    Foreign,
}

impl Probe {
    /// Whether the message belongs to `session`, which is armed on interface `ifindex`: every field must
    /// be right. A reply comes from the target to us, a request goes the other way.
    #[inline(always)]
    pub fn belongs_to(&self, session: &Session, ifindex: u32, kind: Kind) -> bool {
        let (ours, theirs) = match kind {
            Kind::Request => (&self.source, &self.destination),
            Kind::Reply => (&self.destination, &self.source),
        };
        session.token != 0
            && session.token == self.token
            && session.ifindex == ifindex
            && session.family == self.family
            && session.icmp_id == self.icmp_id
            && same(&session.target, theirs)
            && same(&session.source, ours)
    }
}

/// Compares as numbers: the BPF target has no `memcmp`.
#[inline(always)]
fn same(a: &[u8; 16], b: &[u8; 16]) -> bool {
    u128::from_ne_bytes(*a) == u128::from_ne_bytes(*b)
}

/// The IPv4-mapped form (RFC 4291, section 2.5.5.2).
#[inline(always)]
pub(super) const fn mapped4(octets: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = octets;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// An address as the maps hold it: 16 bytes, IPv4 as IPv4-mapped IPv6.
pub const fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => mapped4(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Reads a frame that might be an echo `kind` in the form of our probes.
///
/// The ICMP checksum is not verified: the frame passed the link's own check, and a message whose token,
/// session, addresses and sequence number are all right proves the path whatever happened to its rest.
#[inline(always)]
pub fn recognise<B: Bytes + ?Sized>(frame: &B, kind: Kind) -> Result<Probe, Rejected> {
    let (ethertype, at) = ether::payload(frame).ok_or(Rejected::Other)?;
    match ethertype {
        ETHERTYPE_IPV4 => {
            let found = ipv4::locate(frame, at).ok_or(Rejected::Other)?;
            let addresses = |frame: &B| ipv4::addresses(frame, at);
            message(frame, &found, (4, kind.icmp()), addresses)
        }
        ETHERTYPE_IPV6 => {
            let found = ipv6::locate(frame, at).ok_or(Rejected::Other)?;
            let addresses = |frame: &B| ipv6::addresses(frame, at);
            message(frame, &found, (6, kind.icmpv6()), addresses)
        }
        _ => Err(Rejected::Other),
    }
}

/// Reads the ICMP message; addresses only once it looks like ours, since nearly nothing does.
#[inline(always)]
fn message<B: Bytes + ?Sized>(
    frame: &B,
    found: &Located,
    (family, icmp_type): (u8, u8),
    addresses: impl FnOnce(&B) -> Option<([u8; 16], [u8; 16])>,
) -> Result<Probe, Rejected> {
    // Two bytes, since the verifier derives no bounds from the comparison that one byte compiles to.
    let [type_found, code] = frame.load(found.at).ok_or(Rejected::Other)?;
    if type_found != icmp_type {
        return Err(Rejected::Other);
    }
    if found.len < ECHO_HEADER_LEN {
        return Err(Rejected::Malformed);
    }
    if found.len != MESSAGE_LEN {
        return Err(Rejected::Foreign);
    }
    let m: [u8; MESSAGE_LEN] = frame.load(found.at).ok_or(Rejected::Malformed)?;
    let [
        _,
        _,
        _,
        _,
        i0,
        i1,
        s0,
        s1,
        m0,
        m1,
        m2,
        m3,
        n0,
        n1,
        n2,
        n3,
        rest @ ..,
    ] = m;
    if u32::from_ne_bytes([m0, m1, m2, m3]) != u32::from_ne_bytes(MAGIC) {
        return Err(Rejected::Foreign);
    }
    let [t0, t1, t2, t3, t4, t5, t6, t7, q @ ..] = rest;
    let seq = u64::from_be_bytes(q);
    if code != 0 || u16::from_be_bytes([s0, s1]) != seq as u16 {
        return Err(Rejected::Malformed);
    }
    let (source, destination) = addresses(frame).ok_or(Rejected::Malformed)?;
    Ok(Probe {
        family,
        source,
        destination,
        icmp_id: u16::from_be_bytes([i0, i1]),
        session: u32::from_be_bytes([n0, n1, n2, n3]),
        token: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        seq,
    })
}

/// What it takes to build a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeFrame {
    /// Our interface's hardware address.
    pub source_mac: Mac,
    /// The target's hardware address (or its multicast group's).
    pub target_mac: Mac,
    /// Our test address.
    pub source: IpAddr,
    /// The target.
    pub target: IpAddr,
    /// ICMP identifier of the session.
    pub icmp_id: u16,
    /// Session number.
    pub session: u32,
    /// The session's token.
    pub token: u64,
    /// Sequence number, from 1.
    pub seq: u64,
}

impl ProbeFrame {
    /// The echo request, ready to send; `None` if the addresses are of different families.
    pub fn build(&self) -> Option<Frame<PROBE_FRAME_MAX>> {
        self.build_as(Kind::Request)
    }

    /// The same message as an echo request or reply; tests and simulated targets answer with it.
    pub fn build_as(&self, kind: Kind) -> Option<Frame<PROBE_FRAME_MAX>> {
        let payload = self.payload();
        let mut frame = Frame::new();
        let checksum;
        let mut header;
        match (self.source, self.target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                header = echo_header(kind.icmp(), self.icmp_id, self.seq as u16);
                checksum = internet_checksum(&[&header, &payload]);
                frame.put_ethernet(self.target_mac, self.source_mac, ETHERTYPE_IPV4);
                frame.put(&ipv4::header(source, target, HOP_LIMIT, MESSAGE_LEN as u16));
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                header = echo_header(kind.icmpv6(), self.icmp_id, self.seq as u16);
                checksum = ipv6::icmpv6_checksum(source, target, &[&header, &payload]);
                frame.put_ethernet(self.target_mac, self.source_mac, ETHERTYPE_IPV6);
                frame.put(&ipv6::header(source, target, HOP_LIMIT, MESSAGE_LEN as u16));
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        }
        header[2..4].copy_from_slice(&checksum.to_be_bytes());
        frame.put(&header);
        frame.put(&payload);
        Some(frame)
    }

    fn payload(&self) -> [u8; PAYLOAD_LEN] {
        let mut payload = [0; PAYLOAD_LEN];
        payload[..4].copy_from_slice(&MAGIC);
        payload[4..8].copy_from_slice(&self.session.to_be_bytes());
        payload[8..16].copy_from_slice(&self.token.to_be_bytes());
        payload[16..].copy_from_slice(&self.seq.to_be_bytes());
        payload
    }
}
