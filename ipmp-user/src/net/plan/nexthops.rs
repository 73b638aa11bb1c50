//! Nexthop objects follow the data addresses as routes do: one message for any number of routes.

use std::collections::BTreeMap;

use super::{Op, placement::Placement, up_link};
use crate::net::{base::Base, inventory::Inventory, nexthop::Nexthop};

/// What brings the kernel's objects where the placement wants them: single ones first, then the groups that lost a member
/// which the kernel deleted along with a link (`nexthop_flush_dev` in net/ipv4/nexthop.c).
pub fn nexthops(inventory: &Inventory, base: &Base, placement: &Placement<'_>) -> Vec<Op> {
    let mut wanted: Vec<Nexthop> = Vec::new();
    for nexthop in base.nexthops.values() {
        let placed = placement.place_nexthop(nexthop);
        let possible = placed.oif().is_none_or(|oif| up_link(inventory, Some(oif)).is_some());
        let there = placed.id().and_then(|id| inventory.nexthops.get(&id));
        if possible && there != Some(&placed) {
            wanted.push(placed);
        }
    }
    wanted.sort_by_key(|nexthop| nexthop.oif().is_none());
    wanted.into_iter().map(Op::SetNexthop).collect()
}

/// The objects of a host that are members' to move: those by a member, and groups with one of them.
pub fn of_members(
    all: &BTreeMap<u32, Nexthop>,
    is_member: impl Fn(u32) -> bool,
) -> impl Iterator<Item = (u32, &Nexthop)> {
    let singles: Vec<u32> =
        all.iter().filter(|(_, nexthop)| nexthop.oif().is_some_and(&is_member)).map(|(id, _)| *id).collect();
    all.iter().map(|(id, nexthop)| (*id, nexthop)).filter(move |(id, nexthop)| {
        singles.contains(id) || nexthop.members().iter().any(|member| singles.contains(member))
    })
}
