//! A search through the routes, part by part: there may be a hundred thousand of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound,
};

use ipmp_common::engine::{config::MAX_TARGETS, ids::Family};

use super::Inventory;
use crate::net::route::{Route, RouteKey};

/// The probe targets that the routing tables name, for several sets of interfaces at once. What changes behind its back is
/// found by the next one.
#[derive(Debug)]
pub struct RouterSearch<G> {
    of: BTreeMap<u32, G>,
    own: BTreeSet<IpAddr>,
    found: BTreeMap<(G, Family), Vec<IpAddr>>,
    from: Bound<RouteKey>,
}

impl<G: Copy + Ord> RouterSearch<G> {
    /// Begins one. Each interface is of one set.
    pub fn new(inventory: &Inventory, of: BTreeMap<u32, G>) -> Self {
        let sets = of.values().flat_map(|set| Family::ALL.map(|family| ((*set, family), Vec::new())));
        Self { own: inventory.own_addresses().collect(), found: sets.collect(), from: Bound::Unbounded, of }
    }

    /// Goes through so many routes more; false if that was all.
    pub fn go_on(&mut self, inventory: &Inventory, routes: usize) -> bool {
        let mut left = routes;
        for (key, list) in inventory.routes.range((self.from, Bound::Unbounded)) {
            if left == 0 {
                return true;
            }
            left = left.saturating_sub(list.len());
            for route in list {
                self.look_at(route);
            }
            self.from = Bound::Excluded(*key);
        }
        false
    }

    /// For each set and family the next hops of default, prefix and host routes through its interfaces, and the destinations
    /// of on-link host routes; in table order, own addresses left out, as many as can be targets.
    pub fn found(self) -> BTreeMap<(G, Family), Vec<IpAddr>> {
        self.found
    }

    fn look_at(&mut self, route: &Route) {
        let dst = route.key().dst;
        let host = dst.prefix_len() == dst.max_prefix_len();
        for hop in route.resolved_hops() {
            let Some(set) = self.of.get(&hop.oif) else { continue };
            let target = hop.gateway.or_else(|| host.then(|| dst.addr()));
            let fits = |ip: &IpAddr| !ip.is_multicast() && *ip != IpAddr::from(std::net::Ipv4Addr::BROADCAST);
            let Some(target) = target.filter(fits).filter(|ip| !self.own.contains(ip)) else { continue };
            let Some(found) = self.found.get_mut(&(*set, Family::of(target))) else { continue };
            if found.len() < MAX_TARGETS && !found.contains(&target) {
                found.push(target);
            }
        }
    }
}
