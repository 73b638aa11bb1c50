//! The order of what the kernel makes for addresses, where these did not all come at once.

use std::{collections::BTreeMap, net::IpAddr};

use ipmp_common::engine::ids::{Family, GroupId};
use rtnetlink::packet_route::route::RouteProtocol;

use super::Base;
use crate::net::{plan::Wanted, route::Route};

/// When a start at which nothing is missing puts each address on its interface that nobody else puts there.
#[derive(Debug, Default)]
pub(in crate::net) struct Turns(BTreeMap<IpAddr, Turn>);

#[derive(Debug)]
struct Turn {
    at: (GroupId, usize),
    prefix: ipnet::IpNet,
    home: u32,
}

impl Base {
    /// As `in_adding_order` has it for addresses of which nothing is known.
    pub(in crate::net) fn turns(&self, wanted: &Wanted) -> Turns {
        let turn = |(index, placed): (usize, &ipmp_common::engine::action::PlacedAddress)| {
            let ip = placed.address.addr();
            let home = wanted.members.iter().find(|link| link.member == placed.home)?;
            let index = match Family::of(ip) {
                Family::V4 => index,
                Family::V6 => usize::MAX - index,
            };
            let turn = Turn { at: (home.group, index), prefix: placed.address.trunc(), home: home.ifindex };
            self.made.contains(&ip).then_some((ip, turn))
        };
        Turns(wanted.data.iter().enumerate().filter_map(turn).collect())
    }
}

impl Turns {
    /// Puts a route that the kernel made for one of them into a list, before those whose turn is later; any other at the end.
    pub(in crate::net) fn insert(&self, list: &mut Vec<Route>, route: Route) {
        let turn = self.of(&route);
        let is_later = |other: &Route| turn.is_some_and(|turn| self.of(other).is_some_and(|at| at > turn));
        let at = list.iter().position(is_later).unwrap_or(list.len());
        list.insert(at, route);
    }

    /// The turn of the first of the addresses for which the kernel made a route: IPv4 names it, IPv6 does not.
    fn of(&self, route: &Route) -> Option<(GroupId, usize)> {
        let [hop] = *route.hops() else { return None };
        if route.protocol() != RouteProtocol::Kernel || hop.gateway.is_some() {
            return None;
        }
        match route.family() {
            Family::V4 => self.0.get(&route.prefsrc()?).map(|turn| turn.at),
            Family::V6 => {
                let made = self.0.values().filter(|t| t.home == hop.oif && t.prefix == route.key().dst);
                made.map(|turn| turn.at).min()
            }
        }
    }
}
