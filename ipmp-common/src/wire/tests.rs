use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use proptest::{arbitrary::any, collection::vec, prop_assert_eq, proptest, sample::select};

use super::*;
use crate::abi::Session;

const V4: (IpAddr, IpAddr) = (
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
);
const V6: (IpAddr, IpAddr) = (
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
);

/// From the first address to the second.
fn probe_frame((source, target): (IpAddr, IpAddr)) -> ProbeFrame {
    ProbeFrame {
        source_mac: [2, 0, 0, 0, 0, 9],
        target_mac: [2, 0, 0, 0, 0, 1],
        source,
        target,
        icmp_id: 0xabcd,
        session: 7,
        token: 0x0123_4567_89ab_cdef,
        seq: 0x0005_0000_0003,
    }
}

fn session((source, target): (IpAddr, IpAddr)) -> Session {
    Session {
        token: 0x0123_4567_89ab_cdef,
        late_after_ns: 0,
        ifindex: 3,
        icmp_id: 0xabcd,
        family: if source.is_ipv4() { 4 } else { 6 },
        flags: 0,
        target: mapped(target),
        source: mapped(source),
    }
}

fn swapped((a, b): (IpAddr, IpAddr)) -> (IpAddr, IpAddr) {
    (b, a)
}

/// Puts `tags` VLAN tags into an untagged frame, 802.1ad outermost.
fn tagged(frame: &[u8], tags: usize) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for tag in (0..tags).rev() {
        out.extend(if tag == 0 { [0x81, 0x00] } else { [0x88, 0xa8] });
        out.extend([0, 42]);
    }
    out.extend(&frame[12..]);
    out
}

#[test]
fn what_is_built_is_recognised_with_up_to_two_tags() {
    for addresses in [V4, V6] {
        for (kind, addresses) in [(Kind::Request, addresses), (Kind::Reply, swapped(addresses))] {
            let frame = probe_frame(addresses).build_as(kind).unwrap();
            for tags in 0..=2 {
                let probe = recognise(tagged(&frame, tags).as_slice(), kind).unwrap();
                assert_eq!(probe.seq, 0x0005_0000_0003);
                assert_eq!(probe.session, 7);
                let ours = session(if kind == Kind::Request {
                    addresses
                } else {
                    swapped(addresses)
                });
                assert!(probe.belongs_to(&ours, 3, kind), "{kind:?} {tags} tags");
            }
            let three = tagged(&frame, 3);
            assert_eq!(recognise(three.as_slice(), kind), Err(Rejected::Other));
        }
    }
}

#[test]
fn a_request_is_no_reply_and_mixed_families_are_not_built() {
    for addresses in [V4, V6] {
        let frame = probe_frame(addresses).build().unwrap();
        assert_eq!(recognise(&*frame, Kind::Reply), Err(Rejected::Other));
    }
    assert!(probe_frame((V4.0, V6.1)).build().is_none());
}

#[test]
fn every_field_of_the_session_must_match() {
    let frame = probe_frame(swapped(V4)).build_as(Kind::Reply).unwrap();
    let probe = recognise(&*frame, Kind::Reply).unwrap();
    let right = session(V4);
    assert!(probe.belongs_to(&right, 3, Kind::Reply));
    assert!(!probe.belongs_to(&right, 4, Kind::Reply), "interface");
    assert!(!probe.belongs_to(&right, 3, Kind::Request), "direction");
    let other = mapped(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
    for wrong in [
        Session { token: 1, ..right },
        Session { token: 0, ..right },
        Session { icmp_id: 1, ..right },
        Session { family: 6, ..right },
        Session {
            target: other,
            ..right
        },
        Session {
            source: other,
            ..right
        },
    ] {
        assert!(!probe.belongs_to(&wrong, 3, Kind::Reply), "{wrong:?}");
    }
    let unarmed = Probe { token: 0, ..probe };
    assert!(
        !unarmed.belongs_to(&Session { token: 0, ..right }, 3, Kind::Reply),
        "token 0 matches nothing"
    );
}

#[test]
fn truncation_at_every_length_is_told_apart_by_what_was_still_readable() {
    for (addresses, code_at) in [(V4, 35), (V6, 55)] {
        let frame = probe_frame(addresses).build_as(Kind::Reply).unwrap();
        for len in 0..frame.len() {
            let expected = if len <= code_at {
                Rejected::Other
            } else {
                Rejected::Malformed
            };
            assert_eq!(
                recognise(&frame[..len], Kind::Reply),
                Err(expected),
                "{len} bytes"
            );
        }
        let mut padded = frame.to_vec();
        padded.resize(128, 0);
        assert!(
            recognise(padded.as_slice(), Kind::Reply).is_ok(),
            "padding is no fault"
        );
    }
}

#[test]
fn ipv4_options_are_skipped_and_fragments_rejected() {
    let frame = probe_frame(V4).build_as(Kind::Reply).unwrap().to_vec();
    let mut options = frame.clone();
    options[14] = 0x46;
    options[17] += 4;
    options.splice(34..34, [1, 1, 1, 1]);
    assert!(recognise(options.as_slice(), Kind::Reply).is_ok());
    for (high, low) in [(0x20, 0), (0, 1), (0x1f, 0xff)] {
        let mut fragment = frame.clone();
        (fragment[20], fragment[21]) = (high, low);
        assert_eq!(recognise(fragment.as_slice(), Kind::Reply), Err(Rejected::Other));
    }
    let mut short = frame;
    short[14] = 0x44;
    assert_eq!(
        recognise(short.as_slice(), Kind::Reply),
        Err(Rejected::Other),
        "header of 16 bytes"
    );
}

#[test]
fn foreign_and_contradictory_messages_are_told_apart() {
    let frame = probe_frame(V4).build_as(Kind::Reply).unwrap().to_vec();
    let change = |at: usize, to: u8| {
        let mut changed = frame.clone();
        changed[at] = to;
        recognise(changed.as_slice(), Kind::Reply)
    };
    assert_eq!(change(42, b'X'), Err(Rejected::Foreign), "magic");
    assert_eq!(
        change(17, 20 + 8 + 56),
        Err(Rejected::Foreign),
        "an ordinary ping's length"
    );
    assert_eq!(change(35, 1), Err(Rejected::Malformed), "code");
    assert_eq!(change(41, 4), Err(Rejected::Malformed), "sequence number");
    assert_eq!(
        change(17, 20 + 7),
        Err(Rejected::Malformed),
        "length below the header's"
    );
}

#[test]
fn checksums_are_right_and_hops_are_one() {
    let v4 = probe_frame(V4).build().unwrap();
    assert_eq!(internet_checksum(&[&v4[14..34]]), 0, "IPv4 header");
    assert_eq!(internet_checksum(&[&v4[34..]]), 0, "ICMP");
    assert_eq!((v4[22], v4[20] & 0x40), (1, 0x40), "one hop, DF");
    let v6 = probe_frame(V6).build().unwrap();
    assert_eq!(v6[21], 1, "one hop");
    assert_eq!(icmpv6_sum(&v6), 0);
}

/// Zero if the checksum of an untagged frame with one `ICMPv6` message is right.
fn icmpv6_sum(frame: &[u8]) -> u16 {
    let len = (frame.len() - 54) as u32;
    internet_checksum(&[&frame[22..54], &len.to_be_bytes(), &[0, 0, 0, 58], &frame[54..]])
}

#[test]
fn checksum_follows_the_example_of_rfc_1071() {
    let sum = internet_checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]);
    assert_eq!(sum, !0xddf2);
    assert_eq!(
        internet_checksum(&[&[0xff]]),
        0x00ff,
        "an odd byte counts as the upper one"
    );
    assert_eq!(internet_checksum(&[]), 0xffff);
}

