//! Pure planning: the kernel's state, the base and what is wanted give an ordered list of operations.
//!
//! Order of a move, make before break: add addresses, move routes, announce, delete old addresses. Many addresses are added
//! after the announcement, see [`stages`]. An address is deleted from its old interface only if it stands on the new one. The
//! same wanted twice plans nothing.

pub mod addresses;
pub mod neighbours;
pub mod nexthops;
pub mod opening;
pub mod placement;
pub mod routes;
pub mod stages;

use std::net::IpAddr;

use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{GroupId, MemberId},
};
use rtnetlink::{
    packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
    },
};

pub use self::addresses::{AddressPlan, addresses};
use super::{
    address::{Address, family},
    inventory::Inventory,
    nexthop::Nexthop,
    plan::neighbours::NeighbourEntry,
    route::{Route, RouteKey},
    socket::{Body, Request},
};

/// A member and its interface now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLink {
    /// Its group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
    /// Its ifindex.
    pub ifindex: u32,
}

/// What one group (or, merged, all of them) shall look like. Complete, not a difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Members whose interface is present.
    pub members: Vec<MemberLink>,
    /// Data addresses and their places.
    pub data: Vec<PlacedAddress>,
    /// Test addresses; added if missing, never removed.
    pub test: Vec<(MemberId, IpAddr)>,
    /// Members that must not carry traffic.
    pub unusable: Vec<MemberId>,
    /// Members found failed, whether others are left or not; only remembered.
    pub failed: Vec<MemberId>,
    /// Members of failed groups whose data addresses shall be nowhere. Their routes are left as they are.
    pub withdrawn: Vec<MemberId>,
    /// Members over which outbound flows are to be spread.
    pub outbound: Vec<MemberId>,
}

impl Wanted {
    /// A member's interface, if it is present.
    pub fn ifindex(&self, member: MemberId) -> Option<u32> {
        self.members.iter().find(|m| m.member == member).map(|m| m.ifindex)
    }

    /// Whether a data address shall be nowhere.
    pub fn withdraws(&self, ip: IpAddr) -> bool {
        self.data.iter().any(|placed| placed.address.addr() == ip && self.withdrawn.contains(&placed.home))
    }

    /// Whether members are the same, and so are data addresses and their homes, wherever these shall be.
    pub fn has_homes_of(&self, other: &Self) -> bool {
        let home = |placed: &PlacedAddress| (placed.address, placed.home);
        self.members == other.members && self.data.iter().map(home).eq(other.data.iter().map(home))
    }

    /// Adds another group's wishes to these; routes of equal key are one list for the kernel, whoever owns them.
    pub fn extend(&mut self, other: &Self) {
        self.members.extend_from_slice(&other.members);
        self.data.extend_from_slice(&other.data);
        self.test.extend_from_slice(&other.test);
        self.unusable.extend_from_slice(&other.unusable);
        self.failed.extend_from_slice(&other.failed);
        self.withdrawn.extend_from_slice(&other.withdrawn);
        self.outbound.extend_from_slice(&other.outbound);
    }
}

impl<'a> FromIterator<&'a Self> for Wanted {
    /// What is wanted of several groups.
    fn from_iter<T: IntoIterator<Item = &'a Self>>(each: T) -> Self {
        let mut all = Self::default();
        each.into_iter().for_each(|wanted| all.extend(wanted));
        all
    }
}

/// One request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Put an address on an interface.
    AddAddress(Address),
    /// Give a present address other lifetimes; for IPv6 also the flags it had originally, which is done without duplicate
    /// address detection (`inet6_addr_modify`).
    SetAddress(Address),
    /// Take an address off.
    DelAddress(Address),
    /// Append a route to the list of its key.
    AddRoute(Route),
    /// Delete exactly this route.
    DelRoute(Route),
    /// Put a route in the place of the only one of its list, which is never empty meanwhile.
    ReplaceRoute {
        /// The only one.
        old: Route,
        /// The one that comes.
        new: Route,
    },
    /// Make a nexthop object so, in place of what has its number.
    SetNexthop(Nexthop),
    /// Give an interface a neighbour's hardware address, to be verified on use (`NUD_STALE`).
    AddNeighbour(NeighbourEntry),
    /// Forget what an interface knows of a neighbour.
    DelNeighbour(NeighbourEntry),
}

