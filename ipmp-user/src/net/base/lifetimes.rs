//! Addresses with an end: what is left of their lives, and what ends with them.

use std::net::IpAddr;

use ipmp_common::engine::{ids::Family, time::Timestamp};
use rtnetlink::packet_route::route::RouteProtocol;

use super::{Base, Original};
use crate::net::{
    address::{Address, Lifetimes},
    inventory::Inventory,
    plan::Wanted,
    route::Route,
};

impl Original {
    /// What is left of its life now.
    pub fn lifetimes(&self, now: Timestamp) -> Lifetimes {
        self.address.lifetimes().later(self.as_of, now)
    }

    /// Whether it lives no more: it stays known, so that it is not made anew.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.lifetimes(now).valid == 0
    }

    /// The address with what is left of its life now.
    pub fn at(&self, now: Timestamp) -> Address {
        self.address.clone().living(self.lifetimes(now))
    }

    /// Takes another account of its life, unless it is the known one, rounded.
    fn outlive(&mut self, told: Lifetimes, now: Timestamp) {
        if !self.lifetimes(now).agrees(told) {
            self.address = self.address.clone().living(told);
            self.as_of = now;
        }
    }
}

impl Base {
    /// An address that stands at home.
    pub(super) fn learn_address(&mut self, home: &str, address: &Address, now: Timestamp) {
        let mut original = Original { home: home.to_owned(), address: address.clone(), as_of: now };
        if let Some(known) = self.addresses.get(&address.ip())
            && known.lifetimes(now).agrees(address.lifetimes())
        {
            original.address = original.address.living(known.address.lifetimes());
            original.as_of = known.as_of;
        }
        self.addresses.insert(address.ip(), original);
    }

    /// While an address is away only its life can change: somebody renews it at home, or changes it where it stands.
    pub(super) fn learn_lifetimes(&mut self, inventory: &Inventory, before: &Wanted) {
        for placed in before.data.iter().filter(|placed| placed.on != placed.home) {
            let ip = placed.address.addr();
            let Some(original) = self.addresses.get_mut(&ip) else { continue };
            for member in [placed.on, placed.home] {
                let there = before.ifindex(member).and_then(|on| inventory.address(on, ip));
                if let Some(address) = there {
                    original.outlive(address.lifetimes(), inventory.read_at);
                }
            }
        }
    }

    /// What the kernel does with the routes of an address whose life ends at home: another one of its prefix is promoted
    /// (`__inet_del_ifa`); else its connected route goes; and no route names it as its source any more, for IPv4 none such
    /// stays (`fib_sync_down_addr` in `net/ipv4/fib_semantics.c`, `fib6_remove_prefsrc` in net/ipv6/route.c).
    pub(super) fn bury(&mut self, now: Timestamp) {
        let over: Vec<IpAddr> =
            self.addresses.iter().filter(|(_, known)| known.is_over(now)).map(|(ip, _)| *ip).collect();
        for ip in over {
            let heir = self.heir(ip, now);
            let Some(known) = self.addresses.get(&ip) else { continue };
            let (net, ifindex) = (known.address.net().trunc(), self.ifindex_of(&known.home));
            let is_connected = |route: &Route| {
                route.protocol() == RouteProtocol::Kernel
                    && (route.is_broadcast() || route.key().dst == net)
                    && ifindex.is_some_and(|ifindex| route.hops().iter().all(|hop| hop.oif == ifindex))
            };
            let goes = |route: &Route| match Family::of(ip) {
                Family::V4 => route.prefsrc() == Some(ip) && !(heir.is_some() && is_connected(route)),
                Family::V6 => is_connected(route) && heir.is_none(),
            };
            for list in self.routes.values_mut().chain(self.broadcasts.values_mut()) {
                list.retain(|route| !goes(route));
                for route in list.iter_mut().filter(|route| route.prefsrc() == Some(ip)) {
                    *route = route.sourced(heir.filter(|_| ip.is_ipv4()));
                }
            }
            self.routes.retain(|_, list| !list.is_empty());
            self.broadcasts.retain(|_, list| !list.is_empty());
        }
    }

    /// The first address after this one, in kernel order, that is at home on the same interface in the same prefix.
    fn heir(&self, ip: IpAddr, now: Timestamp) -> Option<IpAddr> {
        let dead = self.addresses.get(&ip)?;
        let lives = |other: &&IpAddr| {
            self.addresses.get(other).is_some_and(|known| {
                known.home == dead.home
                    && known.address.net().trunc() == dead.address.net().trunc()
                    && !known.is_over(now)
            })
        };
        self.order.get(&dead.home)?.iter().find(lives).copied()
    }
}
