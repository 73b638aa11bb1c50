//! Routes by nexthop objects.

use serde_json::Value;

use crate::{
    harness::{
        Group, assert_same, dual_stack_pair, eventually, in_namespace, interfaces, ip, ip_json, settled,
        snapshot,
    },
    witness::{Log, Neighbourhood},
};

/// More than one route, so that one message for all of them shows.
const ROUTES: usize = 50;

/// The snapshot with the nexthop objects.
fn everything() -> Vec<Value> {
    let mut all = snapshot();
    all.extend(ip_json("nexthop show"));
    all
}

/// The pair, with nexthop objects of both families, a group, and routes by each.
fn pair_with_objects() -> Group {
    let group = dual_stack_pair();
    for line in [
        "nexthop add id 10 via 10.0.0.1 dev eth0",
        "nexthop add id 11 via 10.0.0.2 dev eth0",
        "nexthop add id 12 group 10/11,3",
        "nexthop add id 13 via 2001:db8::1 dev eth0",
        "route add 172.16.0.0/12 nhid 12",
        "-6 route add 2001:db8:ff::/48 nhid 13",
        "route add 198.51.100.0/24 nhid 10 src 10.0.0.11",
    ] {
        ip(line);
    }
    for n in 0..ROUTES {
        ip(&format!("route add 203.0.113.{n}/32 nhid 11"));
    }
    group
}

fn device(id: u32) -> String {
    ip_json(&format!("nexthop show id {id}"))[0]["dev"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn routes_by_a_nexthop_object_move_with_it_in_one_message() {
    in_namespace(|| {
        let mut group = pair_with_objects();
        group.home();
        let before = everything();
        let log = Log::start();
        let outcome = group.fail(&["eth0"], "eth1");
        assert!((outcome.changes as usize) < ROUTES, "{} requests", outcome.changes);
        let touched = log.finish();
        let by_object = |line: &&String| line.contains("203.0.113.") && line.contains("Deleted");
        assert_eq!(touched.iter().filter(by_object).count(), 0, "no route by an object is touched");
        for id in [10, 11, 13] {
            assert_eq!(device(id), "eth1", "nexthop {id}");
        }
        for to in ["203.0.113.7", "172.16.0.1", "2001:db8:ff::1"] {
            assert_eq!(ip_json(&format!("route get {to}"))[0]["dev"], "eth1", "{to}");
        }
        group.home();
        assert_same(&before, &everything(), "after failback");
    });
}

/// With its carrier a link loses its nexthop objects, and these all their routes (`nexthop_flush_dev` in
/// net/ipv4/nexthop.c): sooner or later than the daemon acts.
#[test]
fn objects_that_the_kernel_deleted_with_the_carrier_come_back_with_their_routes() {
    in_namespace(|| {
        let mut group = pair_with_objects();
        group.home();
        let before = everything();
        ip("link set peer-eth0 down");
        eventually("the kernel has deleted them", || ip_json("nexthop show").is_empty());
        group.fail(&["eth0"], "eth1");
        assert_eq!(device(11), "eth1");
        assert_eq!(ip_json("route get 203.0.113.7")[0]["dev"], "eth1");
        ip("link set peer-eth0 up");
        settled();
        group.home();
        let sorted = |mut all: Vec<Value>| {
            all.sort_by_key(ToString::to_string);
            all
        };
        assert_same(&sorted(before), &sorted(everything()), "after failback, but for the order");
    });
}

/// On an interface without IPv6 all that tells of it is the message about the link: the kernel says nothing of the nexthop
/// objects that it deletes, nor of their routes.
#[test]
fn objects_that_went_with_the_carrier_without_a_word_come_back_with_their_routes() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        for name in ["eth0", "eth1"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").expect("sysctl");
        }
        // Of what happens to the far end nothing is to be heard.
        let far = Neighbourhood::with("peer-eth0", &[]);
        settled();
        for line in [
            "addr add 10.0.0.10/24 brd + dev eth0",
            "nexthop add id 10 via 10.0.0.1 dev eth0",
            "nexthop add id 11 via 10.0.0.2 dev eth0",
            "nexthop add id 12 group 10/11",
            "route add default nhid 12",
            "route add 203.0.113.7 nhid 11",
        ] {
            ip(line);
        }
        let mut group = Group::new(&["eth0", "eth1"], &[("10.0.0.10/24", "eth0")]);
        group.home();
        let before = everything();
        for _ in 0..2 {
            far.ip("link set peer-eth0 down");
            eventually("the kernel has deleted them", || ip_json("nexthop show").is_empty());
            group.fail(&["eth0"], "eth1");
            for to in ["203.0.113.7", "198.51.100.1"] {
                assert_eq!(ip_json(&format!("route get {to}"))[0]["dev"], "eth1", "{to}");
            }
            far.ip("link set peer-eth0 up");
            settled();
            group.home();
            assert_same(&before, &everything(), "after failback");
        }
    });
}

#[test]
fn an_object_that_an_administrator_changed_or_removed_is_his() {
    in_namespace(|| {
        let mut group = pair_with_objects();
        group.home();
        ip("nexthop replace id 11 via 10.0.0.9 dev eth0");
        ip("nexthop del id 13");
        group.home();
        group.fail(&["eth0"], "eth1");
        let changed = ip_json("nexthop show id 11");
        assert_eq!((&changed[0]["gateway"], &changed[0]["dev"]), (&"10.0.0.9".into(), &"eth1".into()));
        assert!(ip_json("nexthop show").iter().all(|object| object["id"] != 13));
        assert!(ip_json("-6 route show 2001:db8:ff::/48").is_empty(), "it went with its object");
        group.home();
        assert_eq!(device(11), "eth0");
    });
}

#[test]
fn objects_know_their_home_after_a_restart() {
    in_namespace(|| {
        let mut group = pair_with_objects();
        group.home();
        let before = everything();
        group.fail(&["eth0"], "eth1");
        group.restart();
        group.home();
        assert_same(&before, &everything(), "after failback by a successor");
    });
}
