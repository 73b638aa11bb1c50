//! What was foreseen is begun without looking, and ends as what was not.

use std::process::{Child, Command};

use crate::harness::{
    Group, assert_same, dual_stack_pair, eventually, in_namespace, interfaces, ip, ip_json, settled, snapshot,
};

/// Everything of the interfaces that says nothing of when it came to be.
fn picture() -> Vec<serde_json::Value> {
    settled();
    snapshot()
}

#[test]
fn a_foreseen_move_ends_as_any_other() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.foresees = false;
        group.home();
        let home = picture();
        assert!(!group.fail(&["eth0"], "eth1").foreseen);
        let away = picture();
        assert!(!group.home().foreseen);
        assert_same(&home, &picture(), "after failback");

        group.foresees = true;
        let outcome = group.fail(&["eth0"], "eth1");
        assert!(outcome.foreseen, "{outcome:?}");
        assert_eq!(outcome.moved.len(), 3);
        assert!(outcome.announced_at >= Some(outcome.applied_at));
        assert_same(&away, &picture(), "after a failover that was foreseen");
        let outcome = group.home();
        assert!(outcome.foreseen, "{outcome:?}");
        assert_eq!(outcome.moved.len(), 3);
        assert_same(&home, &picture(), "after a failback that was foreseen");
    });
}

/// A network namespace of a process, where the other ends of cables are: what happens to them is not heard of.
struct Elsewhere(Child);

impl Elsewhere {
    fn start() -> Self {
        let there =
            Command::new("unshare").args(["--net", "sleep", "600"]).spawn().expect("unshare(1) can be run");
        let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        eventually("a namespace", || net(&there.id().to_string()) != net("thread-self"));
        Self(there)
    }

    fn take(&self, interface: &str) {
        ip(&format!("link set {interface} netns {}", self.0.id()));
        self.ip(&format!("link set {interface} up"));
    }

    fn ip(&self, arguments: &str) {
        let target = format!("--target={}", self.0.id());
        let enter = [&*target, "--net", "ip"].into_iter().chain(arguments.split_whitespace());
        assert!(Command::new("nsenter").args(enter).status().expect("nsenter(1) can be run").success());
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What happens between the foreseeing and the order.
fn meanwhile(happens: impl FnOnce(&mut Group)) -> (bool, Group) {
    let mut group = dual_stack_pair();
    group.home();
    let wanted = group.wanted(&["eth0"], "eth1");
    group.foresee(wanted.clone());
    happens(&mut group);
    group.foresees = false;
    let outcome = group.apply(wanted);
    assert_eq!(outcome.errors, []);
    assert_eq!(outcome.moved.len(), 3, "{outcome:?}");
    (outcome.foreseen, group)
}

#[test]
fn what_somebody_changed_meanwhile_moves_too() {
    in_namespace(|| {
        let (foreseen, mut group) =
            meanwhile(|_| drop(ip("route add 198.51.100.0/24 via 10.0.0.3 dev eth0")));
        assert!(!foreseen, "what was made ready is out of date");
        assert_eq!(ip_json("route show 198.51.100.0/24")[0]["dev"], "eth1");
        group.home();
        assert_eq!(ip_json("route show 198.51.100.0/24")[0]["dev"], "eth0");
    });
}

#[test]
fn the_loss_of_the_carrier_itself_is_nothing_new() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        let elsewhere = Elsewhere::start();
        elsewhere.take("peer-eth0");
        ip("addr add 10.0.0.10/24 brd + dev eth0");
        ip("route add default via 10.0.0.1");
        settled();
        let mut group = Group::new(&["eth0", "eth1"], &[("10.0.0.10/24", "eth0")]);
        group.home();
        group.foresee(group.wanted(&["eth0"], "eth1"));
        elsewhere.ip("link set peer-eth0 down");
        let flags = || ip_json("link show dev eth0")[0]["flags"].to_string();
        eventually("a link without carrier", || flags().contains("NO-CARRIER"));
        group.foresees = false;
        let outcome = group.apply(group.wanted(&["eth0"], "eth1"));
        assert!(outcome.foreseen, "only the link that is left was heard of: {outcome:?}");
        assert_eq!((outcome.errors.len(), outcome.moved.len()), (0, 1));
        assert_eq!(ip_json("route get 192.0.2.1")[0]["dev"], "eth1");
        elsewhere.ip("link set peer-eth0 up");
        settled();
        group.home();
        assert_eq!(ip_json("route get 192.0.2.1")[0]["dev"], "eth0");
    });
}

#[test]
fn routes_that_went_with_a_link_set_down_come_back_with_it() {
    in_namespace(|| {
        let before = |_: &mut Group| {
            ip("link set eth0 down");
            eventually("IPv6 addresses gone", || ip_json("-6 addr show dev eth0").is_empty());
        };
        let (_, mut group) = meanwhile(before);
        assert_eq!(ip_json("route show default")[0]["dev"], "eth1");
        ip("link set eth0 up");
        settled();
        group.home();
        assert_eq!(ip_json("route show default")[0]["dev"], "eth0");
        assert_eq!(ip_json("-6 route show default")[0]["dev"], "eth0");
    });
}

#[test]
fn another_order_than_the_foreseen_one_is_carried_out() {
    in_namespace(|| {
        let mut group = dual_stack_pair();
        group.home();
        let foreseen = group.wanted(&["eth1"], "eth0");
        group.foresee(foreseen);
        group.foresees = false;
        let outcome = group.fail(&["eth0"], "eth1");
        assert!(!outcome.foreseen);
        assert_eq!(ip_json("route show default")[0]["dev"], "eth1");
    });
}

/// It stood nowhere before, so nobody knows what the kernel makes for it.
#[test]
fn a_first_homecoming_keeps_the_kernels_connected_route() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        let data = [("10.0.0.10/24", "eth0"), ("2001:db8::10/64", "eth0")];
        let mut group = Group::new(&["eth0", "eth1"], &data);
        group.fail(&["eth0"], "eth1");
        group.home();
        settled();
        for (family, net) in [("-4", "10.0.0.0/24"), ("-6", "2001:db8::/64")] {
            let routes = ip_json(&format!("{family} route show {net}"));
            assert_eq!((&routes[0]["dev"], &routes[0]["protocol"]), (&"eth0".into(), &"kernel".into()));
        }
        let home = snapshot();
        assert!(group.fail(&["eth0"], "eth1").foreseen);
        assert!(group.home().foreseen);
        settled();
        assert_same(&home, &snapshot(), "after failback");
    });
}

/// Of addresses in one subnet, at home on both.
#[test]
fn where_both_members_have_a_route_of_the_subnet_neither_is_ever_without() {
    in_namespace(|| {
        interfaces(&["eth0", "eth1"]);
        let data = [("10.0.0.10/24", "eth0"), ("10.0.0.11/24", "eth1")];
        for (net, dev) in data {
            ip(&format!("addr add {net} brd + dev {dev}"));
        }
        let mut group = Group::new(&["eth0", "eth1"], &data);
        group.home();
        let home = snapshot();
        for (failed, on) in [("eth0", "eth1"), ("eth1", "eth0")] {
            assert!(group.fail(&[failed], on).foreseen);
            assert_eq!(ip_json("route get 10.0.0.1")[0]["dev"], on);
            assert!(group.home().foreseen);
            assert_same(&home, &snapshot(), "after failback");
        }
    });
}
