//! Pure planning: the kernel's state, the base and what is wanted give an ordered list of operations.
//!
//! Order of a move, make before break: add addresses, move routes, announce, delete old addresses. An address is
//! deleted from its old interface only if it stands on the new one. The same wanted twice plans nothing.

pub mod placement;
pub mod routes;

use std::{collections::BTreeMap, net::IpAddr};

use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{Family, GroupId, MemberId},
};
use ipnet::IpNet;
use rtnetlink::{
    packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressFlags, AddressMessage},
    },
};

use super::{
    address::{Address, family},
    base::Base,
    inventory::Inventory,
    route::Route,
    socket::Request,
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
    /// Members of failed groups whose data addresses shall be nowhere. Their routes are left as they are.
    pub withdrawn: Vec<MemberId>,
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

    /// Adds another group's wishes to these; routes of equal key are one list for the kernel, whoever owns them.
    pub fn extend(&mut self, other: &Self) {
        self.members.extend_from_slice(&other.members);
        self.data.extend_from_slice(&other.data);
        self.test.extend_from_slice(&other.test);
        self.unusable.extend_from_slice(&other.unusable);
        self.withdrawn.extend_from_slice(&other.withdrawn);
    }
}

/// One request to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Put an address on an interface.
    AddAddress(Address),
    /// Give a present address the flags it had originally; IPv6 only (`inet6_addr_modify`), where it changes them
    /// without duplicate address detection.
    SetAddressFlags(Address),
    /// Take an address off.
    DelAddress(Address),
    /// Append a route to the list of its key.
    AddRoute(Route),
    /// Delete exactly this route.
    DelRoute(Route),
}

impl Op {
    /// The netlink request for it.
    pub fn request(&self) -> Request {
        match self {
            Self::AddAddress(address) => Request {
                message: RouteNetlinkMessage::NewAddress(address.request()),
                flags: NLM_F_CREATE | NLM_F_EXCL,
            },
            Self::SetAddressFlags(address) => {
                Request { message: RouteNetlinkMessage::NewAddress(address.request()), flags: NLM_F_REPLACE }
            }
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
                Request { message: RouteNetlinkMessage::DelAddress(message), flags: 0 }
            }
            Self::AddRoute(route) => Request {
                message: RouteNetlinkMessage::NewRoute(route.request()),
                flags: NLM_F_CREATE | NLM_F_APPEND,
            },
            Self::DelRoute(route) => {
                Request { message: RouteNetlinkMessage::DelRoute(route.deletion()), flags: 0 }
            }
        }
    }

    /// Errors that mean that the kernel is already as wanted.
    pub const fn is_satisfied_by(&self, errno: i32) -> bool {
        match self {
            Self::AddAddress(_) | Self::AddRoute(_) => errno == libc::EEXIST,
            Self::DelAddress(_) => matches!(errno, libc::EADDRNOTAVAIL | libc::ENODEV),
            Self::DelRoute(_) => matches!(errno, libc::ESRCH | libc::ENODEV),
            Self::SetAddressFlags(_) => false,
        }
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddAddress(a) => write!(f, "add address {} on ifindex {}", a.net(), a.ifindex()),
            Self::SetAddressFlags(a) => write!(f, "set flags of {} on ifindex {}", a.net(), a.ifindex()),
            Self::DelAddress(a) => write!(f, "delete address {} on ifindex {}", a.net(), a.ifindex()),
            Self::AddRoute(r) => write!(f, "add route {r}"),
            Self::DelRoute(r) => write!(f, "delete route {r}"),
        }
    }
}

/// The address half of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPlan {
    /// To be done before the routes.
    pub add: Vec<Op>,
    /// To be done after the announcement; each only if the address stands on its new interface.
    pub remove: Vec<Op>,
    /// Addresses that change their interface, with the new one: to be announced.
    pub moved: Vec<(u32, IpAddr)>,
    /// An added address brings a connected route of the kernel's making: read the routes again before planning them.
    pub brings_routes: bool,
    /// A removed IPv4 address is the primary one of a subnet of which others stay. Unless `promote_secondaries` is set the
    /// kernel deletes those too (`__inet_del_ifa`): look again afterwards.
    pub orphans: bool,
    /// What was found but must not be touched, as text for people.
    pub left_alone: Vec<String>,
    /// Addresses whose wanted interface cannot take them now, with the reason; they stay where they are.
    pub blocked: Vec<String>,
}

/// Plans the addresses.
pub fn addresses(inventory: &Inventory, base: &Base, wanted: &Wanted) -> AddressPlan {
    let mut plan = AddressPlan::default();
    for (member, ip) in &wanted.test {
        let Some(ifindex) = up_link(inventory, wanted.ifindex(*member)) else {
            continue;
        };
        let address = Address::test(ifindex, *ip);
        if !has(inventory, ifindex, *ip) && !address.is_link_local_v6() {
            plan.add.push(Op::AddAddress(address));
        }
    }
    let placed = in_adding_order(base, &wanted.data).into_iter();
    for placed in placed.filter(|placed| !wanted.withdrawn.contains(&placed.home)) {
        let ip = placed.address.addr();
        let ifindex = wanted.ifindex(placed.on);
        if ifindex.is_some_and(|ifindex| has(inventory, ifindex, ip)) {
            continue;
        }
        match up_link(inventory, ifindex) {
            Some(on) => add_data(inventory, base, wanted, placed, on, &mut plan),
            None => plan.blocked.push(blocked(inventory, placed, ifindex)),
        }
    }
    for MemberLink { ifindex, .. } in &wanted.members {
        plan_removals(inventory, wanted, *ifindex, &mut plan);
    }
    plan
}

