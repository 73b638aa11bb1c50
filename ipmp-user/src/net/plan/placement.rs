//! Where a route's traffic goes: a route follows its data address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{Family, MemberId},
};

use super::{MemberLink, Wanted};
use crate::net::{
    base::Base,
    nexthop::Nexthop,
    route::{Hop, Route},
};

/// Answers the question for one placement.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    wanted: &'a Wanted,
    /// Interfaces as the base's routes name them; an absent home's old number is among them.
    members: BTreeMap<u32, MemberId>,
    /// Original routes to on-link prefixes: a gateway is reached by one of them.
    connected: Vec<Route>,
    /// Nexthop objects of members, as they are at home.
    nexthops: BTreeMap<u32, Nexthop>,
}

impl<'a> Placement<'a> {
    /// For this wanted state.
    pub fn new(base: &Base, wanted: &'a Wanted) -> Self {
        let mut members: BTreeMap<u32, MemberId> =
            wanted.members.iter().map(|m| (m.ifindex, m.member)).collect();
        for placed in &wanted.data {
            // An absent interface has no number now; its routes keep the old one until it is back.
            let old = base.original(placed.address.addr()).and_then(|o| base.ifindex_of(&o.home));
            if let Some(old) = old {
                members.entry(old).or_insert(placed.home);
            }
        }
        let on_link = |route: &&Route| {
            route.nexthop_id().is_none() && route.hops().iter().all(|hop| hop.gateway.is_none())
        };
        let connected = base.all_routes().filter(on_link).cloned().collect();
        Self { wanted, members, connected, nexthops: base.nexthops.clone() }
    }

    /// Whether an interface belongs to a member.
    pub fn is_member(&self, ifindex: u32) -> bool {
        self.members.contains_key(&ifindex)
    }

    /// Where a route may have been put by any placement: all of its hops by one member, or those of one member by another.
    pub fn variants<'b>(&'b self, route: &'b Route) -> impl Iterator<Item = Route> + 'b {
        let members = || self.members.keys().copied();
        let gathered =
            members().map(|to| route.rerouted(|hop| if self.is_member(hop.oif) { to } else { hop.oif }));
        let pairs = members().flat_map(move |from| members().map(move |to| (from, to)));
        let single = pairs.map(|(from, to)| route.rerouted(|hop| if hop.oif == from { to } else { hop.oif }));
        gathered.chain(single).filter(|_| self.moves(route))
    }

    /// Whether a route is ours to move: it leaves by a member and nobody else manages it.
    pub fn moves(&self, route: &Route) -> bool {
        let by_object = || route.nexthop_id().is_some_and(|id| self.nexthops.contains_key(&id));
        !route.is_left_alone() && (route.hops().iter().any(|hop| self.is_member(hop.oif)) || by_object())
    }

    /// A nexthop object as it should be under this placement; a group is what its members are.
    pub fn place_nexthop(&self, nexthop: &Nexthop) -> Nexthop {
        let Some(oif) = nexthop.oif() else { return nexthop.clone() };
        let hop = Hop { oif, gateway: nexthop.gateway(), weight: 1, onlink: nexthop.is_onlink() };
        Route::default_by(&hop, nexthop.is_v6())
            .map_or_else(|| nexthop.clone(), |route| nexthop.by(self.target(&route, &hop)))
    }

    /// The members' interfaces by which a route leaves at home and under this placement.
    pub fn interfaces(&self, route: &Route) -> BTreeSet<u32> {
        let mut interfaces: BTreeSet<u32> = route.hops().iter().map(|hop| hop.oif).collect();
        let object = route.nexthop_id().and_then(|id| self.nexthops.get(&id));
        let members = object.map(Nexthop::members).unwrap_or_default();
        let singles = members.iter().filter_map(|id| self.nexthops.get(id)).chain(object);
        for single in singles {
            interfaces.extend(single.oif());
            interfaces.extend(self.place_nexthop(single).oif());
        }
        interfaces.retain(|ifindex| self.is_member(*ifindex));
        interfaces
    }

