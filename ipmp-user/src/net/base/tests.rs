use rtnetlink::packet_route::{RouteNetlinkMessage, address::AddressFlags};

use super::*;
use crate::net::fixtures::{DATA, FOSTER, HOME, at_home, give, inventory, message, route, take, wanted};

#[test]
fn route_that_appears_while_away_belongs_where_it_appeared() {
    let (mut inventory, mut base) = at_home();
    let away = wanted(&DATA, FOSTER);
    base.note_placement(&inventory, &away, &BTreeSet::new());
    inventory.update(RouteNetlinkMessage::NewRoute(message("172.16.0.0/12", 3, Some("10.0.0.9"))));
    base.learn(&inventory, &away, &BTreeSet::new());
    let added = route("172.16.0.0/12", 3, Some("10.0.0.9"));
    assert_eq!(base.routes(&added.key()), [added]);
}

/// As `note_opening` of the applier has it: the opening has moved routes, and somebody added one before the kernel was read.
#[test]
fn what_somebody_adds_during_an_opening_is_his_and_what_it_moved_is_not() {
    let (mut inventory, mut base) = at_home();
    let (original, away) = (base.routes.clone(), wanted(&DATA, FOSTER));
    for net in DATA {
        give(&mut inventory, 3, net, None, AddressFlags::Permanent | AddressFlags::Noprefixroute);
    }
    inventory.routes.clear();
    let moved = [message("10.0.0.0/24", 3, None), message("0.0.0.0/0", 3, Some("10.0.0.1"))];
    for route in moved.into_iter().chain([message("198.51.100.0/24", 3, Some("10.0.0.9"))]) {
        inventory.update(RouteNetlinkMessage::NewRoute(route));
    }
    let (connected, default) = (route("10.0.0.0/24", 3, None), route("0.0.0.0/0", 3, Some("10.0.0.1")));
    let present = [&connected, &default].map(|route| route.identity().to_vec()).into();
    base.note_placement(&inventory, &away, &BTreeSet::new());
    base.news.lost = true;
    base.learn(&inventory, &away, &present);
    let added = route("198.51.100.0/24", 3, Some("10.0.0.9"));
    assert_eq!(base.routes.remove(&added.key()), Some(vec![added]));
    assert_eq!(base.routes, original);
}

/// A daemon that died after it had added a route on the new interface, and before the address left the old one.
#[test]
fn route_that_an_unfinished_move_left_is_nobodys_original() {
    let (mut inventory, mut base) = at_home();
    let home = wanted(&DATA, HOME);
    let left_over = message("0.0.0.0/0", 3, Some("10.0.0.1"));
    let original = base.routes.clone();
    inventory.update(RouteNetlinkMessage::NewRoute(left_over.clone()));
    base.inherited = base.names.values().cloned().collect();
    base.learn(&inventory, &home, &BTreeSet::new());
    assert_eq!(base.routes, original);

    base.inherited.clear();
    base.learn(&inventory, &home, &BTreeSet::new());
    let key = route("0.0.0.0/0", 3, Some("10.0.0.1")).key();
    assert_eq!(
        base.routes(&key).len(),
        2,
        "from a daemon that lives through its moves it is an administrator's"
    );
}

#[test]
fn placed_routes_are_not_taken_for_originals() {
    let (mut inventory, mut base) = at_home();
    let (home, away) = (wanted(&DATA, HOME), wanted(&DATA, FOSTER));
    let original = base.routes.clone();
    // A daemon that crashed between the move and writing its state: only the addresses say where things are.
    for (net, flags) in [(DATA[0], AddressFlags::Permanent), (DATA[1], AddressFlags::Permanent)] {
        take(&mut inventory, 2, net);
        give(&mut inventory, 3, net, None, flags | AddressFlags::Noprefixroute);
    }
    inventory.routes.clear();
    for message in [message("10.0.0.0/24", 3, None), message("0.0.0.0/0", 3, Some("10.0.0.1"))] {
        inventory.update(RouteNetlinkMessage::NewRoute(message));
    }
    base.learn(&inventory, &home, &BTreeSet::new());
    assert_eq!(base.routes, original);
    base.learn(&inventory, &away, &BTreeSet::new());
    assert_eq!(base.routes, original);
    let kept = base.original(DATA[0].parse::<IpNet>().expect("an address").addr()).expect("an original");
    assert!(kept.address.has_prefix_route(), "the foster form is not the original");
}

/// A manager that starts deletes what it does not know, and adds what its configuration says, on the failed interface.
#[test]
fn a_route_that_somebody_deleted_where_it_was_and_added_where_it_had_been_is_wanted() {
    let (mut inventory, mut base) = at_home();
    let away = wanted(&DATA, FOSTER);
    for net in DATA {
        take(&mut inventory, 2, net);
        give(&mut inventory, 3, net, None, AddressFlags::Permanent | AddressFlags::Noprefixroute);
    }
    base.note_placement(&inventory, &away, &BTreeSet::new());
    let (home, moved) = (route("0.0.0.0/0", 2, Some("10.0.0.1")), route("0.0.0.0/0", 3, Some("10.0.0.1")));
    let present = BTreeSet::from([moved.identity().to_vec()]);
    base.news.removed.insert(home.key());
    // As it was at home, where the kernel still has it.
    assert!(inventory.routes[&home.key()].contains(&home));
    base.learn(&inventory, &away, &present);
    assert_eq!(base.routes(&home.key()), std::slice::from_ref(&home));
    // Only deleted.
    inventory.routes.remove(&home.key());
    base.learn(&inventory, &away, &present);
    assert_eq!(base.routes(&home.key()), []);
}

#[test]
fn order_at_home_is_the_kernels() {
    let mut inventory = inventory();
    give(&mut inventory, 2, DATA[0], None, AddressFlags::Permanent);
    let gateways = ["10.0.0.3", "10.0.0.1", "10.0.0.2"];
    for gateway in gateways {
        inventory.update(RouteNetlinkMessage::NewRoute(message("0.0.0.0/0", 2, Some(gateway))));
    }
    let mut base = Base::default();
    base.learn(&inventory, &wanted(&DATA[..1], HOME), &BTreeSet::new());
    let expected: Vec<Route> = gateways.iter().map(|g| route("0.0.0.0/0", 2, Some(g))).collect();
    assert_eq!(base.routes(&expected[0].key()), expected);
}

#[test]
fn interface_that_came_back_keeps_its_routes_under_the_new_number() {
    let (_, mut base) = at_home();
    let mut renumbered = inventory();
    let mut link = renumbered.links.remove(&2).expect("eth0");
    link.ifindex = 9;
    renumbered.links.insert(9, link);
    let mut wanted = wanted(&DATA, FOSTER);
    wanted.members[0].ifindex = 9;
    base.learn(&renumbered, &wanted, &BTreeSet::new());
    let expected = route("0.0.0.0/0", 9, Some("10.0.0.1"));
    assert_eq!(base.routes(&expected.key()), std::slice::from_ref(&expected));
    assert_eq!(base.ifindex_of("eth0"), Some(9));
}
