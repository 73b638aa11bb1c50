//! What others do to addresses, routes, interfaces and files, and what must not come of it.

use std::fs;

use crate::harness::{
    Group, addresses, assert_same, dual_stack_pair, eventually, in_namespace, interfaces, ip, ip_json,
    settled, snapshot,
};

#[test]
fn what_administrative_down_deleted_is_restored() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let before = snapshot();
        ip("link set eth0 down");
        assert_eq!(
            ip_json("route show default"),
            Vec::<serde_json::Value>::new(),
            "the kernel deletes the route"
        );
        group.fail(&["eth0"], "eth1");
        assert_eq!(ip_json("route show default")[0]["dev"], "eth1");
        assert_eq!(ip_json("-6 route show default")[0]["dev"], "eth1");
        ip("link set eth0 up");
        settled();
        group.home();
        settled();
        assert_same(&before, &snapshot(), "after failback");
    });
}

#[test]
fn carrier_loss_and_return() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let before = snapshot();
        for _ in 0..2 {
            ip("link set peer-eth0 down");
            eventually("carrier is gone", || ip_json("link show dev eth0")[0]["operstate"] != "UP");
            group.fail(&["eth0"], "eth1");
            ip("link set peer-eth0 up");
            settled();
            group.home();
            settled();
            assert_same(&before, &snapshot(), "after failback");
        }
    });
}

#[test]
fn changes_of_an_administrator_are_kept() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        ip("route del 192.0.2.0/24");
        ip("route add 198.51.100.0/24 via 10.0.0.3 dev eth0");
        // As the daemon does when it hears of them: the same placement once more.
        group.home();
        let before = snapshot();
        group.fail(&["eth0"], "eth1");
        group.home();
        assert_same(&before, &snapshot(), "changed at home");
        group.fail(&["eth0"], "eth1");
        ip("route del 198.51.100.0/24");
        ip("route add 203.0.113.0/24 via 10.0.0.4 dev eth1");
        group.fail(&["eth0"], "eth1");
        assert_eq!(ip_json("route show 203.0.113.0/24")[0]["dev"], "eth1", "a new route is not taken away");
        group.home();
        assert!(ip_json("route show 198.51.100.0/24").is_empty(), "a route removed while away stays removed");
        assert_eq!(ip_json("route show default")[0]["dev"], "eth0");
    });
}

#[test]
fn what_others_renew_is_left_alone() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        ip("addr add 10.0.0.10/24 brd + dev eth0");
        ip("addr add 10.0.9.10/24 brd + dev eth0 valid_lft 3000 preferred_lft 3000");
        ip("route add default via 10.0.0.1 dev eth0 proto dhcp metric 100");
        ip("-6 route add default via fe80::1 dev eth0 proto ra metric 1024");
        let mut group = Group::new(&["eth0", "eth1"], &[("10.0.0.10/24", "eth0")]);
        group.home();
        let outcome = group.fail(&["eth0"], "eth1");
        assert_eq!(addresses("eth0"), ["10.0.9.10"]);
        assert_eq!(ip_json("route show default")[0]["dev"], "eth0");
        assert_eq!(ip_json("-6 route show default")[0]["dev"], "eth0");
        assert_eq!(outcome.left_alone.len(), 2, "both are reported: {:?}", outcome.left_alone);
    });
}

#[test]
fn interface_that_was_replaced_gets_its_addresses_back() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let routes = || (ip("route show"), ip("-6 route show dev eth0"));
        let before = (routes(), addresses("eth0"));
        let old = Group::ifindex("eth0");
        ip("link del eth0");
        group.fail(&["eth0"], "eth1");
        assert_eq!(addresses("eth1").len(), 3);
        assert_eq!(ip_json("route show default")[0]["dev"], "eth1");
        interfaces(&["eth0"]);
        assert_ne!(Group::ifindex("eth0"), old);
        group.home();
        settled();
        assert_eq!((routes(), addresses("eth0")), before);
    });
}