    /// Whether a route leaves by a member of a failed group whose addresses are withdrawn: without them the kernel
    /// would refuse most of such routes.
    pub fn suspends(&self, route: &Route) -> bool {
        let hops = route.hops();
        let mut members = hops.iter().filter_map(|hop| self.members.get(&hop.oif));
        members.any(|member| self.wanted.withdrawn.contains(member))
    }

    /// Whether a route leaves only by members that must not carry traffic. Such routes come last in their list: with
    /// carrier lost the kernel would still choose them (`linkdown`), and the traffic would vanish.
    pub fn demotes(&self, route: &Route) -> bool {
        let unusable = |hop: &Hop| {
            self.members.get(&hop.oif).is_some_and(|member| self.wanted.unusable.contains(member))
        };
        let hops = route.hops();
        self.moves(route) && !hops.is_empty() && hops.iter().all(unusable)
    }

    /// The route as it should be under this placement. Under the home placement it is the route itself.
    pub fn place(&self, route: &Route) -> Route {
        if self.moves(route) { route.rerouted(|hop| self.target(route, hop)) } else { route.clone() }
    }

    fn target(&self, route: &Route, hop: &Hop) -> u32 {
        let Some(member) = self.members.get(&hop.oif).copied() else {
            return hop.oif;
        };
        if let Some(source) = route.prefsrc() {
            // The source decides; a source that is no data address (a test address) never moves. One that is at home leaves
            // the route where it is at home, which need not be the same member, as long as that member serves.
            let serves = !self.wanted.unusable.contains(&member);
            let placed = self.wanted.data.iter().find(|p| p.address.addr() == source);
            let away = placed.filter(|p| p.on != p.home || !serves);
            return away.and_then(|p| self.wanted.ifindex(p.on)).unwrap_or(hop.oif);
        }
        let homed = || self.wanted.data.iter().filter(move |p| p.home == member);
        let near = |p: &&PlacedAddress| {
            let on_link = |ip: IpAddr| p.address.contains(&ip);
            hop.gateway.is_some_and(on_link)
                || (route.key().dst.prefix_len() > 0 && on_link(route.key().dst.addr()))
        };
        let same_family = |p: &&PlacedAddress| Family::of(p.address.addr()) == route.family();
        let followed = homed().find(near).or_else(|| homed().find(same_family)).or_else(|| homed().next());
        let same_network = followed.is_some_and(|placed| near(&placed));
        if !same_network && let Some((carrier, own)) = self.reaches(route, hop) {
            // Where its gateway cannot be reached the route would be refused. The carrier's own hop has no gateway,
            // so this ends here.
            return self.target(carrier, &own);
        }
        match followed {
            Some(placed) => self.wanted.ifindex(placed.on).unwrap_or(hop.oif),
            None if self.wanted.unusable.contains(&member) => self.refuge(member).unwrap_or(hop.oif),
            None => hop.oif,
        }
    }

    /// The connected route by the same interface that leads to the hop's gateway, and its hop, which has no gateway
    /// itself.
    fn reaches(&self, route: &Route, hop: &Hop) -> Option<(&Route, Hop)> {
        let gateway = hop.gateway.filter(|_| !hop.onlink)?;
        let leads = |other: &&Route| {
            other.key().table == route.key().table
                && other.uses(hop.oif)
                && other.key().dst.contains(&gateway)
        };
        let found = self.connected.iter().filter(leads).max_by_key(|other| other.key().dst.prefix_len())?;
        let own = found.hops().into_iter().find(|own| own.oif == hop.oif)?;
        (found.key().dst.prefix_len() > 0 && !found.is_left_alone()).then_some((found, own))
    }

    /// Where the routes of an unusable member without data addresses go: to a usable member of its group, first to one
    /// that carries data addresses.
    fn refuge(&self, member: MemberId) -> Option<u32> {
        let group = self.wanted.members.iter().find(|m| m.member == member)?.group;
        let usable = |m: &&MemberLink| {
            m.group == group && m.member != member && !self.wanted.unusable.contains(&m.member)
        };
        let carries = |m: &&MemberLink| self.wanted.data.iter().any(|p| p.on == m.member);
        let all = || self.wanted.members.iter().filter(usable);
        all().find(carries).or_else(|| all().next()).map(|m| m.ifindex)
    }
}
