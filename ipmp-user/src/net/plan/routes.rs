//! Brings the kernel's lists of routes to the desired ones without ever emptying a list.

use std::collections::{BTreeMap, BTreeSet};

use super::{Op, Wanted, nexthops::nexthops, placement::Placement, up_link};
use crate::net::{
    base::Base,
    broadcast,
    inventory::Inventory,
    route::{Route, RouteKey},
};

/// The route half of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutePlan {
    /// What is missing, in the order to be carried out.
    pub add: Vec<Op>,
    /// What goes afterwards, and what restores the order; each only if nothing of the same key was refused before.
    pub remove: Vec<Op>,
    /// What restores the order of broadcast entries, in the end.
    pub broadcasts: Vec<Op>,
    /// What was found on members but is not moved, as text for people.
    pub left_alone: Vec<String>,
}

impl RoutePlan {
    /// What may go although these keys met a refusal: where the new route could not be made the old one stays.
    pub fn removable(&self, refused: &BTreeSet<RouteKey>) -> Vec<Op> {
        let free = |op: &&Op| op.route_key().is_none_or(|key| !refused.contains(&key));
        self.remove.iter().filter(free).cloned().collect()
    }

    /// Everything, as if nothing was refused.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<Op> {
        [self.add.clone(), self.remove.clone(), self.broadcasts.clone()].concat()
    }
}

/// Operations of one key, by stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Convergence {
    /// Missing routes.
    pub append: Vec<Op>,
    /// Routes that are there but not desired.
    pub delete: Vec<Op>,
    /// Delete-and-append pairs that restore the order.
    pub rotate: Vec<Op>,
}

/// Plans the routes: everything missing first, connected routes before those that need them to reach their
/// gateway; then deletions the other way round; then order.
pub fn routes(inventory: &Inventory, base: &Base, wanted: &Wanted) -> RoutePlan {
    let complete = base.complete(inventory, wanted);
    let placement = Placement::new(base, &complete.wanted);
    let mut plan = RoutePlan::default();
    let (mut append, mut delete, mut rotate) = (Vec::new(), Vec::new(), Vec::new());
    for (key, kernel) in lists(inventory, base, &placement) {
        let desired = desired(inventory, &placement, base.routes(&key), kernel);
        let ops = converge(kernel, &desired);
        append.extend(ops.append);
        delete.extend(ops.delete);
        rotate.extend(ops.rotate);
    }
    append.sort_by_key(needs_gateway);
    let on_link = append.partition_point(|op| !needs_gateway(op));
    append.splice(on_link..on_link, nexthops(inventory, base, &placement));
    delete.sort_by_key(|op| !needs_gateway(op));
    plan.add = append;
    plan.remove = delete;
    plan.remove.append(&mut rotate);
    for ops in [&mut plan.add, &mut plan.remove] {
        ops.retain(|op| !complete.postpones(base, &placement, op));
    }
    replace_single(&mut plan, inventory);
    plan.broadcasts = broadcast::restore_order(inventory, base);
    plan.left_alone = inventory.routes.values().flatten().filter_map(|r| left_alone(r, &placement)).collect();
    plan
}

/// Where one route takes over from the only one of its list, that is one request instead of two, the second of which waits for
/// the first one's answer.
fn replace_single(plan: &mut RoutePlan, inventory: &Inventory) {
    let keys = |ops: &[Op]| {
        let mut keys: BTreeMap<RouteKey, usize> = BTreeMap::new();
        for key in ops.iter().filter_map(Op::route_key) {
            *keys.entry(key).or_default() += 1;
        }
        keys
    };
    let (added, removed) = (keys(&plan.add), keys(&plan.remove));
    let once = |key: RouteKey| added.get(&key) == Some(&1) && removed.get(&key) == Some(&1);
    let only = |key: RouteKey| match inventory.routes.get(&key).map(Vec::as_slice) {
        Some([only]) => Some(only),
        Some(_) | None => None,
    };
    let goes: BTreeSet<RouteKey> = plan
        .remove
        .iter()
        .filter_map(|op| if let Op::DelRoute(old) = op { Some(old) } else { None })
        .filter(|old| once(old.key()) && only(old.key()) == Some(old))
        .map(Route::key)
        .collect();
    for op in &mut plan.add {
        if let Op::AddRoute(new) = op
            && let Some(old) = only(new.key()).filter(|old| goes.contains(&old.key()))
        {
            *op = Op::ReplaceRoute { old: old.clone(), new: new.clone() };
        }
    }
    plan.remove.retain(|op| op.route_key().is_none_or(|key| !goes.contains(&key)));
}

/// Keys in which a member appears, in the base or in the kernel, with the kernel's list.
fn lists<'a>(
    inventory: &'a Inventory,
    base: &Base,
    placement: &Placement<'_>,
) -> BTreeMap<RouteKey, &'a [Route]> {
    let ours = inventory.routes.iter().filter(|(_, list)| list.iter().any(|route| placement.moves(route)));
    let keys: BTreeSet<RouteKey> = ours.map(|(key, _)| *key).chain(base.keys()).collect();
    keys.into_iter().map(|key| (key, inventory.routes.get(&key).map_or(&[][..], Vec::as_slice))).collect()
}