#[test]
fn damaged_state_file_is_put_aside() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let path = group.directory().join("state.json");
        let text = fs::read_to_string(&path).expect("a state file");
        fs::write(&path, &text[..text.len() / 2]).expect("written");
        group.restart();
        let outcome = group.apply(group.wanted(&[], ""));
        assert_eq!(outcome.errors.len(), 1);
        assert!(outcome.errors[0].what.contains("state.json.damaged"), "{:?}", outcome.errors);
        assert!(group.directory().join("state.json.damaged").exists());
        assert!(path.exists(), "a new one is written");
    });
}

#[test]
fn guest_that_became_primary_takes_nobody_along() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1", "eth2"]);
        ip("addr add 10.0.0.10/24 brd + dev eth0");
        ip("addr add 10.0.0.20/24 brd + dev eth1");
        let members = ["eth0", "eth1", "eth2"];
        let mut group = Group::new(&members, &[("10.0.0.10/24", "eth0"), ("10.0.0.20/24", "eth1")]);
        fs::write("/proc/sys/net/ipv4/conf/eth1/promote_secondaries", "0").expect("sysctl");
        group.home();
        let mut guest = group.wanted(&["eth0"], "eth1");
        let mut alone = guest.clone();
        alone.data[1].on = alone.members[2].member;
        alone.unusable.clear();
        guest.unusable.clear();
        for wanted in [alone, guest, group.wanted(&[], "")] {
            assert_eq!(group.apply(wanted).errors, []);
        }
        assert_eq!(
            (addresses("eth0"), addresses("eth1")),
            (vec!["10.0.0.10".to_owned()], vec!["10.0.0.20".to_owned()])
        );
        let routes = ip_json("route show 10.0.0.0/24");
        let devices: Vec<&str> = routes.iter().filter_map(|r| r["dev"].as_str()).collect();
        assert_eq!(devices, ["eth0", "eth1"]);
        assert_eq!(group.home().changes, 0);
    });
}

#[test]
fn address_stays_where_the_new_interface_refuses_it() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        // Same subnet, other scope: "Invalid scope value" for 10.0.0.x on eth1.
        ip("addr add 10.0.0.99/24 scope link noprefixroute dev eth1");
        let outcome = group.apply(group.wanted(&["eth0"], "eth1"));
        let refused: Vec<&str> = outcome.errors.iter().map(|e| e.what.as_str()).collect();
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert!(
            refused.iter().all(|what| what.contains("10.0.0.1") && what.contains("scope")),
            "{refused:?}"
        );
        assert_eq!(addresses("eth0"), ["10.0.0.10", "10.0.0.11"], "what was refused stays");
        assert_eq!(addresses("eth1"), ["2001:db8::10"], "the rest moves");
        assert_eq!(outcome.moved.len(), 1);
        ip("addr del 10.0.0.99/24 dev eth1");
        group.fail(&["eth0"], "eth1");
        assert!(addresses("eth0").is_empty());
    });
}

#[test]
fn settings_of_members_are_those_of_this_namespace_and_are_restored() {
    in_namespace(|| {
        interfaces(&["eth0.7"]);
        let directory = tempfile::tempdir().expect("a directory");
        let read = |setting: &str| {
            fs::read_to_string(format!("/proc/sys/net/ipv4/conf/eth0.7/{setting}")).expect("sysctl")
        };
        let all = || ["arp_ignore", "arp_announce", "promote_secondaries", "rp_filter"].map(read);
        fs::write("/proc/sys/net/ipv4/conf/eth0.7/rp_filter", "1").expect("sysctl");
        let before = all();
        let mut sysctl = ipmp_user::net::sysctl::Sysctl::new(directory.path());
        let warning = sysctl.prepare("eth0.7").expect("prepared").expect("strict filtering is reported");
        assert!(warning.contains("/proc/sys/net/ipv4/conf/eth0.7/rp_filter to 2"), "{warning}");
        assert_eq!((read("arp_ignore").as_str(), read("arp_announce").as_str()), ("1\n", "2\n"));
        assert!(sysctl.restore_of("eth0.7").expect("restored"));
        assert_eq!(all(), before);
    });
}
