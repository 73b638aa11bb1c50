use std::collections::BTreeSet;

use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    address::AddressFlags,
    route::{RouteAddress, RouteAttribute},
};

use super::*;
use crate::net::{
    address::Lifetimes,
    fixtures::{DATA, FOSTER, HOME, at_home, give, inventory, ip, message, take, texts, wanted},
};

const NOW: Timestamp = Timestamp(0);

/// eth0 with the data addresses and the route that the kernel made for the first; learned.
fn with_connected() -> (Inventory, Base) {
    let mut inventory = inventory();
    give(&mut inventory, 2, DATA[0], None, AddressFlags::Permanent);
    give(&mut inventory, 2, DATA[1], None, AddressFlags::Permanent | AddressFlags::Secondary);
    inventory.update(RouteNetlinkMessage::NewRoute(connected(2)));
    let mut base = Base::default();
    base.learn(&inventory, &wanted(&DATA, HOME), &BTreeSet::new());
    (inventory, base)
}

fn connected(oif: u32) -> rtnetlink::packet_route::route::RouteMessage {
    let mut route = message("10.0.0.0/24", oif, None);
    route.header.protocol = RouteProtocol::Kernel;
    route.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(ip("10.0.0.10"))));
    route
}

/// The same with all of it on eth1.
fn away() -> (Inventory, Base) {
    let (mut inventory, base) = with_connected();
    for net in DATA {
        take(&mut inventory, 2, net);
        give(&mut inventory, 3, net, None, AddressFlags::Permanent | AddressFlags::Noprefixroute);
    }
    inventory.update(RouteNetlinkMessage::DelRoute(connected(2)));
    inventory.update(RouteNetlinkMessage::NewRoute(connected(3)));
    (inventory, base)
}

#[test]
fn failover_begins_with_additions_and_routes() {
    let (inventory, base) = at_home();
    let opening = Opening::plan(&inventory, &base, &wanted(&DATA, FOSTER), NOW).expect("an opening");
    let expected = ["add address 10.0.0.10/24 on ifindex 3", "add address 10.0.0.11/24 on ifindex 3"];
    assert_eq!(texts(&opening.additions), expected);
    assert_eq!(opening.routes, routes(&inventory, &base, &wanted(&DATA, FOSTER)).add);
    assert_eq!((opening.routes.len(), opening.moved.len(), opening.rest), (2, 2, vec![]));
}

#[test]
fn where_nothing_is_to_be_done_nothing_is_ready() {
    let (inventory, base) = at_home();
    assert_eq!(Opening::plan(&inventory, &base, &wanted(&DATA, HOME), NOW), None);
}

#[test]
fn failback_counts_on_the_route_that_the_kernel_will_make() {
    let (inventory, base) = away();
    let opening = Opening::plan(&inventory, &base, &wanted(&DATA, HOME), NOW).expect("an opening");
    assert_eq!(opening.additions.len(), 2);
    assert_eq!(
        texts(&opening.routes),
        ["delete route 10.0.0.0/24 ifindex 3 table 254 metric 0 src 10.0.0.10"]
    );
}

#[test]
fn a_primary_address_that_is_there_already_keeps_the_kernel_from_making_one() {
    let (mut inventory, base) = away();
    give(&mut inventory, 2, "10.0.0.99/24", None, AddressFlags::Permanent);
    let opening = Opening::plan(&inventory, &base, &wanted(&DATA, HOME), NOW).expect("an opening");
    let gone = texts(&opening.routes).iter().filter(|op| op.starts_with("delete")).count();
    let put = texts(&opening.routes).iter().filter(|op| op.starts_with("put route")).count();
    assert_eq!((gone, put), (0, 1), "our own takes over: {:?}", texts(&opening.routes));
}

#[test]
fn a_connected_route_that_is_not_known_is_not_counted_on() {
    let (inventory, mut base) = away();
    base.routes.clear();
    assert_eq!(Opening::plan(&inventory, &base, &wanted(&DATA, HOME), NOW), None);
}

/// Both members have a route of the subnet, and the returning one's shall be the first again.
#[test]
fn what_is_put_behind_others_is_deleted_and_added_in_one_exchange() {
    let mut inventory = inventory();
    give(&mut inventory, 2, DATA[0], None, AddressFlags::Permanent);
    give(&mut inventory, 3, DATA[1], None, AddressFlags::Permanent);
    let mut other = connected(3);
    other.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::PrefSource(_)));
    other.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(ip("10.0.0.11"))));
    for route in [connected(2), other] {
        inventory.update(RouteNetlinkMessage::NewRoute(route));
    }
    let mut at_home = wanted(&DATA, HOME);
    (at_home.data[1].home, at_home.data[1].on) = (FOSTER, FOSTER);
    let mut base = Base::default();
    base.learn(&inventory, &at_home, &BTreeSet::new());
    // eth0 has failed: its own address is on eth1, and so is its route, behind the other.
    take(&mut inventory, 2, DATA[0]);
    give(&mut inventory, 3, DATA[0], None, AddressFlags::Permanent | AddressFlags::Noprefixroute);
    inventory.update(RouteNetlinkMessage::DelRoute(connected(2)));
    inventory.update(RouteNetlinkMessage::NewRoute(connected(3)));
    let opening = Opening::plan(&inventory, &base, &at_home, NOW).expect("an opening");
    let is_pair = |ops: &[String]| {
        let pair = |verb: &str| ops.iter().any(|op| op.starts_with(verb) && op.ends_with("src 10.0.0.11"));
        (pair("delete route"), pair("add route"))
    };
    assert_eq!(is_pair(&texts(&opening.routes)), (false, false));
    assert_eq!(is_pair(&texts(&opening.removals.remove)), (true, true));
}

#[test]
fn a_life_that_runs_out_is_reckoned_when_the_move_is_ordered() {
    let (inventory, mut base) = at_home();
    let original = base.addresses.get_mut(&ip("10.0.0.10")).expect("known");
    original.address = original.address.clone().living(Lifetimes { preferred: 100, valid: 200 });
    assert_eq!(Opening::plan(&inventory, &base, &wanted(&DATA, FOSTER), NOW), None);
}

#[test]
fn large_moves_are_not_made_ready() {
    let mut inventory = inventory();
    let data: Vec<String> = (0..=MAX_SIZE).map(|n| format!("10.1.{}.{}/16", n / 250, n % 250 + 1)).collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    for net in &data {
        give(&mut inventory, 2, net, None, AddressFlags::Permanent);
    }
    let mut base = Base::default();
    base.learn(&inventory, &wanted(&data, HOME), &BTreeSet::new());
    assert_eq!(Opening::plan(&inventory, &base, &wanted(&data, FOSTER), NOW), None);
}
