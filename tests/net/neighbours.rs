//! Traffic that moves needs no resolution on its new interface, and what the lost one knew does not mislead.

use std::net::UdpSocket;

use crate::{
    harness::{dual_stack_pair, eventually, in_namespace, ip, ip_json},
    witness::Sniffer,
};

const MAC: &str = "02:00:00:00:00:99";
const MAC_BYTES: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// State and hardware address of a neighbour on an interface.
fn entry(name: &str, neighbour: &str) -> Option<(String, String)> {
    let found = ip_json(&format!("neigh show {neighbour} dev {name} nud all"));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    found.first().map(|entry| (text(&entry["state"][0]), text(&entry["lladdr"])))
}

fn is_usable(name: &str, neighbour: &str) -> bool {
    entry(name, neighbour) == Some(("STALE".to_owned(), MAC.to_owned()))
}

/// The first datagram leaves as a whole frame, and nobody is asked for the gateway's hardware address.
fn leaves_without_resolution(sniffer: &Sniffer, from: &str, to: &str) {
    let socket = UdpSocket::bind(from).expect("the address is there");
    socket.send_to(b"x", to).expect("sent");
    let mut asked = 0;
    eventually("the datagram", || {
        let frames = sniffer.frames();
        // ARP and neighbour discovery for the gateway are addressed to all or to a multicast group.
        let arp = |f: &Vec<u8>| f[12..14] == [8, 6] && f[38..42] == [10, 0, 0, 1] && f[28..32] != f[38..42];
        let discovery =
            |f: &Vec<u8>| f[12..14] == [0x86, 0xdd] && f.len() > 78 && f[20] == 58 && f[54] == 135;
        asked += frames.iter().filter(|f| f[0] & 1 == 1 && (arp(f) || discovery(f))).count();
        frames.iter().any(|frame| frame[..6] == MAC_BYTES && (frame[23] == 17 || frame[20] == 17))
    });
    assert_eq!(asked, 0, "a resolution began before the datagram left");
}

#[test]
fn moved_traffic_needs_no_resolution() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        for neighbour in ["10.0.0.1", "10.0.0.7", "fe80::1"] {
            ip(&format!("neigh add {neighbour} lladdr {MAC} nud reachable dev eth0"));
            ip(&format!("neigh add {neighbour} nud incomplete dev eth1"));
        }
        let sniffer = Sniffer::open();
        group.fail(&["eth0"], "eth1");
        for neighbour in ["10.0.0.1", "10.0.0.7", "fe80::1"] {
            assert!(is_usable("eth1", neighbour), "{neighbour}: {:?}", entry("eth1", neighbour));
        }
        leaves_without_resolution(&sniffer, "10.0.0.10:0", "198.51.100.1:9");
        leaves_without_resolution(&sniffer, "[2001:db8::10]:0", "[2001:db8:ffff::1]:9");

        // The way back, with the same entries in the way.
        ip("neigh flush dev eth0");
        ip("neigh replace 10.0.0.1 nud incomplete dev eth0");
        let sniffer = Sniffer::open();
        group.home();
        leaves_without_resolution(&sniffer, "10.0.0.10:0", "198.51.100.1:9");
        leaves_without_resolution(&sniffer, "[2001:db8::10]:0", "[2001:db8:ffff::1]:9");
    });
}

#[test]
fn what_a_failed_interface_knew_is_forgotten() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        // With its last address an interface loses all neighbours of the family (`fib_disable_ip`).
        ip("addr add 203.0.113.1/32 dev eth0");
        group.home();
        for (neighbour, state) in [("10.0.0.1", "stale"), ("10.0.0.2", "permanent"), ("192.0.2.9", "stale")] {
            ip(&format!("neigh add {neighbour} lladdr {MAC} nud {state} dev eth0"));
        }
        group.fail(&["eth0"], "eth1");
        assert_eq!(entry("eth0", "10.0.0.1"), None, "of a subnet that left");
        assert!(entry("eth0", "10.0.0.2").is_some(), "set by an administrator");
        assert!(entry("eth0", "192.0.2.9").is_some(), "of no subnet that left");
    });
}
