//! The address half of a plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipmp_common::engine::{action::PlacedAddress, ids::Family, time::Timestamp};
use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressFlags;

use super::{Op, Wanted, up_link};
use crate::net::{address::Address, base::Base, inventory::Inventory};

/// The address half of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPlan {
    /// To be done before the routes.
    pub add: Vec<Op>,
    /// To be done after the announcement; each only if the address stands on its new interface.
    pub remove: Vec<Op>,
    /// Addresses that change their interface: the old one if they are on one, the new one, the address. To be announced.
    pub moved: Vec<(Option<u32>, u32, IpNet)>,
    /// An added address brings a connected route of the kernel's making: read the routes again before planning them.
    pub brings_routes: bool,
    /// A removed IPv4 address is the primary one of a subnet of which others stay. Unless `promote_secondaries` is set the
    /// kernel deletes those too (`__inet_del_ifa`): look again afterwards.
    pub orphans: bool,
    /// Addresses of interfaces that are no members any more, which the kernel may take along in the same way: to be added
    /// again after the removals.
    pub bystanders: Vec<Op>,
    /// What was found but must not be touched, as text for people.
    pub left_alone: Vec<String>,
    /// Addresses whose wanted interface cannot take them now, with the reason; they stay where they are.
    pub blocked: Vec<String>,
}

impl AddressPlan {
    /// The IPv6 addresses to be added, each with its interface.
    pub fn added_v6(&self) -> BTreeSet<(u32, IpAddr)> {
        let added =
            self.add.iter().filter_map(|op| if let Op::AddAddress(added) = op { Some(added) } else { None });
        let v6 = added.filter(|address| address.family() == Family::V6);
        v6.map(|address| (address.ifindex(), address.ip())).collect()
    }
}

/// Plans the addresses. `now` tells what is left of their lives.
pub fn addresses(inventory: &Inventory, base: &Base, wanted: &Wanted, now: Timestamp) -> AddressPlan {
    let mut plan = AddressPlan::default();
    let hosts = inventory.hosts();
    for (member, ip) in &wanted.test {
        let Some(ifindex) = up_link(inventory, wanted.ifindex(*member)) else {
            continue;
        };
        let address = Address::test(ifindex, *ip);
        if !hosts.contains(&(*ip, ifindex)) && !address.is_link_local_v6() {
            plan.add.push(Op::AddAddress(address));
        }
    }
    let placed = in_adding_order(base, &wanted.data).into_iter();
    for placed in placed.filter(|placed| !wanted.withdrawn.contains(&placed.home)) {
        let ip = placed.address.addr();
        let ifindex = wanted.ifindex(placed.on);
        if let Some(on) = ifindex.filter(|ifindex| hosts.contains(&(ip, *ifindex))) {
            plan.add.extend(amended(inventory, base, (on, placed.on == placed.home), ip, now));
            continue;
        }
        let from = hosts.range((ip, 0)..=(ip, u32::MAX)).map(|(_, ifindex)| *ifindex).next();
        if from.and_then(|from| inventory.address(from, ip)).is_some_and(|a| inventory.is_renewed(a)) {
            // Whoever renews it would not find it; the removals say so.
            continue;
        }
        if is_duplicate_only(inventory, &hosts, ip) {
            // Added elsewhere, without detection, it would be taken from the host that has it.
            plan.left_alone
                .push(format!("{} is another host's, too (duplicate address detection)", placed.address));
            continue;
        }
        match up_link(inventory, ifindex) {
            Some(_) if base.original(ip).is_some_and(|original| original.is_over(now)) => {
                plan.left_alone.push(format!("the lifetime of {} is over", placed.address));
            }
            Some(on) => {
                plan.moved.push((from, on, placed.address));
                add_data(inventory, base, wanted, placed, (on, now), &mut plan);
            }
            // Without an interface there can be no address: it is parked until one comes, or another takes it.
            None => plan.blocked.extend(ifindex.map(|ifindex| blocked(inventory, placed, ifindex))),
        }
    }
    plan_removals(inventory, base, wanted, &mut plan);
    plan
}

