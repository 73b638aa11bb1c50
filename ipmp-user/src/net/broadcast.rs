//! The order of broadcast entries in the local table.
//!
//! The kernel makes one for each interface of a subnet when the primary address is added, appends it to those of the
//! other interfaces, and sends a directed broadcast by the first (`fib_add_ifaddr` in `net/ipv4/fib_frontend.c`). An
//! address that comes home would be last among its siblings, so these are appended anew behind it.
//!
//! The other per-interface lists need no care: `fe80::/64` and `ff00::/8` stand as long as their interface is
//! administratively up, and after `ip link set down` and `up` their order is what the administrator made it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    base::Base,
    inventory::Inventory,
    plan::{
        Op, Wanted,
        routes::{appended_anew, displaced},
        up_link,
    },
    route::{Route, RouteKey},
};

type Lists = BTreeMap<RouteKey, Vec<Route>>;

/// Takes in what the kernel has while the data addresses are placed as `before` says. As long as an address is away, or
/// nowhere, its entry keeps its place; what is missing although its address is there was removed by somebody, or, where
/// the base is inherited, by a daemon that died while it restored the order.
pub(super) fn learn(known: &mut Lists, inventory: &Inventory, before: &Wanted, base: &Base) {
    let turns = base.turns(before);
    let members: BTreeSet<u32> = before.members.iter().map(|member| member.ifindex).collect();
    let homes: BTreeMap<IpAddr, Option<u32>> =
        before.data.iter().map(|placed| (placed.address.addr(), before.ifindex(placed.home))).collect();
    let is_guests = |route: &Route| {
        let home = route.prefsrc().and_then(|source| homes.get(&source).copied());
        home.is_some_and(|home| home.is_none_or(|home| !route.uses(home)))
    };
    let is_expected = |route: &Route| {
        let link_stands = route.hops().iter().all(|hop| up_link(inventory, Some(hop.oif)).is_some());
        let is_robbed =
            || base.news.lost || route.hops().iter().any(|hop| base.news.robbed.contains(&hop.oif));
        !link_stands
            || is_robbed()
            || route
                .prefsrc()
                .is_some_and(|source| homes.contains_key(&source) && !has_source(inventory, route))
            || (is_inherited(base, route) && has_source(inventory, route))
    };
    let of_a_member =
        |list: &[Route]| list.iter().any(|route| members.iter().any(|member| route.uses(*member)));
    let there = inventory.broadcasts.iter().filter(|(_, list)| of_a_member(list)).map(|(key, _)| *key);
    let keys: BTreeSet<RouteKey> = there.chain(known.keys().copied()).collect();
    for key in keys {
        let kernel: Vec<&Route> =
            inventory.broadcasts.get(&key).into_iter().flatten().filter(|route| !is_guests(route)).collect();
        let mut list = known.remove(&key).unwrap_or_default();
        list.retain(|route| kernel.contains(&route) || is_expected(route));
        let fresh: Vec<Route> =
            kernel.iter().filter(|route| !list.contains(route)).map(|route| Route::clone(route)).collect();
        if !list.iter().any(is_expected) {
            list = kernel.into_iter().filter(|route| list.contains(route)).cloned().collect();
        }
        for route in fresh {
            turns.insert(&mut list, route);
        }
        if !list.is_empty() {
            known.insert(key, list);
        }
    }
}

/// Whether the address for which the kernel made an entry stands where it did.
fn has_source(inventory: &Inventory, route: &Route) -> bool {
    let stands = |ifindex: u32| {
        inventory.addresses(ifindex).iter().any(|address| Some(address.ip()) == route.prefsrc())
    };
    route.hops().iter().all(|hop| stands(hop.oif))
}

fn is_inherited(base: &Base, route: &Route) -> bool {
    route.hops().iter().any(|hop| base.is_inherited(hop.oif))
}

/// What brings the entries into the order learned. One that is missing although its address is there is put back.
pub(super) fn restore_order(inventory: &Inventory, base: &Base) -> Vec<Op> {
    let mut ops = Vec::new();
    for (key, known) in &base.broadcasts {
        let kernel = inventory.broadcasts.get(key).map_or(&[][..], Vec::as_slice);
        let there = known.iter().filter(|route| {
            kernel.contains(route) || (is_inherited(base, route) && has_source(inventory, route))
        });
        let others = kernel.iter().filter(|route| !known.contains(route));
        let desired: Vec<Route> = there.chain(others).cloned().collect();
        let anew = displaced(kernel, &desired).iter();
        ops.extend(
            anew.flat_map(|route| {
                appended_anew(route).into_iter().skip(usize::from(!kernel.contains(route)))
            }),
        );
    }
    ops
}

#[cfg(test)]
mod tests;
