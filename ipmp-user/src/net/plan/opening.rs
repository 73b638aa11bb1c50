//! The opening of a move: what traffic waits for, planned before the move is ordered.
//!
//! As long as the kernel's state does not change, neither does what a placement will take. So the additions and routes of
//! the placements that are likely next are kept ready, and only have to be sent. What follows (deletions, order) is
//! planned from what the kernel has afterwards, as after any other change: an opening that did less than it should is made up
//! for. What it deletes is therefore only what something of the same destination takes over from.

use std::{collections::BTreeSet, net::IpAddr};

use ipmp_common::engine::{ids::Family, time::Timestamp};
use ipnet::IpNet;
use rtnetlink::packet_route::route::RouteProtocol;

use super::{
    Op, Wanted, addresses,
    routes::{RoutePlan, routes},
};
use crate::net::{
    address::Address,
    base::Base,
    inventory::Inventory,
    route::{Route, RouteKey},
};

/// Addresses and routes of a host up to which openings are planned: less than a millisecond for each. Where there are more,
/// reading and planning again after every change would cost more than it saves.
const MAX_SIZE: usize = 500;

/// What a placement begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The placement, all groups together.
    pub wanted: Wanted,
    /// Additions of addresses.
    pub additions: Vec<Op>,
    /// The routes that go with them, in the same exchange, and then those that the kernel's own take over from: if the kernel
    /// refuses such an address, the rest of the move adds its route.
    pub routes: Vec<Op>,
    /// In the next exchange: what goes if nothing of the same destination was refused.
    pub removals: RoutePlan,
    /// What gives those addresses the flags that they had, after the announcement.
    pub rest: Vec<Op>,
    /// Addresses that change their interface: the old one where there is one, the new one, the address.
    pub moved: Vec<(Option<u32>, u32, IpNet)>,
}

impl Opening {
    /// Whether a host is so small that it saves time to plan beforehand.
    pub fn is_worthwhile(inventory: &Inventory) -> bool {
        let addresses = inventory.addresses.values().map(Vec::len).sum::<usize>();
        let routes = inventory.routes.values().map(Vec::len).sum::<usize>();
        addresses + routes <= MAX_SIZE
    }

    /// Plans it; none if there is nothing to be had from that.
    pub fn plan(inventory: &Inventory, base: &Base, wanted: &Wanted, now: Timestamp) -> Option<Self> {
        // What is to leave an interface that is no member any more is only known by where it was put last.
        if !Self::is_worthwhile(inventory) || !base.strays(inventory, wanted).is_empty() {
            return None;
        }
        let plan = addresses(inventory, base, wanted, now);
        let (first, later) = plan.stages(inventory);
        let is_addition = |op: &Op| matches!(op, Op::AddAddress(_));
        let (additions, rest): (Vec<Op>, Vec<Op>) = first.into_iter().partition(is_addition);
        let passing = |op: &Op| matches!(op, Op::AddAddress(address) | Op::SetAddress(address) if address.lifetimes().run_out());
        if !later.is_empty() || additions.iter().chain(&rest).any(passing) {
            return None;
        }
        let routes = if plan.brings_routes {
            routes(&with_connected_routes(inventory, base, &additions)?, base, wanted)
        } else {
            routes(inventory, base, wanted)
        };
        let mut removals = routes;
        let mut routes = std::mem::take(&mut removals.add);
        if plan.brings_routes {
            let added: BTreeSet<RouteKey> = routes.iter().filter_map(Op::route_key).collect();
            let again: Vec<Route> = appended(&removals.remove);
            let is_taken_over = |op: &mut Op| matches!(op, Op::DelRoute(old) if !added.contains(&old.key()) && !again.contains(old));
            routes.extend(removals.remove.extract_if(.., is_taken_over));
        }
        let opening = Self { wanted: wanted.clone(), additions, routes, removals, rest, moved: plan.moved };
        (!opening.additions.is_empty() || !opening.routes.is_empty()).then_some(opening)
    }
}

/// Routes that are put behind others: deleted, and added anew at once.
fn appended(ops: &[Op]) -> Vec<Route> {
    ops.iter()
        .filter_map(|op| if let Op::AddRoute(route) = op { Some(route.clone()) } else { None })
        .collect()
}

/// What the kernel will have when it has made the connected routes of these addresses; none if that is not certain.
///
/// It makes one for the first IPv4 address of a subnet on an interface (`fib_add_ifaddr` in `net/ipv4/fib_frontend.c`), with
/// that address as its source, and for each IPv6 subnet (`addrconf_prefix_route` in `net/ipv6/addrconf.c`); behind others of the
/// same destination. The one that it made before is taken for the one that it will make.
fn with_connected_routes(inventory: &Inventory, base: &Base, additions: &[Op]) -> Option<Inventory> {
    let mut then = inventory.clone();
    for op in additions {
        let Op::AddAddress(address) = op else { continue };
        let there = then.addresses.entry(address.ifindex()).or_default();
        let subnet = address.net().trunc();
        let neighbours = there.iter().any(|other| other.net().trunc() == subnet);
        there.push(address.clone());
        let alone = subnet.prefix_len() == subnet.max_prefix_len();
        let without = address.family() == Family::V4 && (neighbours || alone);
        if !address.has_prefix_route() || without {
            continue;
        }
        let route = connected(base, address)?;
        let list = then.routes.entry(route.key()).or_default();
        if !list.contains(route) {
            list.push(route.clone());
        }
    }
    Some(then)
}

/// The route that the kernel made for an address when it was there before, if there was just one.
fn connected<'a>(base: &'a Base, address: &Address) -> Option<&'a Route> {
    let subnet = address.net().trunc();
    let source: Option<IpAddr> = (address.family() == Family::V4).then(|| address.ip());
    let made = |route: &&Route| {
        let hops = route.hops();
        let [hop] = &hops[..] else { return false };
        route.protocol() == RouteProtocol::Kernel
            && route.key().dst == subnet
            && (hop.oif, hop.gateway) == (address.ifindex(), None)
            && route.prefsrc() == source
    };
    let mut found = base.all_routes().filter(made);
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests;
