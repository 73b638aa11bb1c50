//! Failover and failback leave no trace (A31: the home interface gets its addresses back as they were).

use crate::harness::{
    Group, addresses, assert_same, in_namespace, interfaces, ip, ip_json, settled, snapshot,
};

/// A set-up and the way through failover, failback, failover, restart of the daemon, failback.
struct Case {
    members: &'static [&'static str],
    setup: &'static [&'static str],
    data: &'static [(&'static str, &'static str)],
    failed: &'static str,
    on: &'static str,
}

impl Case {
    fn run(self) {
        in_namespace(move || {
            interfaces(self.members);
            for line in self.setup {
                ip(line);
                settled();
            }
            let before = snapshot();
            let mut group = Group::new(self.members, self.data);
            assert_eq!(group.home().changes, 0, "what is at home needs no change");
            for restart in [false, true] {
                let outcome = group.fail(&[self.failed], self.on);
                self.assert_failed_over(&outcome);
                if restart {
                    group.restart();
                    assert_eq!(
                        group.fail(&[self.failed], self.on).changes,
                        0,
                        "a restart adopts what it finds"
                    );
                }
                group.home();
                assert_same(&before, &snapshot(), "after failback");
            }
        });
    }

    fn assert_failed_over(&self, outcome: &ipmp_user::net::apply::Outcome) {
        let homed = self.data.iter().filter(|(_, home)| *home == self.failed);
        let moved: Vec<&str> = homed.map(|(net, _)| net.split('/').next().expect("an address")).collect();
        assert_eq!(outcome.moved.len(), moved.len(), "every address of the failed interface moves");
        let (on, off) = (addresses(self.on), addresses(self.failed));
        assert!(moved.iter().all(|ip| on.iter().any(|a| a == ip)), "{moved:?} on {}: {on:?}", self.on);
        assert!(off.is_empty(), "{} still has {off:?}", self.failed);
        assert!(outcome.announced_at.is_some_and(|at| at >= outcome.applied_at));
        let routes = |family: &str| ip_json(&format!("{family} route show table all dev {}", self.failed));
        let ours = |r: &serde_json::Value| {
            r["table"] != "local"
                && !r["dst"].as_str().is_some_and(|d| d.starts_with("fe80") || d.starts_with("ff00"))
        };
        let left: Vec<_> = routes("-4").into_iter().chain(routes("-6")).filter(ours).collect();
        assert!(left.is_empty(), "routes still leave by {}: {left:?}", self.failed);
    }
}

#[test]
fn one_ipv4_address_with_default_route() {
    Case {
        members: &["eth0", "eth1"],
        setup: &["addr add 10.0.0.10/24 brd + dev eth0", "route add default via 10.0.0.1"],
        data: &[("10.0.0.10/24", "eth0")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn ipv4_secondaries_and_labels() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "addr add 10.0.0.11/24 brd + dev eth0 label eth0:1",
            "addr add 10.0.0.12/24 brd + dev eth0 label eth0:web",
            "addr add 10.0.1.10/24 brd + dev eth0 label eth0:2",
            "route add default via 10.0.0.1",
            "route add 172.16.0.0/12 via 10.0.1.1",
        ],
        data: &[
            ("10.0.0.12/24", "eth0"),
            ("10.0.0.11/24", "eth0"),
            ("10.0.0.10/24", "eth0"),
            ("10.0.1.10/24", "eth0"),
        ],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn active_active_first_member() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "addr add 10.0.0.20/24 brd + dev eth1",
            "route add default via 10.0.0.1 dev eth0",
        ],
        data: &[("10.0.0.10/24", "eth0"), ("10.0.0.20/24", "eth1")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn active_active_second_member() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "addr add 10.0.0.20/24 brd + dev eth1",
            "route add default via 10.0.0.1 dev eth0",
        ],
        data: &[("10.0.0.10/24", "eth0"), ("10.0.0.20/24", "eth1")],
        failed: "eth1",
        on: "eth0",
    }
    .run();
}

