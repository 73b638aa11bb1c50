use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

#[test]
fn arp_announcement_names_the_address_as_sender_and_target() {
    let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 0, 0, 10));
    assert_eq!(
        frame[..14],
        [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 6]
    );
    assert_eq!(frame[20..22], [0, 1], "a request");
    assert_eq!(frame[22..32], [2, 0, 0, 0, 0, 7, 10, 0, 0, 10]);
    assert_eq!(frame[32..42], [0, 0, 0, 0, 0, 0, 10, 0, 0, 10]);
}

#[test]
fn advertisement_overrides_and_its_checksum_is_right() {
    let ip: Ipv6Addr = "2001:db8::10".parse().expect("an address");
    let frame = unsolicited_advertisement(MAC, ip);
    assert_eq!((frame[54], frame[55], frame[58]), (136, 0, 0x20));
    assert_eq!(frame[62..78], ip.octets());
    // With the checksum in place the sum over everything is all ones (RFC 1071).
    assert_eq!(checksum(&frame[22..54], &frame[54..86], 58), 0);
    assert_ne!(frame[56..58], [0, 0]);
}
