//! How addresses and routes move, and what happens when something is in the way.

use std::fs;

use crate::harness::{
    Group, Log, addresses, assert_same, eventually, in_namespace, interfaces, ip, ip_json, settled, snapshot,
};

fn dual_stack_pair() -> Group {
    interfaces(&["eth0", "eth1"]);
    for line in [
        "addr add 10.0.0.10/24 brd + dev eth0",
        "addr add 10.0.0.11/24 brd + dev eth0 label eth0:1",
        "addr add 2001:db8::10/64 dev eth0",
        "route add default via 10.0.0.1 dev eth0",
        "route add 192.0.2.0/24 via 10.0.0.2 dev eth0 src 10.0.0.11",
        "-6 route add default via fe80::1 dev eth0",
    ] {
        ip(line);
    }
    settled();
    Group::new(
        &["eth0", "eth1"],
        &[
            ("10.0.0.10/24", "eth0"),
            ("10.0.0.11/24", "eth0"),
            ("2001:db8::10/64", "eth0"),
        ],
    )
}

#[test]
fn new_stands_before_old_goes() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let log = Log::start();
        group.fail(&["eth0"], "eth1");
        let lines = log.finish();
        let at = |deleted: bool, parts: &[&str]| {
            let found = lines.iter().position(|line| {
                line.starts_with("Deleted") == deleted
                    && !line.contains("local")
                    && parts.iter().all(|p| line.contains(p))
            });
            found.unwrap_or_else(|| panic!("no line with {parts:?} in {lines:#?}"))
        };
        for address in ["10.0.0.10/24", "10.0.0.11/24", "2001:db8::10/64"] {
            assert!(
                at(false, &["eth1", address, "scope"]) < at(true, &["eth0", address, "scope"]),
                "{address}: {lines:#?}"
            );
        }
        for route in [
            "default via 10.0.0.1",
            "10.0.0.0/24",
            "192.0.2.0/24",
            "via fe80::1",
            "2001:db8::/64",
        ] {
            let (new, old) = (at(false, &[route, "dev eth1"]), at(true, &[route, "dev eth0"]));
            assert!(new < old, "{route}: {lines:#?}");
            assert!(
                old < at(true, &["eth0", "10.0.0.10/24", "scope"]),
                "routes go before addresses: {lines:#?}"
            );
        }
    });
}

#[test]
fn moved_ipv6_address_serves_at_once() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let usable = |name: &str| {
            let links = ip_json(&format!("-6 addr show dev {name}"));
            let found = links[0]["addr_info"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|a| a["local"] == "2001:db8::10")
                .cloned();
            found.is_some_and(|a| a["tentative"] != true && a["dadfailed"] != true)
        };
        group.fail(&["eth0"], "eth1");
        assert!(usable("eth1"));
        group.home();
        assert!(usable("eth0"));
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
            refused
                .iter()
                .all(|what| what.contains("10.0.0.1") && what.contains("scope")),
            "{refused:?}"
        );
        assert_eq!(
            addresses("eth0"),
            ["10.0.0.10", "10.0.0.11"],
            "what was refused stays"
        );
        assert_eq!(addresses("eth1"), ["2001:db8::10"], "the rest moves");
        assert_eq!(outcome.moved.len(), 1);
        ip("addr del 10.0.0.99/24 dev eth1");
        group.fail(&["eth0"], "eth1");
        assert!(addresses("eth0").is_empty());
    });
}

#[test]
fn test_addresses_are_added_and_never_move() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        ip("addr add 10.0.0.10/24 brd + dev eth0");
        ip("addr add 192.168.50.2/24 dev eth1");
        let mut group = Group::new(&["eth0", "eth1"], &[("10.0.0.10/24", "eth0")])
            .with_test(&[("10.0.0.110", "eth0"), ("192.168.50.2", "eth1")]);
        group.home();
        let find = || {
            let links = ip_json("-4 addr show dev eth0");
            links[0]["addr_info"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|a| a["local"] == "10.0.0.110")
                .cloned()
        };
        let test = find().expect("the test address is there");
        assert_eq!(
            (&test["prefixlen"], &test["scope"], &test["noprefixroute"]),
            (&32.into(), &"link".into(), &true.into())
        );
        assert_eq!(
            addresses("eth1"),
            ["192.168.50.2"],
            "one that is there is left as it is"
        );
        group.fail(&["eth0"], "eth1");
        assert!(find().is_some(), "a test address stays on a failed interface");
        group.home();
        assert!(find().is_some());
    });
}

#[test]
fn route_of_a_test_address_stays_but_no_longer_attracts_traffic() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        ip("addr add 10.0.0.110/24 brd + dev eth0");
        ip("addr add 10.0.0.10/24 brd + dev eth0");
        ip("addr add 10.0.0.111/24 brd + dev eth1");
        let before = snapshot();
        let mut group = Group::new(&["eth0", "eth1"], &[("10.0.0.10/24", "eth0")])
            .with_test(&[("10.0.0.110", "eth0"), ("10.0.0.111", "eth1")]);
        group.home();
        ip("link set peer-eth0 down");
        group.fail(&["eth0"], "eth1");
        let chosen = ip_json("route get 10.0.0.1");
        assert_eq!(
            chosen[0]["dev"], "eth1",
            "the route of the failed interface is no longer first"
        );
        ip("link set peer-eth0 up");
        settled();
        group.home();
        assert_same(&before, &snapshot(), "after failback");
    });
}

