//! Outbound load spreading: flows leave by all active members of a group, whichever of them a route names.
//!
//! The routes of others stay as they are. For a route of the table `main` that leaves by an active member there is one of
//! ours to the same destination, by a group of nexthop objects, in a table of ours; `rules` says how packets that this host
//! itself sends come to it, and which do not. What is forwarded never does: masquerading gives a flow up when it leaves
//! elsewhere.
//!
//! By which member a flow leaves is all that changes: the source address is the one that the route of others gives, for
//! it is the one that others know this host by, and a test address must never be one. IPv4 is told it with the route
//! (`RTA_PREFSRC`); for IPv6 the kernel chooses among the addresses of the group's first member (`ip6_route_get_saddr`),
//! so that is the one by which the route of others leaves.
//!
//! Nothing is remembered: what is ours is found by its protocol number, and what is to be follows from the routes of
//! others and the active members.
//!
//! * `ways`: which routes are spread, over which members, with which source; pure.
//! * `rules`: how packets come to our routes; pure.
//! * `plan`: what is missing, wrong or needless; pure.
//! * `leftovers`: takes everything away.

pub mod leftovers;
mod plan;
mod rules;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use ipmp_common::engine::ids::Family;
use ipnet::IpNet;
use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE},
    packet_route::RouteNetlinkMessage,
};

pub use self::{
    plan::{all, claims, narrowing},
    ways::{Companion, Use, Way, Ways, ways},
};
use super::{
    nexthop::{DEL_NEXTHOP, NEW_NEXTHOP, Nexthop},
    route::{Route, RouteKey},
    rule::Rule,
    socket::{Body, Request},
};

/// Protocol number of our rules, routes and nexthop objects.
pub const PROTO_IPMP: u8 = super::MARK;
/// The table of our routes to prefixes of length 0; those of the other lengths follow. Our protocol number, and room for the
/// 128 lengths of IPv6: far from the numbers that people (small ones), systemd and VPNs (those of ports and marks) choose.
pub const TABLES: u32 = 73_000;
/// Buckets of a resilient group, each of which holds the flows of some hashes: a share is right to a fifth of a percent, and
/// a replacement moves no more than these.
const BUCKETS: u16 = 512;
/// After so long without traffic, in hundredths of a second, the flows of a bucket may leave by another member: what
/// left before has arrived by then, so nothing is overtaken.
const IDLE_CS: u32 = 100;

/// The table of our route to a destination.
fn table(dst: &IpNet) -> u32 {
    TABLES + u32::from(dst.prefix_len())
}

/// What the kernel has of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    /// Routes.
    pub routes: BTreeMap<RouteKey, Route>,
    /// Nexthop objects, single ones and groups.
    pub nexthops: BTreeMap<u32, Nexthop>,
    /// All numbers of nexthop objects in use, whoever uses them.
    pub taken: BTreeSet<u32>,
    /// All rules of both families in their order, whoever made them.
    pub rules: Vec<Rule>,
    /// The lengths of prefixes to which another daemon has routes, which need the rules as ours do.
    pub others: BTreeSet<(Family, u8)>,
}

