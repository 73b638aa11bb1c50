//! The monitor keeps an inventory equal to the kernel, also after it lost messages; the resolver needs no route.

use std::os::fd::{AsRawFd, BorrowedFd};

use ipmp_common::engine::ids::Family;
use ipmp_user::net::{
    inventory::{Inventory, RouterSearch},
    monitor::{Change, Monitor},
    resolve::Resolver,
    socket::Socket,
};
use nix::sys::socket::{setsockopt, sockopt};

use crate::harness::{Group, eventually, in_namespace, interfaces, ip, settled};
use crate::witness::Neighbourhood;

/// Drains until a change satisfies `wanted`.
fn until(monitor: &mut Monitor, inventory: &mut Inventory, what: &str, wanted: impl Fn(&Change) -> bool) {
    eventually(what, || monitor.drain(inventory).expect("netlink can be read").iter().any(&wanted));
}

/// A few routes at a time.
fn routers(inventory: &Inventory, ifindex: u32, family: Family) -> Vec<String> {
    let mut search = RouterSearch::new(inventory, [(ifindex, ())].into());
    while search.go_on(inventory, 2) {}
    search.found()[&((), family)].iter().map(ToString::to_string).collect()
}

#[test]
fn changes_are_seen_in_order() {
    in_namespace(|| {
        interfaces(&["eth0"]);
        let (mut monitor, mut inventory) = Monitor::open().expect("a monitor");
        let ifindex = Group::ifindex("eth0");
        assert_eq!(inventory.link_by_name("eth0").and_then(ipmp_user::net::inventory::Link::up), Some(true));

        ip("addr add 10.0.0.10/24 dev eth0");
        until(&mut monitor, &mut inventory, "an address", |c| *c == Change::Address { ifindex });
        assert!(inventory.is_own("10.0.0.10".parse().expect("an address")));

        ip("route add default via 10.0.0.1");
        ip("route add 172.16.0.0/12 via 10.0.0.2");
        ip("route add 10.0.0.77 dev eth0");
        eventually("three routers", || {
            monitor.drain(&mut inventory).expect("netlink can be read");
            let (v4, v6) =
                (routers(&inventory, ifindex, Family::V4), routers(&inventory, ifindex, Family::V6));
            v4 == ["10.0.0.1", "10.0.0.77", "10.0.0.2"] && v6.is_empty()
        });

        ip("link set peer-eth0 down");
        let down = |c: &Change| matches!(c, Change::Link { ifindex: i, up: Some(false), gone: false, .. } if *i == ifindex);
        until(&mut monitor, &mut inventory, "carrier loss", down);
        assert!(inventory.link(ifindex).and_then(|link| link.carrier_down_count).is_some());

        ip("link del eth0");
        let gone = |c: &Change| matches!(c, Change::Link { ifindex: i, gone: true, .. } if *i == ifindex);
        until(&mut monitor, &mut inventory, "the end of the interface", gone);
        assert!(inventory.addresses(ifindex).is_empty());
        assert!(routers(&inventory, ifindex, Family::V4).is_empty());
    });
}

#[test]
fn routes_that_go_without_a_word_are_gone() {
    in_namespace(|| {
        interfaces(&["eth0"]);
        ip("addr add 10.0.0.10/24 dev eth0");
        ip("route add default via 10.0.0.1");
        let (mut monitor, mut inventory) = Monitor::open().expect("a monitor");
        let ifindex = Group::ifindex("eth0");
        let mut seen = |what: &str, expected: &[&str]| {
            eventually(what, || {
                monitor.drain(&mut inventory).expect("netlink can be read");
                routers(&inventory, ifindex, Family::V4) == expected
            });
        };
        seen("the first router", &["10.0.0.1"]);
        ip("route replace default via 10.0.0.2");
        seen("the second instead of the first", &["10.0.0.2"]);
        ip("link set eth0 down");
        seen("none", &[]);
    });
}

#[test]
fn nothing_is_lost_by_an_overrun() {
    in_namespace(|| {
        interfaces(&["eth0"]);
        let (mut monitor, mut inventory) = Monitor::open().expect("a monitor");
        // SAFETY: the monitor outlives the borrowed descriptor.
        let fd = unsafe { BorrowedFd::borrow_raw(monitor.as_raw_fd()) };
        setsockopt(&fd, sockopt::RcvBuf, &1).expect("the smallest buffer");
        for host in 1..=60 {
            ip(&format!("addr add 10.0.0.{host}/24 dev eth0"));
        }
        until(&mut monitor, &mut inventory, "a resynchronisation", |c| *c == Change::Resync);
        let fresh = Inventory::dump(&mut Socket::open().expect("a socket")).expect("a dump");
        let ifindex = Group::ifindex("eth0");
        assert_eq!(inventory.addresses(ifindex), fresh.addresses(ifindex));
        assert_eq!(inventory.addresses(ifindex).iter().filter(|a| a.family() == Family::V4).count(), 60);
    });
}

#[test]
fn probe_source_is_never_tentative() {
    in_namespace(|| {
        interfaces(&["eth0"]);
        let ifindex = Group::ifindex("eth0");
        let test = "2001:db8::110".parse().expect("an address");
        let source = |configured: &[std::net::IpAddr]| {
            let inventory = Inventory::dump(&mut Socket::open().expect("a socket")).expect("a dump");
            inventory.probe_source(ifindex, Family::V6, configured)
        };
        let link_local = source(&[]).expect("a link-local address");
        ip("addr add 2001:db8::110/64 dev eth0");
        assert_eq!(source(&[test]), Some(link_local), "tentative: the link-local address serves");
        settled();
        assert_eq!(source(&[test]), Some(test));
    });
}

#[test]
fn neighbours_are_resolved_without_a_route() {
    in_namespace(|| {
        interfaces(&["eth0"]);
        let neighbourhood = Neighbourhood::with("peer-eth0", &["addr add 10.9.9.1/24 dev peer-eth0"]);
        settled();
        ip("addr add 10.0.0.110/32 dev eth0");
        let (mut monitor, mut inventory) = Monitor::open().expect("a monitor");
        let mut resolver = Resolver::open().expect("a resolver");
        let (ifindex, ip_there) = (Group::ifindex("eth0"), "10.9.9.1".parse().expect("an address"));
        resolver.resolve(ifindex, ip_there).expect("asked");
        eventually("the neighbour's hardware address", || {
            monitor.drain(&mut inventory).expect("netlink can be read");
            inventory.neighbour(ifindex, ip_there).is_some_and(|n| n.is_valid() && n.mac.is_some())
        });
        assert_eq!(resolver.drain().len(), 0, "nothing was refused");
        let mac = inventory.neighbour(ifindex, ip_there).and_then(|n| n.mac);
        ip("neigh del 10.9.9.1 dev eth0");
        eventually("the entry is gone", || {
            monitor.drain(&mut inventory).expect("netlink can be read");
            inventory.neighbour(ifindex, ip_there).is_some_and(|n| !n.is_valid())
        });
        assert_eq!(
            inventory.neighbour(ifindex, ip_there).and_then(|n| n.mac),
            mac,
            "the last one known is kept"
        );
        resolver.resolve(9999, ip_there).expect("asked");
        eventually("the refusal for an interface that is not there", || !resolver.drain().is_empty());
        drop(neighbourhood);
    });
}