fn needs_gateway(op: &Op) -> bool {
    match op {
        Op::AddRoute(route) | Op::DelRoute(route) | Op::ReplaceRoute { new: route, .. } => {
            route.nexthop_id().is_some() || route.hops().iter().any(|hop| hop.gateway.is_some())
        }
        Op::AddAddress(_)
        | Op::SetAddress(_)
        | Op::DelAddress(_)
        | Op::SetNexthop(_)
        | Op::AddNeighbour(_)
        | Op::DelNeighbour(_) => false,
    }
}

/// What the list of a key should be. Routes of others keep their places; ours are where the placement puts them; of
/// routes that become equal the first stays; those by an unusable interface come last.
fn desired(inventory: &Inventory, placement: &Placement<'_>, base: &[Route], kernel: &[Route]) -> Vec<Route> {
    let mut list: Vec<Route> = Vec::with_capacity(base.len());
    for route in base {
        let placed = placement.place(route);
        // Nothing is added by an interface that is down, and nothing of others is restored.
        let possible = placement.moves(route)
            && !placement.suspends(route)
            && placed.hops().iter().all(|hop| up_link(inventory, Some(hop.oif)).is_some())
            && has_object(inventory, placement, &placed);
        let wanted = possible || kernel.contains(&placed);
        match list.iter_mut().find(|other| other.clashes(&placed)) {
            // The kernel keeps one of those that become one, with options of its own choice, which will do.
            Some(one) => {
                if let Some(there) = kernel.iter().find(|there| there.clashes(&placed)) {
                    one.clone_from(there);
                }
            }
            None if wanted => list.push(placed),
            None => {}
        }
    }
    let foreign = kernel.iter().filter(|route| !placement.moves(route));
    for route in foreign {
        if !list.iter().any(|other| other.clashes(route)) {
            list.push(route.clone());
        }
    }
    list.sort_by_key(|route| placement.demotes(route));
    list
}

/// A route by a nexthop object needs it: in the kernel, or about to be made by an interface that is up.
fn has_object(inventory: &Inventory, placement: &Placement<'_>, route: &Route) -> bool {
    let made = || {
        let interfaces = placement.interfaces(route);
        !interfaces.is_empty()
            && interfaces.iter().any(|ifindex| up_link(inventory, Some(*ifindex)).is_some())
    };
    route.nexthop_id().is_none_or(|id| inventory.nexthops.contains_key(&id) || made())
}

/// From the kernel's list to the desired one, using only "append" and "delete".
pub fn converge(kernel: &[Route], desired: &[Route]) -> Convergence {
    let mut ops = Convergence::default();
    let mut list: Vec<&Route> = kernel.iter().filter(|route| desired.contains(route)).collect();
    for route in kernel.iter().filter(|route| !desired.contains(route)) {
        // A route that the kernel takes for a duplicate of a desired one stands in its way: replaced in place.
        if !desired.iter().any(|d| d.clashes(route)) {
            ops.delete.push(Op::DelRoute(route.clone()));
        }
    }
    for route in desired.iter().filter(|route| !kernel.contains(route)) {
        if let Some(rival) = kernel.iter().find(|k| k.clashes(route)) {
            ops.append.push(Op::DelRoute(rival.clone()));
        }
        ops.append.push(Op::AddRoute(route.clone()));
        list.push(route);
    }
    let displaced = displaced(list, desired).iter().filter(|route| !route.is_left_alone());
    ops.rotate = displaced.flat_map(appended_anew).collect();
    ops
}

/// The longest beginning of the desired list that stands in order stays; the rest is to be appended anew. The beginning
/// is never empty, so neither is the list meanwhile.
pub(crate) fn displaced<'a, 'b>(
    list: impl IntoIterator<Item = &'a Route>,
    desired: &'b [Route],
) -> &'b [Route] {
    let mut kept = 0;
    for route in list {
        if desired.get(kept) == Some(route) {
            kept += 1;
        }
    }
    desired.get(kept..).unwrap_or_default()
}

/// Puts a route at the end of its list.
pub(crate) fn appended_anew(route: &Route) -> [Op; 2] {
    [Op::DelRoute(route.clone()), Op::AddRoute(route.clone())]
}

fn left_alone(route: &Route, placement: &Placement<'_>) -> Option<String> {
    let on_member = route.hops().iter().any(|hop| placement.is_member(hop.oif));
    let dst = route.key().dst.addr();
    let per_link =
        dst.is_multicast() || matches!(dst, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
    // Those two exist on every interface by themselves.
    (on_member && !per_link && route.is_left_alone())
        .then(|| format!("route {route} ({:?}) is somebody else's to renew", route.protocol()))
}

#[cfg(test)]
mod tests;
