//! Interfaces that are members no longer, or not yet: what a placement does not name, although we put something there.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{GroupId, MemberId},
};

use super::Base;
use crate::net::{
    inventory::Inventory,
    nexthop::Nexthop,
    plan::{MemberLink, Op, Wanted, placement::Placement},
    route::Route,
};

/// The group of members that no placement names. Their numbers go down from the last one: the engine's go up from 0.
const NOBODYS: GroupId = GroupId(u32::MAX);

impl Base {
    /// Where we put data addresses on interfaces that are no members now: left out of the configuration, or renamed.
    /// Nobody else can have put one of them there, so they are ours to remove.
    pub fn strays(&self, inventory: &Inventory, wanted: &Wanted) -> BTreeSet<(IpAddr, u32)> {
        let mut former: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for name in self.placement.values() {
            former.entry(name).or_insert_with(|| {
                let by_name = inventory.link_by_name(name).map(|link| link.ifindex);
                let mut known: Vec<u32> = by_name.into_iter().chain(self.ifindex_of(name)).collect();
                known.retain(|ifindex| wanted.members.iter().all(|member| member.ifindex != *ifindex));
                known
            });
        }
        former.retain(|_, known| !known.is_empty());
        if former.is_empty() {
            return BTreeSet::new();
        }
        let hosts = inventory.hosts();
        let ours = wanted.data.iter().map(|placed| placed.address.addr());
        ours.filter_map(|ip| Some((ip, former.get(self.placement.get(&ip)?.as_str())?)))
            .flat_map(|(ip, known)| known.iter().map(move |ifindex| (ip, *ifindex)))
            .filter(|place| hosts.contains(place))
            .collect()
    }

    /// What is wanted, completed by the interfaces that no placement names.
    pub fn complete<'a>(&self, inventory: &Inventory, wanted: &'a Wanted) -> Complete<'a> {
        let unclaimed = self.unclaimed(inventory, wanted);
        let strays = self.stray_interfaces(inventory, wanted);
        let mut all = Cow::Borrowed(wanted);
        if unclaimed.is_empty() && strays.is_empty() {
            return Complete { wanted: all, nobodys: BTreeSet::new(), strays };
        }
        let mut nobodys = strays.clone();
        let full = all.to_mut();
        let mut numbers = (0..=u32::MAX).rev().map(MemberId);
        let mut homes: BTreeMap<&str, MemberId> = BTreeMap::new();
        for (name, member) in unclaimed.into_iter().zip(&mut numbers) {
            homes.insert(name, member);
            if let Some(link) = inventory.link_by_name(name) {
                full.members.push(MemberLink { group: NOBODYS, member, ifindex: link.ifindex });
                nobodys.insert(link.ifindex);
            }
            if self.unusable.contains(name) {
                full.unusable.push(member);
            }
        }
        for (ifindex, member) in strays.iter().zip(numbers) {
            if full.members.iter().all(|link| link.ifindex != *ifindex) {
                full.members.push(MemberLink { group: NOBODYS, member, ifindex: *ifindex });
            }
        }
        let first = full.data.len();
        let ours: BTreeSet<IpAddr> = wanted.data.iter().map(|placed| placed.address.addr()).collect();
        for original in self.addresses.iter().filter(|(ip, _)| !ours.contains(ip)).map(|(_, known)| known) {
            let home = homes.get(original.home.as_str()).copied();
            let place = |home| PlacedAddress { address: original.address.net(), home, on: home };
            full.data.extend(home.map(place));
        }
        let places = self.found(inventory, full);
        for (placed, on) in full.data.iter_mut().zip(places).skip(first) {
            placed.on = on;
        }
        Complete { wanted: all, nobodys, strays }
    }

    /// The interfaces of which an earlier daemon left something, and that no placement names.
    pub(super) fn unclaimed(&self, inventory: &Inventory, wanted: &Wanted) -> Vec<&str> {
        let named: BTreeSet<&str> = wanted
            .members
            .iter()
            .filter_map(|link| Some(inventory.link(link.ifindex)?.name.as_str()))
            .collect();
        self.inherited.iter().map(String::as_str).filter(|name| !named.contains(name)).collect()
    }

    /// The interfaces of which something is known, but for those that an order is still to come for.
    pub(in crate::net) fn ordered(&self, inventory: &Inventory, wanted: &Wanted) -> BTreeSet<String> {
        let unclaimed = self.unclaimed(inventory, wanted);
        self.members().filter(|name| !unclaimed.contains(name)).map(str::to_owned).collect()
    }

    /// Where strays are, but for homes that were renamed: these are known by their old names.
    fn stray_interfaces(&self, inventory: &Inventory, wanted: &Wanted) -> BTreeSet<u32> {
        let mut strays: BTreeSet<u32> =
            self.strays(inventory, wanted).into_iter().map(|(_, ifindex)| ifindex).collect();
        if !strays.is_empty() {
            for placed in &wanted.data {
                let home =
                    self.original(placed.address.addr()).and_then(|known| self.ifindex_of(&known.home));
                home.map(|home| strays.remove(&home));
            }
        }
        strays
    }
}

/// A placement of all interfaces of which something is known.
///
/// Beside those that are wanted these are the members of groups that an earlier daemon served and that nobody has ordered
/// yet, with their addresses where they are found, and interfaces with strays. The kernel's lists hold the routes of all, and
/// what is known of them must outlive the jobs of others.
#[derive(Debug)]
pub struct Complete<'a> {
    /// The placement.
    pub wanted: Cow<'a, Wanted>,
    nobodys: BTreeSet<u32>,
    strays: BTreeSet<u32>,
}

impl Complete<'_> {
    /// Whether an operation is left to whoever will order these interfaces. What goes with strays is not: copies that we made
    /// of members' routes.
    pub fn postpones(&self, base: &Base, placement: &Placement<'_>, op: &Op) -> bool {
        if self.nobodys.is_empty() {
            return false;
        }
        match op {
            Op::AddRoute(route) | Op::DelRoute(route) | Op::ReplaceRoute { new: route, .. } => {
                self.is_nobodys(placement, route) && !self.strayed(base, placement, route)
            }
            Op::SetNexthop(nexthop) => {
                let known = |id: &u32| base.nexthops.get(id);
                let parts: Vec<u32> = nexthop.members().into_iter().chain(nexthop.id()).collect();
                parts.iter().filter_map(known).filter_map(Nexthop::oif).any(|oif| self.nobodys.contains(&oif))
            }
            Op::AddAddress(_)
            | Op::SetAddress(_)
            | Op::DelAddress(_)
            | Op::AddNeighbour(_)
            | Op::DelNeighbour(_) => false,
        }
    }

    fn is_nobodys(&self, placement: &Placement<'_>, route: &Route) -> bool {
        let hops = route.hops();
        hops.iter().any(|hop| self.nobodys.contains(&hop.oif))
            || !placement.interfaces(route).is_disjoint(&self.nobodys)
    }

    fn strayed(&self, base: &Base, placement: &Placement<'_>, route: &Route) -> bool {
        let known = base.routes(&route.key());
        let original = known.iter().find(|known| placement.variants(known).any(|moved| moved == *route));
        route.hops().iter().any(|hop| self.strays.contains(&hop.oif))
            && !known.contains(route)
            && original.is_some_and(|original| !self.is_nobodys(placement, original))
    }
}