#[test]
fn gratuitous_arp_is_an_announcement_as_in_rfc_5227() {
    let frame = gratuitous_arp([2, 0, 0, 0, 0, 9], Ipv4Addr::new(192, 0, 2, 9));
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x08, 0x06, // Ethernet
        0, 1, 8, 0, 6, 4, 0, 1, // request
        2, 0, 0, 0, 0, 9, 192, 0, 2, 9, // sender
        0, 0, 0, 0, 0, 0, 192, 0, 2, 9, // target
    ];
    assert_eq!(&*frame, expected);
}

#[test]
fn neighbour_advertisement_is_unsolicited_as_in_rfc_4861() {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    for (router, flags) in [(false, 0x20), (true, 0xa0)] {
        let frame = unsolicited_advertisement([2, 0, 0, 0, 0, 9], address, router);
        assert_eq!(frame.len(), NA_FRAME_LEN);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!((frame[20], frame[21]), (58, 255), "ICMPv6, hop limit");
        assert_eq!(frame[38..54], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
        assert_eq!((frame[54], frame[55], frame[58]), (136, 0, flags));
        assert_eq!(frame[62..78], address.octets());
        assert_eq!(frame[78..], [2, 1, 2, 0, 0, 0, 0, 9]);
        assert_eq!(icmpv6_sum(&frame), 0);
    }
}

proptest! {
    #[test]
    fn recognition_is_total(bytes in vec(any::<u8>(), 0..200)) {
        let _ = recognise(bytes.as_slice(), Kind::Reply);
        let _ = recognise(bytes.as_slice(), Kind::Request);
    }

    /// Arbitrary bytes seldom get past the ethertype: damage a good frame instead.
    #[test]
    fn a_damaged_frame_is_never_taken_for_another_session(
        addresses in select([V4, V6].as_slice()),
        damage in vec((0..86_usize, any::<u8>()), 1..4),
        len in 0..87_usize,
    ) {
        let good = probe_frame(swapped(addresses)).build_as(Kind::Reply).unwrap();
        let mut bytes = good.to_vec();
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(len);
        if let Ok(probe) = recognise(bytes.as_slice(), Kind::Reply)
            && probe.belongs_to(&session(addresses), 3, Kind::Reply)
        {
            prop_assert_eq!(probe.token, session(addresses).token);
            prop_assert_eq!(probe.seq as u16, 3_u16, "the sequence number is given twice");
        }
    }

    #[test]
    fn round_trip(
        addresses in select([V4, V6].as_slice()), tags in 0..3_usize,
        icmp_id: u16, number: u32, token: u64, seq: u64,
    ) {
        let frame = ProbeFrame { icmp_id, session: number, token, seq, ..probe_frame(addresses) }.build().unwrap();
        let expected = Probe {
            family: if addresses.0.is_ipv4() { 4 } else { 6 },
            source: mapped(addresses.0),
            destination: mapped(addresses.1),
            icmp_id,
            session: number,
            token,
            seq,
        };
        prop_assert_eq!(recognise(tagged(&frame, tags).as_slice(), Kind::Request), Ok(expected));
    }
}