fn blocked(inventory: &Inventory, placed: &PlacedAddress, ifindex: Option<u32>) -> String {
    let address = placed.address;
    match ifindex.and_then(|ifindex| inventory.link(ifindex)) {
        Some(link) => format!(
            "{address} stays where it is: {} is administratively down; `ip link set {} up` lets it move",
            link.name, link.name
        ),
        None => format!("{address} stays where it is: the interface it shall move to is not present"),
    }
}

fn add_data(
    inventory: &Inventory,
    base: &Base,
    wanted: &Wanted,
    placed: &PlacedAddress,
    on: u32,
    plan: &mut AddressPlan,
) {
    let ip = placed.address.addr();
    let original = base.original(ip);
    let at_home = placed.on == placed.home;
    plan.moved.push((on, ip));
    if at_home {
        let address = original.map_or_else(
            || Address::new(on, placed.address),
            |original| original.address.clone().rebound(on),
        );
        plan.brings_routes |= address.has_prefix_route();
        plan.add.push(Op::AddAddress(address.without_dad()));
        // Both: the address must serve at once, and `nodad` must not stay where it was not.
        if address.family() == Family::V6 && !address.has_nodad() {
            plan.add.push(Op::SetAddressFlags(address));
        }
        return;
    }
    let name = |ifindex| inventory.link(ifindex).map(|link| link.name.clone());
    let home_name = original
        .map(|original| original.home.clone())
        .or_else(|| wanted.ifindex(placed.home).and_then(name))
        .unwrap_or_default();
    let address =
        original.map_or_else(|| Address::new(on, placed.address), |original| original.address.clone());
    let on_name = name(on).unwrap_or_default();
    plan.add.push(Op::AddAddress(address.fostered(on, &home_name, &on_name)));
}

/// Kernel order of the home interface: IPv4 lists addresses as they were added (the first of a subnet is its
/// primary), IPv6 the newest first, so those are added last to first. Those that come home go before guests, which must not
/// become the primary address of the subnet.
fn in_adding_order<'a>(base: &Base, data: &'a [PlacedAddress]) -> Vec<&'a PlacedAddress> {
    let mut ordered: Vec<((bool, Family, usize), &PlacedAddress)> = data
        .iter()
        .enumerate()
        .map(|(index, placed)| {
            let ip = placed.address.addr();
            let position = base.position(ip).unwrap_or(usize::MAX / 2 + index);
            let family = Family::of(ip);
            let turn = match family {
                Family::V4 => position,
                Family::V6 => usize::MAX - position,
            };
            ((placed.on != placed.home, family, turn), placed)
        })
        .collect();
    ordered.sort_by_key(|(turn, _)| *turn);
    ordered.into_iter().map(|(_, placed)| placed).collect()
}

/// Last to first: secondary addresses go before the primary one of their subnet, whose deletion would take them along
/// (or promote one of them, see `promote_secondaries` in ip-sysctl.rst).
fn plan_removals(inventory: &Inventory, wanted: &Wanted, ifindex: u32, plan: &mut AddressPlan) {
    let places: BTreeMap<IpAddr, MemberId> = wanted.data.iter().map(|p| (p.address.addr(), p.on)).collect();
    for address in inventory.addresses(ifindex).iter().rev() {
        let Some(on) = places.get(&address.ip()) else { continue };
        let elsewhere = wanted.ifindex(*on).filter(|on| *on != ifindex);
        if up_link(inventory, elsewhere).is_none() && !wanted.withdraws(address.ip()) {
            continue;
        }
        if address.is_permanent() {
            plan.remove.push(Op::DelAddress(address.clone()));
            plan.orphans |= leaves_orphans(inventory, wanted, address);
        } else {
            plan.left_alone.push(format!(
                "{} on ifindex {ifindex} has a lifetime, so somebody else renews it",
                address.net()
            ));
        }
    }
}

/// Whether others of its subnet stay on, or come to, the interface that an IPv4 primary address leaves.
fn leaves_orphans(inventory: &Inventory, wanted: &Wanted, primary: &Address) -> bool {
    if primary.family() == Family::V6 || primary.flags().contains(AddressFlags::Secondary) {
        return false;
    }
    let same_subnet = |net: IpNet| net.addr() != primary.ip() && net.trunc() == primary.net().trunc();
    let place = |ip: IpAddr| {
        let placed = wanted.data.iter().find(|p| p.address.addr() == ip);
        placed.map(|placed| wanted.ifindex(placed.on))
    };
    // Data addresses that leave as well go first; those that come are not in the inventory yet.
    let stays =
        |ip: IpAddr| place(ip).is_none_or(|on| on == Some(primary.ifindex())) && !wanted.withdraws(ip);
    let here = inventory.addresses(primary.ifindex()).iter().map(Address::net);
    let mut coming = wanted.data.iter().map(|placed| placed.address);
    here.filter(|net| same_subnet(*net)).any(|net| stays(net.addr()))
        || coming.any(|net| {
            same_subnet(net) && place(net.addr()) == Some(Some(primary.ifindex())) && stays(net.addr())
        })
}

fn has(inventory: &Inventory, ifindex: u32, ip: IpAddr) -> bool {
    inventory.addresses(ifindex).iter().any(|address| address.ip() == ip)
}

/// Nothing is put on an interface that is administratively down: routes would be refused, and IPv6 addresses lost.
pub(crate) fn up_link(inventory: &Inventory, ifindex: Option<u32>) -> Option<u32> {
    ifindex.filter(|ifindex| inventory.link(*ifindex).is_some_and(super::inventory::Link::admin_up))
}

#[cfg(test)]
mod tests;
