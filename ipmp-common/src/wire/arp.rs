//! ARP announcements (RFC 826, RFC 5227).

use core::net::Ipv4Addr;

use super::{
    ether::{BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, Mac},
    frame::Frame,
};

/// Ethernet header and an ARP packet for IPv4 over Ethernet.
pub const ARP_FRAME_LEN: usize = 42;

const HARDWARE_ETHERNET: u16 = 1;
const OPERATION_REQUEST: u16 = 1;

/// An ARP announcement of `address` at `mac`: a broadcast request whose sender and target protocol
/// addresses are both the announced one (RFC 5227, sections 1.1 and 3).
pub fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> Frame<ARP_FRAME_LEN> {
    let mut frame = Frame::new();
    frame.put_ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    frame.put(&HARDWARE_ETHERNET.to_be_bytes());
    frame.put(&ETHERTYPE_IPV4.to_be_bytes());
    frame.put(&[6, 4]);
    frame.put(&OPERATION_REQUEST.to_be_bytes());
    frame.put(&mac);
    frame.put(&address.octets());
    frame.put(&[0; 6]);
    frame.put(&address.octets());
    frame
}
