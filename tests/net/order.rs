//! Of equal entries the kernel uses the first: their order is what it would be had nothing happened.

use ipmp_common::engine::ids::MemberId;
use ipmp_user::net::plan::Wanted;
use serde_json::Value;

use crate::harness::{Group, addresses, assert_same, in_namespace, interfaces, ip, settled, snapshot};

const MEMBERS: [&str; 3] = ["eth0", "eth1", "eth2"];
const DATA: [(&str, &str); 6] = [
    ("10.0.0.10/24", "eth0"),
    ("2001:db8::10/64", "eth0"),
    ("10.0.0.20/24", "eth1"),
    ("2001:db8::20/64", "eth1"),
    ("10.0.0.30/24", "eth2"),
    ("2001:db8::30/64", "eth2"),
];

/// Of a group that withdraws its addresses when all members fail.
fn withdrawn_and_back(restart: bool) {
    interfaces(&MEMBERS);
    // Not the order of the configuration.
    for member in [1, 2, 0] {
        for (net, on) in &DATA[2 * member..2 * member + 2] {
            let broadcast = if net.contains(':') { "" } else { "brd +" };
            ip(&format!("addr add {net} {broadcast} dev {on}"));
        }
    }
    settled();
    let before = snapshot();
    let mut group = Group::new(&MEMBERS, &DATA);
    assert_eq!(group.home().changes, 0);
    let withdrawn = Wanted { withdrawn: (0..3).map(MemberId).collect(), ..group.wanted(&[], "") };
    assert_eq!(group.apply(withdrawn.clone()).errors, []);
    assert!(MEMBERS.iter().all(|name| addresses(name).is_empty()));
    if restart {
        group.restart();
        assert_eq!(group.apply(withdrawn).changes, 0);
    }
    group.home();
    assert_same(&before, &snapshot(), "after the return");
}

#[test]
fn withdrawn_addresses_return_in_their_order() {
    in_namespace(|| withdrawn_and_back(false));
}

#[test]
fn withdrawn_addresses_return_in_their_order_after_a_restart() {
    in_namespace(|| withdrawn_and_back(true));
}

/// The routes of a group whose addresses only we make, where these interfaces are missing at first and come one by one.
fn routes_after(late: &'static [&'static str], restart: bool) -> Vec<Value> {
    let (tell, told) = std::sync::mpsc::channel();
    in_namespace(move || {
        let present: Vec<&str> = MEMBERS.into_iter().filter(|name| !late.contains(name)).collect();
        interfaces(&present);
        let mut group = Group::new(&MEMBERS, &DATA);
        for come in 0..=late.len() {
            interfaces(&late[come.saturating_sub(1)..come]);
            match late.get(come..).filter(|missing| !missing.is_empty()) {
                Some(missing) => drop(group.fail(missing, present[0])),
                None => drop(group.home()),
            }
            if restart {
                group.restart();
            }
        }
        group.home();
        settled();
        // Of the others some are made from hardware addresses, which differ.
        let is_ours = |entry: &Value| {
            entry["dst"] != "fe80::/64" && (entry["table"] == "main" || entry["type"] == "broadcast")
        };
        tell.send(snapshot().into_iter().filter(is_ours).collect()).expect("somebody listens");
    });
    // Nothing was told where there can be no namespace, which has been said then.
    told.recv().unwrap_or_default()
}

#[test]
fn b27_whoever_comes_late_takes_its_place_among_equals() {
    let complete = routes_after(&[], false);
    for late in [&["eth0"][..], &["eth1"], &["eth2"], &["eth2", "eth0"], &["eth0", "eth1"]] {
        for restart in [false, true] {
            assert_same(&complete, &routes_after(late, restart), &format!("{late:?}, restart: {restart}"));
        }
    }
}
