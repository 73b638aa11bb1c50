//! The session that the tests arm, and frames for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipmp_common::{
    abi::Session,
    engine::ids::SessionId,
    wire::{Kind, Mac, ProbeFrame, mapped},
};

pub(crate) const SESSION: SessionId = SessionId(5);
pub(crate) const TOKEN: u64 = 0x0123_4567_89ab_cdef;
pub(crate) const ICMP_ID: u16 = 0x1bad;

/// Ours, then the target's.
pub(crate) type Pair = (IpAddr, IpAddr);
pub(crate) const V4: Pair = (
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
);
pub(crate) const V6: Pair = (
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
);

pub(crate) fn session((source, target): Pair, ifindex: u32) -> Session {
    Session {
        token: TOKEN,
        late_after_ns: u64::MAX,
        ifindex,
        icmp_id: ICMP_ID,
        family: if source.is_ipv4() { 4 } else { 6 },
        flags: 0,
        target: mapped(target),
        source: mapped(source),
    }
}

/// From the first address to the second.
fn frame((source, target): Pair, seq: u64) -> ProbeFrame {
    ProbeFrame {
        source_mac: [2, 0, 0, 0, 0, 1],
        target_mac: [2, 0, 0, 0, 0, 2],
        source,
        target,
        icmp_id: ICMP_ID,
        session: SESSION.0,
        token: TOKEN,
        seq,
    }
}

/// Our probe as it leaves.
pub(crate) fn request(pair: Pair, seq: u64, macs: (Mac, Mac)) -> Vec<u8> {
    let probe = ProbeFrame {
        source_mac: macs.0,
        target_mac: macs.1,
        ..frame(pair, seq)
    };
    probe.build().expect("one family").to_vec()
}

/// The right answer.
pub(crate) fn reply(pair: Pair, seq: u64) -> Vec<u8> {
    reply_with(pair, seq, |_| ())
}

/// An answer that is not quite right.
pub(crate) fn reply_with((ours, theirs): Pair, seq: u64, change: impl FnOnce(&mut ProbeFrame)) -> Vec<u8> {
    let mut probe = frame((theirs, ours), seq);
    change(&mut probe);
    probe.build_as(Kind::Reply).expect("one family").to_vec()
}

/// With VLAN tags, 802.1ad outermost.
pub(crate) fn tagged(frame: &[u8], tags: usize) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for tag in (0..tags).rev() {
        out.extend(if tag == 0 { [0x81, 0x00] } else { [0x88, 0xa8] });
        out.extend([0, 42]);
    }
    out.extend(&frame[12..]);
    out
}
