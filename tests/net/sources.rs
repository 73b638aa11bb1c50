//! What applications get as their source address: a data address, never one that is there for probes.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::harness::{Group, in_namespace, interfaces, ip, ip_json, settled};

const TEST: [(&str, &str); 4] =
    [("10.0.0.110", "eth0"), ("10.0.0.111", "eth1"), ("2001:db8::110", "eth0"), ("2001:db8::111", "eth1")];

/// The source that connect(2) gives a socket without one.
fn source_to(target: &str) -> IpAddr {
    let target: IpAddr = target.parse().expect("an address");
    let any: SocketAddr = if target.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).expect("a socket");
    socket.connect(SocketAddr::new(target, 9)).unwrap_or_else(|error| panic!("to {target}: {error}"));
    socket.local_addr().expect("connected").ip()
}

/// On link, behind routers, and by routes that name no source.
fn assert_data_addresses(when: &str) {
    const TARGETS: [&str; 8] = [
        "10.0.0.1",
        "10.0.0.200",
        "198.51.100.1",
        "192.0.2.1",
        "2001:db8::1",
        "2001:db8::200",
        "2001:db8:ffff::1",
        "2001:db8:f::1",
    ];
    for target in TARGETS {
        let source = source_to(target);
        assert!(
            TEST.iter().all(|(ip, _)| source.to_string() != *ip),
            "{when}: {source} to {target}; {}",
            ip(&format!("route get {target}"))
        );
    }
}

fn pair(lines: &[&str], data: &[(&str, &str)]) -> Group {
    interfaces(&["eth0", "eth1"]);
    for line in lines {
        ip(line);
    }
    settled();
    Group::new(&["eth0", "eth1"], data).with_test(&TEST)
}

const ROUTES: [&str; 4] = [
    "route append default via 10.0.0.1 dev eth0",
    "route append 192.0.2.0/24 via 10.0.0.2 dev eth1 onlink",
    "-6 route append default via fe80::1 dev eth0",
    "-6 route append 2001:db8:f::/48 via fe80::2 dev eth1",
];

fn test_addresses_are_nobodys_source(mut group: Group) {
    group.home();
    settled();
    assert_data_addresses("at home");
    for (failed, on) in [("eth0", "eth1"), ("eth1", "eth0")] {
        group.fail(&[failed], on);
        settled();
        assert_data_addresses(&format!("{failed} failed"));
        group.restart();
        group.home();
        settled();
        assert_data_addresses(&format!("{failed} repaired"));
    }
}

#[test]
fn test_addresses_are_nobodys_source_beside_data_addresses() {
    in_namespace(|| {
        let data = [
            ("10.0.0.10/24", "eth0"),
            ("10.0.0.20/24", "eth1"),
            ("2001:db8::10/64", "eth0"),
            ("2001:db8::20/64", "eth1"),
        ];
        let lines = data.map(|(net, nic)| format!("addr add {net} dev {nic}"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain(ROUTES).collect();
        test_addresses_are_nobodys_source(pair(&lines, &data));
    });
}

#[test]
fn test_addresses_are_nobodys_source_on_a_standby() {
    in_namespace(|| {
        let data = [("10.0.0.10/24", "eth0"), ("2001:db8::10/64", "eth0")];
        let lines = data.map(|(net, nic)| format!("addr add {net} dev {nic}"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain(ROUTES).collect();
        test_addresses_are_nobodys_source(pair(&lines, &data));
    });
}

#[test]
fn an_ipv6_test_address_is_deprecated_and_lives_for_ever() {
    in_namespace(|| {
        let mut group = pair(&["addr add 2001:db8::10/64 dev eth0"], &[("2001:db8::10/64", "eth0")]);
        group.home();
        for name in ["eth0", "eth1"] {
            let links = ip_json(&format!("-6 addr show dev {name}"));
            let infos = links[0]["addr_info"].as_array().expect("addresses").clone();
            let is_test = |info: &&serde_json::Value| info["prefixlen"] == 128;
            let test = infos.iter().find(is_test).expect("a test address");
            assert_eq!(test["deprecated"], true, "{test}");
            assert_eq!(
                (&test["preferred_life_time"], &test["valid_life_time"]),
                (&0.into(), &u32::MAX.into())
            );
            let others = infos.iter().filter(|info| !is_test(info));
            assert!(others.clone().count() > 0);
            for other in others {
                assert_ne!(other["deprecated"], true, "{other}");
            }
        }
    });
}
