//! Policy rules by which a member's packets are routed hold for its stand-in.

use serde_json::Value;

use crate::harness::{Group, addresses, assert_same, in_namespace, interfaces, ip, ip_json};

const DATA: [(&str, &str); 3] =
    [("10.0.0.10/24", "eth0"), ("2001:db8::10/64", "eth0"), ("10.0.0.20/24", "eth1")];

fn set_up() -> Group {
    interfaces(&["eth0", "eth1", "eth2"]);
    for line in [
        "addr add 10.0.0.10/24 brd + dev eth0",
        "addr add 2001:db8::10/64 dev eth0 nodad",
        "addr add 10.0.0.20/24 brd + dev eth1",
        "route add default via 10.0.0.1 dev eth0 table 101",
        "route add default via 10.0.0.2 dev eth1",
        "rule add iif eth0 from 192.0.2.0/24 lookup 101 pref 100",
        "rule add not iif eth0 lookup 103 pref 101",
        "rule add iif eth1 lookup 102 pref 102",
        "rule add oif eth0 lookup 101 pref 103",
        "-6 rule add iif eth0 to 2001:db8:5::/48 lookup 101 pref 100",
    ] {
        ip(line);
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("sysctl");
    std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").expect("sysctl");
    Group::new(&["eth0", "eth1", "eth2"], &DATA)
}

fn rules() -> Vec<Value> {
    ["rule show", "-6 rule show"].into_iter().flat_map(ip_json).collect()
}

/// The gateway for what is forwarded from a network by an interface.
fn gateway(iif: &str) -> Value {
    ip_json(&format!("route get 203.0.113.9 from 192.0.2.7 iif {iif}"))[0]["gateway"].clone()
}

#[test]
fn rules_by_incoming_interface_hold_for_the_stand_in() {
    in_namespace(|| {
        let mut group = set_up();
        let before = rules();
        group.home();
        assert_same(&before, &rules(), "at home");
        assert_eq!((gateway("eth0"), gateway("eth2")), ("10.0.0.1".into(), "10.0.0.2".into()));
        for on in ["eth2", "eth1"] {
            group.fail(&["eth0"], on);
            assert_eq!(gateway(on), "10.0.0.1", "as if it had come in by eth0: {:#?}", rules());
            let ours: Vec<Value> = rules().into_iter().filter(|rule| !before.contains(rule)).collect();
            assert!(ours.iter().all(|rule| rule["iif"] == on), "{ours:#?}");
            assert_eq!(ours.len(), 2, "not for oif, and not for what comes in elsewhere: {ours:#?}");
            group.restart();
            assert_eq!(group.fail(&["eth0"], on).changes, 0);
            assert_eq!(rules().len(), before.len() + 2);
        }
        group.home();
        assert_same(&before, &rules(), "after failback");
    });
}

#[test]
fn a_rule_that_is_there_already_is_not_ours() {
    in_namespace(|| {
        let mut group = set_up();
        ip("rule add iif eth1 from 192.0.2.0/24 lookup 101 pref 100");
        let before = rules();
        group.home();
        group.fail(&["eth0"], "eth1");
        ip("rule del pref 101");
        group.home();
        let kept: Vec<Value> = before.into_iter().filter(|rule| rule["priority"] != 101).collect();
        assert_same(&kept, &rules(), "what an administrator deleted stays deleted, and what he made stays");
        assert_eq!(addresses("eth0").len(), 2);
    });
}
