//! How addresses and routes move, and what happens when something is in the way.

use crate::{
    harness::{
        Group, addresses, assert_same, dual_stack_pair, eventually, in_namespace, interfaces, ip, ip_json,
        settled, snapshot,
    },
    witness::{Log, Sniffer},
};

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
        // Each is the only one of its list, so the new one takes its place: the old one is never deleted.
        let gone = at(true, &["eth0", "10.0.0.10/24", "scope"]);
        for route in ["default via 10.0.0.1", "10.0.0.0/24", "192.0.2.0/24", "via fe80::1", "2001:db8::/64"] {
            assert!(at(false, &[route, "dev eth1"]) < gone, "routes go before addresses: {lines:#?}");
            let deleted =
                lines[..gone].iter().any(|line| line.starts_with("Deleted") && line.contains(route));
            assert!(!deleted, "{route}: {lines:#?}");
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
        assert_eq!(addresses("eth1"), ["192.168.50.2"], "one that is there is left as it is");
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
        assert_eq!(chosen[0]["dev"], "eth1", "the route of the failed interface is no longer first");
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
        let mut group =
            Group::new(&["eth0", "eth1"], &[("10.0.0.10/24", "eth0"), ("2001:db8::10/64", "eth0")]);
        group.home();
        settled();
        let info = ip_json("-4 addr show dev eth0")[0]["addr_info"][0].clone();
        assert_eq!((&info["local"], &info["broadcast"]), (&"10.0.0.10".into(), &"10.0.0.255".into()));
        assert_eq!(ip_json("route show 10.0.0.0/24")[0]["protocol"], "kernel");
        let before = snapshot();
        group.fail(&["eth0"], "eth1");
        group.home();
        assert_same(&before, &snapshot(), "after failback");
    });
}

#[test]
fn moved_addresses_are_announced() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let sniffer = Sniffer::open();
        let outcome = group.fail(&["eth0"], "eth1");
        assert!(outcome.announced_at.is_some());
        let mac = ip_json("link show dev eth1")[0]["address"].as_str().expect("a MAC").to_owned();
        let mac: Vec<u8> = mac.split(':').map(|b| u8::from_str_radix(b, 16).expect("hex")).collect();
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
fn many_addresses_are_announced_before_they_are_added_and_after() {
    /// More than what is added before the announcement.
    const COUNT: usize = 120;
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        let data: Vec<String> = (1..=COUNT).map(|n| format!("10.1.0.{n}/24")).collect();
        let data: Vec<(&str, &str)> = data.iter().map(|address| (address.as_str(), "eth0")).collect();
        let mut group = Group::new(&["eth0", "eth1"], &data);
        group.home();
        let sniffer = Sniffer::open();
        group.fail(&["eth0"], "eth1");
        assert_eq!((addresses("eth0").len(), addresses("eth1").len()), (0, COUNT));
        // Each frame is seen as it leaves eth1, and as it comes to the other end.
        let mut seen = [0; COUNT];
        eventually("two announcements of each", || {
            for frame in sniffer.frames() {
                if frame[12..14] == [8, 6] && frame[28..32] == frame[38..42] {
                    seen[usize::from(frame[31]) - 1] += 1;
                }
            }
            seen.iter().all(|times| *times == 4)
        });
    });
}

#[test]
fn a_thousand_addresses_move() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        let data: Vec<String> = (0..500)
            .flat_map(|n| [format!("10.1.{}.{}/16", n / 250, n % 250 + 1), format!("2001:db8::1:{n:x}/64")])
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
                neighbours: std::collections::BTreeMap::new(),
            };
            handle.submit(Box::new(job)).expect("there is room");
        }
        let outcomes = [handle.outcomes.blocking_recv(), handle.outcomes.blocking_recv()]
            .map(|o| o.expect("an outcome"));
        assert_eq!(outcomes.each_ref().map(|o| (o.epoch, o.moved.len())), [(1, 0), (2, 3)]);
        handle.stop();
        assert_eq!(addresses("eth0"), Vec::<String>::new());
    });
}