impl Ours {
    /// What is by these interfaces only: the rest another daemon made.
    #[must_use]
    pub fn by(&self, is_known: impl Fn(u32) -> bool) -> Self {
        let single = |nexthop: &Nexthop| nexthop.oif().is_some_and(&is_known);
        let member = |id: &u32| self.nexthops.get(id).is_some_and(single);
        let is_ours = |nexthop: &Nexthop| match nexthop.oif() {
            Some(_) => single(nexthop),
            None => nexthop.members().iter().all(member),
        };
        let nexthops: BTreeMap<u32, Nexthop> = self
            .nexthops
            .iter()
            .filter(|(_, nexthop)| is_ours(nexthop))
            .map(|(id, n)| (*id, n.clone()))
            .collect();
        let ours = |route: &Route| route.nexthop_id().is_some_and(|id| nexthops.contains_key(&id));
        let (routes, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.routes.clone().into_iter().partition(|(_, route)| ours(route));
        let tables = others.values().filter(|route| route.key().table == table(&route.key().dst));
        Self {
            others: tables.map(|route| (route.family(), route.key().dst.prefix_len())).collect(),
            routes,
            nexthops,
            taken: self.taken.clone(),
            rules: self.rules.clone(),
        }
    }

    /// The interfaces of a group, in its order.
    pub fn interfaces(&self, group: u32) -> Vec<u32> {
        let members = self.nexthops.get(&group).map(Nexthop::members).unwrap_or_default();
        members.iter().filter_map(|id| self.nexthops.get(id)?.oif()).collect()
    }

    /// A change was made.
    pub fn note(&mut self, change: &Change) {
        match change {
            Change::Make(nexthop) | Change::Alter(nexthop) => {
                if let Some(id) = nexthop.id() {
                    self.nexthops.insert(id, nexthop.clone());
                    self.taken.insert(id);
                }
            }
            Change::Drop(id) => {
                self.nexthops.remove(id);
                self.taken.remove(id);
            }
            Change::Add(route) | Change::Replace(route) => {
                self.routes.insert(route.key(), route.clone());
            }
            Change::Delete(route) => {
                self.routes.remove(&route.key());
            }
            Change::AddRule(rule) => {
                let later =
                    |other: &Rule| other.family() == rule.family() && other.priority() > rule.priority();
                let place = self.rules.iter().position(later).unwrap_or(self.rules.len());
                self.rules.insert(place, rule.clone());
            }
            Change::DropRule(rule) => {
                if let Some(place) = self.rules.iter().position(|other| other == rule) {
                    self.rules.remove(place);
                }
            }
        }
    }
}

/// One request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make a nexthop object, or a group, of a number that nobody has.
    Make(Nexthop),
    /// Make one of ours something else.
    Alter(Nexthop),
    /// Delete a nexthop object.
    Drop(u32),
    /// Add a route.
    Add(Route),
    /// Replace a route of ours.
    Replace(Route),
    /// Delete a route of ours.
    Delete(Route),
    /// Add a rule, behind all of its priority.
    AddRule(Rule),
    /// Delete a rule of ours, the first that is like this.
    DropRule(Rule),
}

impl Change {
    /// The netlink request for it.
    pub fn request(&self) -> Request {
        let route = |route: &Route| Body::Known(RouteNetlinkMessage::NewRoute(route.request()));
        let (message, flags) = match self {
            Self::Make(nexthop) => {
                let payload = nexthop.creation(BUCKETS, IDLE_CS);
                (Body::Raw(NEW_NEXTHOP, payload), NLM_F_CREATE | NLM_F_EXCL)
            }
            Self::Alter(nexthop) => (Body::Nexthop(nexthop.clone()), NLM_F_REPLACE),
            Self::Drop(id) => (Body::Raw(DEL_NEXTHOP, Nexthop::deletion(*id)), 0),
            Self::Add(new) => (route(new), NLM_F_CREATE | NLM_F_EXCL),
            Self::Replace(new) => (route(new), NLM_F_CREATE | NLM_F_REPLACE),
            Self::Delete(old) => (Body::Known(RouteNetlinkMessage::DelRoute(old.request())), 0),
            // Without NLM_F_EXCL there may be two alike for a moment.
            Self::AddRule(rule) => (Body::Known(RouteNetlinkMessage::NewRule(rule.request())), NLM_F_CREATE),
            Self::DropRule(rule) => (Body::Known(RouteNetlinkMessage::DelRule(rule.request())), 0),
        };
        Request { message, flags }
    }

    /// Errors that mean that the kernel is already as wanted.
    pub const fn is_satisfied_by(&self, errno: i32) -> bool {
        match self {
            // The kernel takes routes along with a group, and a group with its last interface.
            Self::Drop(_) | Self::DropRule(_) => errno == libc::ENOENT,
            Self::Delete(_) => errno == libc::ESRCH,
            Self::Make(_) | Self::Alter(_) | Self::Add(_) | Self::Replace(_) | Self::AddRule(_) => false,
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Make(n) => write!(f, "make nexthop {n}"),
            Self::Alter(n) => write!(f, "alter nexthop {n}"),
            Self::Drop(id) => write!(f, "delete nexthop id {id}"),
            Self::Add(r) => write!(f, "add route {r}"),
            Self::Replace(r) => write!(f, "replace route {r}"),
            Self::Delete(r) => write!(f, "delete route {r}"),
            Self::AddRule(r) => write!(f, "add rule {r}"),
            Self::DropRule(r) => write!(f, "delete rule {r}"),
        }
    }
}

#[cfg(test)]
mod tests;
