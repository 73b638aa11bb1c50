//! An address with an end keeps it, wherever it stands meanwhile.

use std::time::Instant;

use serde_json::Value;

use crate::harness::{Group, addresses, eventually, in_namespace, interfaces, ip, ip_json, settled};

const DATA: [(&str, &str); 4] = [
    ("10.0.0.10/24", "eth0"),
    ("10.0.1.10/24", "eth0"),
    ("2001:db8::10/64", "eth0"),
    ("2001:db8:1::10/64", "eth0"),
];
/// What the kernel calls for ever.
const FOREVER: u64 = u32::MAX as u64;
/// The kernel rounds up, the daemon down, and a move takes its time.
const TOLERANCE_S: u64 = 3;

/// An address on an interface as `ip -j address` shows it.
fn info(interface: &str, address: &str) -> Option<Value> {
    let links = ip_json(&format!("addr show dev {interface}"));
    let mut infos = links.iter().flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
    infos.find(|info| info["local"] == address).cloned()
}

/// Preferred and valid lifetime in seconds.
fn life(interface: &str, address: &str) -> [u64; 2] {
    let info = info(interface, address).unwrap_or_else(|| panic!("{address} is on {interface}"));
    ["preferred_life_time", "valid_life_time"].map(|key| info[key].as_u64().expect("a lifetime"))
}

fn assert_near(interface: &str, address: &str, expected: [u64; 2]) {
    let told = life(interface, address);
    let near = |(told, expected): (&u64, &u64)| told.abs_diff(*expected) <= TOLERANCE_S;
    assert!(told.iter().zip(&expected).all(near), "{address} on {interface}: {told:?}, not {expected:?}");
}

/// Waits until so many seconds of a life of 300 have passed, by the kernel's own account.
fn passed(interface: &str, seconds: u64) {
    eventually("time", || life(interface, "10.0.0.10")[1] <= 300 - seconds);
}

fn come_home(restart: bool) {
    interfaces(&["eth0", "eth1"]);
    ip("addr add 10.0.0.10/24 brd + dev eth0 valid_lft 300 preferred_lft 200");
    ip("addr add 10.0.1.10/24 brd + dev eth0 preferred_lft 0");
    ip("addr add 2001:db8::10/64 dev eth0 valid_lft 300 preferred_lft 200");
    ip("addr add 2001:db8:1::10/64 dev eth0 preferred_lft 100");
    let made = Instant::now();
    settled();
    let mut group = Group::new(&["eth0", "eth1"], &DATA);
    group.home();
    let left = || {
        let passed = made.elapsed().as_secs();
        [[200 - passed, 300 - passed], [100 - passed, FOREVER]]
    };
    passed("eth0", 6);
    group.fail(&["eth0"], "eth1");
    let route = ip_json("-6 route show 2001:db8::/64");
    assert_eq!(route[0]["dev"], "eth1", "reached without a gateway: {route:?}");
    for (interface, seconds) in [("eth1", 12), ("eth0", 13)] {
        if interface == "eth0" {
            group.home();
        }
        passed(interface, seconds);
        if restart {
            group.restart();
            let same = if interface == "eth0" { group.home() } else { group.fail(&["eth0"], "eth1") };
            assert_eq!(same.changes, 0, "a restart renews nothing");
        }
        let [both, preferred] = left();
        assert_near(interface, "10.0.0.10", both);
        assert_near(interface, "2001:db8::10", both);
        assert_near(interface, "2001:db8:1::10", preferred);
        let deprecated = info(interface, "10.0.1.10").expect("it stands");
        assert_eq!(deprecated["deprecated"], true, "{deprecated}");
    }
    assert!(addresses("eth1").is_empty(), "each stands once");
    assert_eq!(ip_json("-6 route show 2001:db8::/64")[0]["dev"], "eth0");
}

#[test]
fn addresses_come_home_with_what_is_left_of_their_lives() {
    in_namespace(|| come_home(false));
}

#[test]
fn addresses_come_home_with_what_is_left_of_their_lives_after_restarts() {
    in_namespace(|| come_home(true));
}

#[test]
fn an_address_whose_life_ended_elsewhere_does_not_come_home() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        ip("addr add 10.0.0.10/24 brd + dev eth0 valid_lft 6 preferred_lft 5");
        ip("addr add 10.0.0.11/24 brd + dev eth0");
        let mut group = Group::new(&["eth0", "eth1"], &[("10.0.0.10/24", "eth0"), ("10.0.0.11/24", "eth0")]);
        group.home();
        group.fail(&["eth0"], "eth1");
        assert!(info("eth1", "10.0.0.10").is_some(), "it serves as long as it lives");
        eventually("the end", || info("eth1", "10.0.0.10").is_none());
        for _ in 0..2 {
            eventually("its end is known", || {
                let outcome = group.apply(group.wanted(&[], ""));
                assert_eq!(outcome.errors, []);
                outcome.left_alone == ["the lifetime of 10.0.0.10/24 is over"]
            });
            assert_eq!((addresses("eth0"), addresses("eth1")), (vec!["10.0.0.11".to_owned()], vec![]));
            group.restart();
        }
        // Whoever adds it again makes it serve again.
        ip("addr add 10.0.0.10/24 brd + dev eth0");
        group.home();
        group.fail(&["eth0"], "eth1");
        assert_eq!(life("eth1", "10.0.0.10"), [FOREVER, FOREVER]);
    });
}

/// As a program does that does not know where the address serves now.
#[test]
fn a_life_that_is_prolonged_at_home_is_longer_elsewhere() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        ip("addr add 10.0.0.10/24 brd + dev eth0 valid_lft 300 preferred_lft 200");
        let mut group = Group::new(&["eth0", "eth1"], &DATA[..1]);
        group.home();
        group.fail(&["eth0"], "eth1");
        ip("addr replace 10.0.0.10/24 brd + dev eth0 valid_lft 3000 preferred_lft 2000");
        group.fail(&["eth0"], "eth1");
        assert_near("eth1", "10.0.0.10", [2000, 3000]);
        assert!(addresses("eth0").is_empty(), "and stands once");
        ip("addr change 10.0.0.10/24 dev eth1 valid_lft 5000 preferred_lft 4000");
        group.home();
        assert_near("eth0", "10.0.0.10", [4000, 5000]);
    });
}

#[test]
fn b26_a_listed_address_that_dhcp_renews_is_left_alone() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        ip("addr add 10.0.0.10/24 brd + dev eth0 valid_lft 300 preferred_lft 200");
        ip("route add default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.10");
        let mut group = Group::new(&["eth0", "eth1"], &DATA[..1]);
        group.home();
        let outcome = group.apply(group.wanted(&["eth0"], "eth1"));
        assert_eq!((addresses("eth0"), addresses("eth1")), (vec!["10.0.0.10".to_owned()], vec![]));
        assert_eq!((outcome.errors, outcome.moved, outcome.left_alone.len()), (vec![], vec![], 2));
    });
}
