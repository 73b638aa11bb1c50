//! Hand-made inventories for the unit tests; no kernel.

use std::{collections::BTreeSet, net::IpAddr};

use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{Family, GroupId, MemberId},
};
use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};

use super::{
    address::{Address, family},
    base::Base,
    inventory::Inventory,
    plan::{MemberLink, Op, Wanted},
    route::Route,
    rule::{Rule, TABLE_MAIN},
};

pub(crate) const HOME: MemberId = MemberId(0);
pub(crate) const FOSTER: MemberId = MemberId(1);
pub(crate) const DATA: [&str; 2] = ["10.0.0.10/24", "10.0.0.11/24"];

pub(crate) fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    for (ifindex, name) in [(1, "lo"), (2, "eth0"), (3, "eth1")] {
        let mut link = LinkMessage::default();
        link.header.index = ifindex;
        link.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        link.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::CarrierDownCount(1)];
        inventory.update(RouteNetlinkMessage::NewLink(link));
    }
    inventory.ours.rules = Family::ALL.into_iter().flat_map(rules).collect();
    inventory
}

/// A rule as the kernel shows it.
pub(crate) fn rule(family: Family, priority: u32, table: u32) -> Rule {
    let mut message = RuleMessage::default();
    message.header.family = if family == Family::V4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.table = u8::try_from(table).expect("a small number");
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Table(table),
        RuleAttribute::SuppressPrefixLen(u32::MAX),
        RuleAttribute::Protocol(RouteProtocol::Kernel),
    ];
    if priority > 0 {
        message.attributes.push(RuleAttribute::Priority(priority));
    }
    Rule::from_message(message).expect("a rule")
}

/// Those that a kernel begins with.
fn rules(family: Family) -> Vec<Rule> {
    vec![rule(family, 0, 255), rule(family, 32766, TABLE_MAIN), rule(family, 32767, 253)]
}

pub(crate) fn set_up(inventory: &mut Inventory, ifindex: u32, up: bool) {
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    let name = inventory.link(ifindex).expect("a link").name.clone();
    let downs = inventory.link(ifindex).and_then(|l| l.carrier_down_count).unwrap_or(0) + u32::from(!up);
    link.attributes = vec![LinkAttribute::IfName(name), LinkAttribute::CarrierDownCount(downs)];
    inventory.update(RouteNetlinkMessage::NewLink(link));
}

pub(crate) fn give(
    inventory: &mut Inventory,
    ifindex: u32,
    net: &str,
    label: Option<&str>,
    flags: AddressFlags,
) {
    let mut message = Address::new(ifindex, net.parse().expect("an address")).request();
    message.attributes.retain(|a| !matches!(a, AddressAttribute::Flags(_)));
    message.attributes.push(AddressAttribute::Flags(flags));
    message.attributes.extend(label.map(|label| AddressAttribute::Label(label.to_owned())));
    inventory.update(RouteNetlinkMessage::NewAddress(message));
}

pub(crate) fn take(inventory: &mut Inventory, ifindex: u32, net: &str) {
    let message = Address::new(ifindex, net.parse().expect("an address")).request();
    inventory.update(RouteNetlinkMessage::DelAddress(message));
}

pub(crate) fn message(dst: &str, oif: u32, gateway: Option<&str>) -> RouteMessage {
    let dst: IpNet = dst.parse().expect("a prefix");
    let mut message = RouteMessage::default();
    message.header.address_family = family(dst.addr());
    message.header.destination_prefix_length = dst.prefix_len();
    message.header.table = 254;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Table(254));
    if dst.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(dst.addr().into()));
    }
    message.attributes.extend(gateway.map(|g| RouteAttribute::Gateway(RouteAddress::from(ip(g)))));
    message.attributes.push(RouteAttribute::Oif(oif));
    message
}

pub(crate) fn route(dst: &str, oif: u32, gateway: Option<&str>) -> Route {
    Route::from_message(message(dst, oif, gateway)).remove(0)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Two members; the addresses' home is the first.
pub(crate) fn wanted(data: &[&str], on: MemberId) -> Wanted {
    let link = |member, ifindex| MemberLink { group: GroupId(0), member, ifindex };
    let place = |net: &&str| PlacedAddress { address: net.parse().expect("an address"), home: HOME, on };
    Wanted {
        withdrawn: Vec::new(),
        outbound: Vec::new(),
        failed: Vec::new(),
        members: vec![link(HOME, 2), link(FOSTER, 3)],
        data: data.iter().map(place).collect(),
        test: Vec::new(),
        unusable: if on == HOME { Vec::new() } else { vec![HOME] },
    }
}

pub(crate) fn texts(ops: &[Op]) -> Vec<String> {
    ops.iter().map(ToString::to_string).collect()
}

/// eth0 with two addresses, a connected and a default route; learned.
pub(crate) fn at_home() -> (Inventory, Base) {
    let mut inventory = inventory();
    give(&mut inventory, 2, "10.0.0.10/24", Some("eth0"), AddressFlags::Permanent);
    give(
        &mut inventory,
        2,
        "10.0.0.11/24",
        Some("eth0:1"),
        AddressFlags::Permanent | AddressFlags::Secondary,
    );
    for message in [message("10.0.0.0/24", 2, None), message("0.0.0.0/0", 2, Some("10.0.0.1"))] {
        inventory.update(RouteNetlinkMessage::NewRoute(message));
    }
    let mut base = Base::default();
    base.learn(&inventory, &wanted(&DATA, HOME), &BTreeSet::new());
    (inventory, base)
}