/// Whether an address stands somewhere, and serves nowhere because another host has it.
fn is_duplicate_only(inventory: &Inventory, hosts: &BTreeSet<(IpAddr, u32)>, ip: IpAddr) -> bool {
    let standing = hosts.range((ip, 0)..=(ip, u32::MAX));
    let mut standing = standing.filter_map(|(_, ifindex)| inventory.address(*ifindex, ip)).peekable();
    standing.peek().is_some() && standing.all(Address::is_duplicate)
}

/// What gives an address that stands where it shall the life that it has by now; and at home the `nodad` that it had: a
/// homecoming that was not finished leaves it behind.
fn amended(
    inventory: &Inventory,
    base: &Base,
    (on, at_home): (u32, bool),
    ip: IpAddr,
    now: Timestamp,
) -> Option<Op> {
    let original = base.original(ip)?;
    let lifetimes = original.lifetimes(now);
    let there = inventory.address(on, ip)?;
    let left = there.lifetimes().later(inventory.read_at, now);
    let ages = lifetimes.valid != 0 && !left.agrees(lifetimes);
    let marked = at_home && there.has_nodad() && !original.address.has_nodad();
    if inventory.is_renewed(there) || !(ages || marked) {
        return None;
    }
    let amended = if marked { original.at(now).rebound(on) } else { there.clone().living(lifetimes) };
    Some(Op::SetAddress(amended))
}