impl Op {
    /// The netlink request for it.
    pub fn request(&self) -> Request {
        match self {
            Self::AddAddress(address) => Request {
                message: Body::Known(RouteNetlinkMessage::NewAddress(address.request())),
                flags: NLM_F_CREATE | NLM_F_EXCL,
            },
            Self::SetAddress(address) => Request {
                message: Body::Known(RouteNetlinkMessage::NewAddress(address.request())),
                flags: NLM_F_REPLACE,
            },
            Self::DelAddress(address) => {
                let mut message = AddressMessage::default();
                message.header.family = family(address.ip());
                message.header.prefix_len = address.prefix_len();
                message.header.index = address.ifindex();
                message.attributes.push(AddressAttribute::Local(address.ip()));
                message.attributes.extend(
                    address
                        .request()
                        .attributes
                        .into_iter()
                        .filter(|a| matches!(a, AddressAttribute::Address(_))),
                );
                Request { message: Body::Known(RouteNetlinkMessage::DelAddress(message)), flags: 0 }
            }
            Self::AddRoute(route) => Request {
                message: Body::Known(RouteNetlinkMessage::NewRoute(route.request())),
                flags: NLM_F_CREATE | NLM_F_APPEND,
            },
            Self::DelRoute(route) => {
                Request { message: Body::Known(RouteNetlinkMessage::DelRoute(route.deletion())), flags: 0 }
            }
            Self::ReplaceRoute { new, .. } => Request {
                message: Body::Known(RouteNetlinkMessage::NewRoute(new.request())),
                flags: NLM_F_CREATE | NLM_F_REPLACE,
            },
            Self::SetNexthop(nexthop) => {
                Request { message: Body::Nexthop(nexthop.clone()), flags: NLM_F_CREATE | NLM_F_REPLACE }
            }
            Self::AddNeighbour(entry) => Request {
                message: Body::Known(RouteNetlinkMessage::NewNeighbour(entry.request())),
                flags: NLM_F_CREATE | NLM_F_REPLACE,
            },
            Self::DelNeighbour(entry) => {
                Request { message: Body::Known(RouteNetlinkMessage::DelNeighbour(entry.request())), flags: 0 }
            }
        }
    }

    /// The list of routes that it changes, if it changes one.
    pub const fn route_key(&self) -> Option<RouteKey> {
        match self {
            Self::AddRoute(route) | Self::DelRoute(route) | Self::ReplaceRoute { new: route, .. } => {
                Some(route.key())
            }
            Self::AddAddress(_)
            | Self::SetAddress(_)
            | Self::DelAddress(_)
            | Self::SetNexthop(_)
            | Self::AddNeighbour(_)
            | Self::DelNeighbour(_) => None,
        }
    }

    /// The interface on which it makes the kernel add a connected route, if it does.
    pub fn brings_route(&self) -> Option<u32> {
        if let Self::AddAddress(address) = self {
            address.has_prefix_route().then(|| address.ifindex())
        } else {
            None
        }
    }

    /// Errors that mean that the kernel is already as wanted.
    pub const fn is_satisfied_by(&self, errno: i32) -> bool {
        match self {
            Self::AddAddress(_) | Self::AddRoute(_) | Self::ReplaceRoute { .. } => errno == libc::EEXIST,
            Self::DelAddress(_) => matches!(errno, libc::EADDRNOTAVAIL | libc::ENODEV),
            Self::DelRoute(_) => matches!(errno, libc::ESRCH | libc::ENODEV),
            Self::SetAddress(_) | Self::SetNexthop(_) => false,
            // Only time is lost: the kernel resolves what it does not know.
            Self::AddNeighbour(_) | Self::DelNeighbour(_) => errno != 0,
        }
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddAddress(a) => write!(f, "add address {} on ifindex {}", a.net(), a.ifindex()),
            Self::SetAddress(a) => {
                write!(f, "set flags and lifetimes of {} on ifindex {}", a.net(), a.ifindex())
            }
            Self::DelAddress(a) => write!(f, "delete address {} on ifindex {}", a.net(), a.ifindex()),
            Self::AddRoute(r) => write!(f, "add route {r}"),
            Self::DelRoute(r) => write!(f, "delete route {r}"),
            Self::ReplaceRoute { old, new } => write!(f, "put route {new} in the place of {old}"),
            Self::SetNexthop(n) => write!(f, "set nexthop {n}"),
            Self::AddNeighbour(n) => write!(f, "add neighbour {} on ifindex {}", n.ip, n.ifindex),
            Self::DelNeighbour(n) => write!(f, "delete neighbour {} on ifindex {}", n.ip, n.ifindex),
        }
    }
}

/// Nothing is put on an interface that is administratively down: routes would be refused, and IPv6 addresses lost.
pub(crate) fn up_link(inventory: &Inventory, ifindex: Option<u32>) -> Option<u32> {
    ifindex.filter(|ifindex| inventory.link(*ifindex).is_some_and(super::inventory::Link::admin_up))
}

#[cfg(test)]
mod tests;