#[test]
fn two_default_routes_with_metrics() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "addr add 10.0.0.20/24 brd + dev eth1",
            "route add default via 10.0.0.1 dev eth0 metric 100",
            "route add default via 10.0.0.1 dev eth1 metric 200",
        ],
        data: &[("10.0.0.10/24", "eth0"), ("10.0.0.20/24", "eth1")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

/// At home it stays where the administrator put it, whosever address it names.
#[test]
fn route_with_the_source_of_another_member() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "addr add 10.0.0.20/24 brd + dev eth1",
            "route add 192.0.2.0/24 via 10.0.0.1 dev eth0 src 10.0.0.20",
            "route add 198.51.100.0/24 via 10.0.0.1 dev eth1 src 10.0.0.10",
        ],
        data: &[("10.0.0.10/24", "eth0"), ("10.0.0.20/24", "eth1")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn two_default_routes_of_equal_metric() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "addr add 10.0.0.20/24 brd + dev eth1",
            "route append default via 10.0.0.1 dev eth1",
            "route append default via 10.0.0.1 dev eth0",
            "route append default via 10.0.0.2 dev eth0",
        ],
        data: &[("10.0.0.10/24", "eth0"), ("10.0.0.20/24", "eth1")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn ipv4_multipath_route() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "addr add 10.0.0.20/24 brd + dev eth1",
            "route add default nexthop via 10.0.0.1 dev eth0 weight 3 nexthop via 10.0.0.1 dev eth1",
            "route add 172.16.0.0/16 mtu lock 1400 nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.2 dev eth1 weight 2",
        ],
        data: &[("10.0.0.10/24", "eth0"), ("10.0.0.20/24", "eth1")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn static_routes_in_other_tables() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "route add default via 10.0.0.1 dev eth0 src 10.0.0.10 table 100 proto static",
            "route add 10.0.0.0/24 dev eth0 src 10.0.0.10 scope link table 100",
            "route add 192.0.2.0/24 via 10.0.0.2 dev eth0 src 10.0.0.10 mtu 1400 advmss 1300 realm 7",
            "route add 198.51.100.7 dev eth0 tos 0x10 metric 5",
            "route add 203.0.113.0/24 via 192.168.77.1 dev eth0 onlink",
            "route add 203.0.113.128/25 via inet6 fe80::77 dev eth0",
            "route add blackhole 172.31.0.0/16",
        ],
        data: &[("10.0.0.10/24", "eth0")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn ipv6_with_default_route_by_link_local_router() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 2001:db8::10/64 dev eth0",
            "addr add 2001:db8::11/64 dev eth0",
            "addr add 2001:db8:1::10/64 dev eth0 nodad",
            "addr add 2001:db8::99/128 dev eth0 preferred_lft 0",
            "-6 route add default via fe80::1 dev eth0",
            "-6 route add 2001:db8:f::/48 via 2001:db8::1 dev eth0 metric 50",
        ],
        data: &[
            ("2001:db8::10/64", "eth0"),
            ("2001:db8::11/64", "eth0"),
            ("2001:db8:1::10/64", "eth0"),
            ("2001:db8::99/128", "eth0"),
        ],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

/// The kernel shows them as one route with the options of the first.
#[test]
fn ipv6_routes_by_one_gateway_on_both_members_with_other_options() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 2001:db8::10/64 dev eth0 nodad",
            "addr add 2001:db8::11/64 dev eth1 nodad",
            "-6 route append 2001:db8:f2::/48 via fe80::2 dev eth0 metric 5 proto bird mtu 1400",
            "-6 route append 2001:db8:f2::/48 via fe80::2 dev eth1 metric 5 advmss 1300",
        ],
        data: &[("2001:db8::10/64", "eth0"), ("2001:db8::11/64", "eth1")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn ipv6_active_active_with_multipath() {
    Case {
        members: &["eth0", "eth1"],
        setup: &[
            "addr add 2001:db8::10/64 dev eth0",
            "addr add 2001:db8::20/64 dev eth1",
            "-6 route add default via fe80::1 dev eth0",
            "-6 route append default via fe80::1 dev eth1",
            "-6 route add 2001:db8:e::/48 nexthop via fe80::1 dev eth0 weight 2 nexthop via fe80::2 dev eth1",
            "-6 route add 2001:db8:f::/48 via fe80::1 dev eth0 src 2001:db8::10",
        ],
        data: &[("2001:db8::10/64", "eth0"), ("2001:db8::20/64", "eth1")],
        failed: "eth0",
        on: "eth1",
    }
    .run();
}

#[test]
fn dual_stack_with_idle_standby() {
    Case {
        members: &["eth0", "eth1", "eth2"],
        setup: &[
            "addr add 10.0.0.10/24 brd + dev eth0",
            "addr add 2001:db8::10/64 dev eth0",
            "addr add 10.0.0.20/24 brd + dev eth1",
            "route add default via 10.0.0.1 dev eth0",
            "-6 route add default via fe80::1 dev eth0",
        ],
        data: &[("10.0.0.10/24", "eth0"), ("2001:db8::10/64", "eth0"), ("10.0.0.20/24", "eth1")],
        failed: "eth0",
        on: "eth2",
    }
    .run();
}