fn blocked(inventory: &Inventory, placed: &PlacedAddress, ifindex: u32) -> String {
    let address = placed.address;
    match inventory.link(ifindex) {
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
    (on, now): (u32, Timestamp),
    plan: &mut AddressPlan,
) {
    let ip = placed.address.addr();
    let original = base.original(ip);
    let at_home = placed.on == placed.home;
    let address = original.map_or_else(|| Address::new(on, placed.address), |original| original.at(now));
    if at_home {
        let address = address.rebound(on);
        plan.brings_routes |= address.has_prefix_route();
        plan.add.push(Op::AddAddress(address.without_dad()));
        // Both: the address must serve at once, and `nodad` must not stay where it was not.
        if address.family() == Family::V6 && !address.has_nodad() {
            plan.add.push(Op::SetAddress(address));
        }
        return;
    }
    let name = |ifindex| inventory.link(ifindex).map(|link| link.name.clone());
    let home_name = original
        .map(|original| original.home.clone())
        .or_else(|| wanted.ifindex(placed.home).and_then(name))
        .unwrap_or_default();
    let on_name = name(on).unwrap_or_default();
    plan.add.push(Op::AddAddress(address.fostered(on, &home_name, &on_name)));
}

/// Kernel order of the home interface: IPv4 lists addresses as they were added (the first of a subnet is its
/// primary), IPv6 the newest first, so those are added last to first. Those that come home go before guests, which must not
/// become the primary address of the subnet.
fn in_adding_order<'a>(base: &Base, data: &'a [PlacedAddress]) -> Vec<&'a PlacedAddress> {
    let positions = base.positions();
    let mut ordered: Vec<((bool, Family, usize), &PlacedAddress)> = data
        .iter()
        .enumerate()
        .map(|(index, placed)| {
            let ip = placed.address.addr();
            let position = positions.get(&ip).copied().unwrap_or(usize::MAX / 2 + index);
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

/// Newest first. IPv4 lists addresses as they were added: secondary addresses go before the primary one of their subnet,
/// whose deletion would take them along (or promote one of them, see `promote_secondaries` in ip-sysctl.rst). IPv6 lists the
/// newest first, and searches that list, and that of multicast groups, for each address that goes (`__ipv6_dev_mc_dec` in
/// net/ipv6/mcast.c): of a thousand, the oldest first takes two to five times as long.
fn in_removing_order(list: &[Address]) -> impl Iterator<Item = &Address> {
    let of = |family| move |address: &&Address| address.family() == family;
    list.iter().rev().filter(of(Family::V4)).chain(list.iter().filter(of(Family::V6)))
}

/// What leaves the members, and interfaces that were members when we put it there.
fn plan_removals(inventory: &Inventory, base: &Base, wanted: &Wanted, plan: &mut AddressPlan) {
    let withdrawn = |placed: &PlacedAddress| wanted.withdrawn.contains(&placed.home);
    let nowhere: BTreeSet<IpAddr> =
        wanted.data.iter().filter(|placed| withdrawn(placed)).map(|placed| placed.address.addr()).collect();
    let place = |placed: &PlacedAddress| wanted.ifindex(placed.on).filter(|_| !withdrawn(placed));
    let places: BTreeMap<IpAddr, Option<u32>> =
        wanted.data.iter().map(|placed| (placed.address.addr(), place(placed))).collect();
    let strays = base.strays(inventory, wanted);
    let former: BTreeSet<u32> = strays.iter().map(|(_, ifindex)| *ifindex).collect();
    let mut removed = Vec::new();
    for ifindex in wanted.members.iter().map(|member| &member.ifindex).chain(&former) {
        for address in in_removing_order(inventory.addresses(*ifindex)) {
            let Some(on) = places.get(&address.ip()) else {
                continue;
            };
            if former.contains(ifindex) && !strays.contains(&(address.ip(), *ifindex)) {
                continue;
            }
            let elsewhere = on.filter(|on| on != ifindex);
            if up_link(inventory, elsewhere).is_none() && !nowhere.contains(&address.ip()) {
                continue;
            }
            let comes = |on: u32| inventory.address(on, address.ip()).is_none();
            if address.is_duplicate() && elsewhere.is_some_and(comes) {
                continue;
            }
            if inventory.is_renewed(address) {
                plan.left_alone
                    .push(format!("{} on ifindex {ifindex} is DHCP's or a router's to renew", address.net()));
            } else {
                plan.remove.push(Op::DelAddress(address.clone()));
                removed.push(address);
            }
        }
    }
    let is_primary = |address: &Address| {
        address.family() == Family::V4 && !address.flags().contains(AddressFlags::Secondary)
    };
    let left: BTreeSet<(u32, IpNet)> = removed
        .into_iter()
        .filter(|address| is_primary(address))
        .map(|address| (address.ifindex(), address.net().trunc()))
        .collect();
    plan.bystanders = bystanders(inventory, &former, &strays, &left);
    plan.orphans = !left.is_empty() && leaves_orphans(inventory, wanted, &places, &left);
}

/// Addresses that stay on an interface which is no member any more, in a subnet that its primary address leaves.
fn bystanders(
    inventory: &Inventory,
    former: &BTreeSet<u32>,
    strays: &BTreeSet<(IpAddr, u32)>,
    left: &BTreeSet<(u32, IpNet)>,
) -> Vec<Op> {
    let there = former.iter().flat_map(|ifindex| inventory.addresses(*ifindex));
    let remains = |address: &&Address| {
        left.contains(&(address.ifindex(), address.net().trunc()))
            && !strays.contains(&(address.ip(), address.ifindex()))
    };
    there.filter(remains).cloned().map(Op::AddAddress).collect()
}

/// Whether others stay on, or come to, one of the subnets on interfaces that their IPv4 primary address leaves. Data
/// addresses that leave as well have gone before it; those that come are not in the inventory yet.
fn leaves_orphans(
    inventory: &Inventory,
    wanted: &Wanted,
    places: &BTreeMap<IpAddr, Option<u32>>,
    left: &BTreeSet<(u32, IpNet)>,
) -> bool {
    let stays =
        |address: &&Address| places.get(&address.ip()).is_none_or(|on| *on == Some(address.ifindex()));
    let members = wanted.members.iter().flat_map(|member| inventory.addresses(member.ifindex));
    let staying = members.filter(stays).map(|address| (address.ifindex(), address.net().trunc()));
    let place = |placed: &PlacedAddress| places.get(&placed.address.addr()).copied().flatten();
    let coming = wanted.data.iter().filter_map(|p| Some((place(p)?, p.address.trunc())));
    staying.chain(coming).any(|place| left.contains(&place))
}