#[test]
fn listed_address_that_is_absent_is_created() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        let mut group = Group::new(
            &["eth0", "eth1"],
            &[("10.0.0.10/24", "eth0"), ("2001:db8::10/64", "eth0")],
        );
        group.home();
        settled();
        let info = ip_json("-4 addr show dev eth0")[0]["addr_info"][0].clone();
        assert_eq!(
            (&info["local"], &info["broadcast"]),
            (&"10.0.0.10".into(), &"10.0.0.255".into())
        );
        assert_eq!(ip_json("route show 10.0.0.0/24")[0]["protocol"], "kernel");
        let before = snapshot();
        group.fail(&["eth0"], "eth1");
        group.home();
        assert_same(&before, &snapshot(), "after failback");
    });
}

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
            eventually("carrier is gone", || {
                ip_json("link show dev eth0")[0]["operstate"] != "UP"
            });
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
        group.applier.learn().expect("the kernel can be read");
        let before = snapshot();
        group.fail(&["eth0"], "eth1");
        group.home();
        assert_same(&before, &snapshot(), "changed at home");
        group.fail(&["eth0"], "eth1");
        ip("route del 198.51.100.0/24");
        ip("route add 203.0.113.0/24 via 10.0.0.4 dev eth1");
        group.fail(&["eth0"], "eth1");
        assert_eq!(
            ip_json("route show 203.0.113.0/24")[0]["dev"],
            "eth1",
            "a new route is not taken away"
        );
        group.home();
        assert!(
            ip_json("route show 198.51.100.0/24").is_empty(),
            "a route removed while away stays removed"
        );
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
        assert_eq!(
            outcome.left_alone.len(),
            2,
            "both are reported: {:?}",
            outcome.left_alone
        );
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
        assert!(
            outcome.errors[0].what.contains("state.json.damaged"),
            "{:?}",
            outcome.errors
        );
        assert!(group.directory().join("state.json.damaged").exists());
        assert!(path.exists(), "a new one is written");
    });
}

#[test]
fn moved_addresses_are_announced() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let sniffer = crate::harness::Sniffer::open();
        let outcome = group.fail(&["eth0"], "eth1");
        assert!(outcome.announced_at.is_some());
        let mac = ip_json("link show dev eth1")[0]["address"]
            .as_str()
            .expect("a MAC")
            .to_owned();
        let mac: Vec<u8> = mac
            .split(':')
            .map(|b| u8::from_str_radix(b, 16).expect("hex"))
            .collect();
        let (mut arp, mut advertisements) = (Vec::new(), 0);
        eventually("two ARP announcements and one advertisement", || {
            for frame in sniffer.frames() {
                if frame[6..12] == mac && frame[12..14] == [8, 6] && frame[28..32] == frame[38..42] {
                    arp.push(frame[31]);
                }
                advertisements += usize::from(frame.len() == 86 && frame[6..12] == mac && frame[54] == 136);
            }
            arp.contains(&10) && arp.contains(&11) && advertisements > 0
        });
    });
}

#[test]
fn a_thousand_addresses_move() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        let data: Vec<String> = (0..500)
            .flat_map(|n| {
                [
                    format!("10.1.{}.{}/16", n / 250, n % 250 + 1),
                    format!("2001:db8::1:{n:x}/64"),
                ]
            })
            .collect();
        let data: Vec<(&str, &str)> = data.iter().map(|address| (address.as_str(), "eth0")).collect();
        let mut group = Group::new(&["eth0", "eth1"], &data);
        group.home();
        settled();
        let before = snapshot();
        let outcome = group.fail(&["eth0"], "eth1");
        assert_eq!((outcome.moved.len(), addresses("eth1").len()), (1000, 1000));
        group.home();
        assert_same(&before, &snapshot(), "after failback");
    });
}

#[test]
fn placements_are_carried_out_by_a_thread_of_their_own() {
    in_namespace(|| {
        let group = dual_stack_pair();
        let directory = tempfile::tempdir().expect("a directory");
        let (started, runs) = std::sync::mpsc::channel();
        let hook = move || drop(started.send(std::thread::current().name().map(str::to_owned)));
        let mut handle = ipmp_user::net::apply::spawn(directory.path(), hook).expect("a thread");
        assert_eq!(runs.recv().expect("the hook runs").as_deref(), Some("ipmp-apply"));
        for (epoch, wanted) in [(1, group.wanted(&[], "")), (2, group.wanted(&["eth0"], "eth1"))] {
            let job = ipmp_user::net::apply::Job {
                group: ipmp_common::engine::ids::GroupId(0),
                epoch,
                wanted,
                announce: Vec::new(),
            };
            handle.submit(Box::new(job)).expect("there is room");
        }
        let outcomes = [handle.outcomes.blocking_recv(), handle.outcomes.blocking_recv()]
            .map(|o| o.expect("an outcome"));
        assert_eq!(
            outcomes.each_ref().map(|o| (o.epoch, o.moved.len())),
            [(1, 0), (2, 3)]
        );
        handle.stop();
        assert_eq!(addresses("eth0"), Vec::<String>::new());
    });
}
