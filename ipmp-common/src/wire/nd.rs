//! Unsolicited neighbour advertisements (RFC 4861, section 7.2.6).

use core::net::Ipv6Addr;

use super::{
    ether::{self, ETHERTYPE_IPV6, Mac},
    frame::Frame,
    ipv6,
};

/// Ethernet and IPv6 headers, the advertisement, and its target link-layer address option.
pub const NA_FRAME_LEN: usize = ether::HEADER_LEN + ipv6::HEADER_LEN + ADVERTISEMENT_LEN + OPTION_LEN;

const ADVERTISEMENT_LEN: usize = 24;
const OPTION_LEN: usize = 8;
const TYPE_NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// RFC 4861, section 4.4: R, the sender is a router.
const FLAG_ROUTER: u8 = 0x80;
/// RFC 4861, section 4.4: O, cached link-layer addresses shall be replaced.
const FLAG_OVERRIDE: u8 = 0x20;
const OPTION_TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// RFC 4861, section 7.1.2: receivers drop anything less.
const HOP_LIMIT: u8 = 255;
/// RFC 2464, section 7: 33:33 and the group's last four bytes.
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Tells all nodes on the link that `address` is at `mac` now, replacing what they have cached.
/// `router` says whether the host forwards: a wrong answer removes it from, or adds it to, its neighbours'
/// default routers.
pub fn unsolicited_advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> Frame<NA_FRAME_LEN> {
    let mut advertisement = [0; ADVERTISEMENT_LEN];
    advertisement[0] = TYPE_NEIGHBOUR_ADVERTISEMENT;
    advertisement[4] = FLAG_OVERRIDE | if router { FLAG_ROUTER } else { 0 };
    advertisement[8..24].copy_from_slice(&address.octets());
    let mut option = [0; OPTION_LEN];
    option[0] = OPTION_TARGET_LINK_LAYER_ADDRESS;
    option[1] = 1;
    option[2..8].copy_from_slice(&mac);
    let checksum = ipv6::icmpv6_checksum(address, ALL_NODES, &[&advertisement, &option]);
    advertisement[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = Frame::new();
    frame.put_ethernet(ALL_NODES_MAC, mac, ETHERTYPE_IPV6);
    let payload_len = (ADVERTISEMENT_LEN + OPTION_LEN) as u16;
    frame.put(&ipv6::header(address, ALL_NODES, HOP_LIMIT, payload_len));
    frame.put(&advertisement);
    frame.put(&option);
    frame
}
