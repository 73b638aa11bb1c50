use std::collections::BTreeSet;

use rtnetlink::packet_route::RouteNetlinkMessage;

use super::*;
use crate::net::fixtures::{DATA, FOSTER, HOME, at_home, message, route, set_up, texts, wanted};

/// Lists as the kernel keeps them: append at the end, delete exactly one.
fn run(list: &mut Vec<Route>, ops: &[Op], never_empty: bool) {
    for op in ops {
        match op {
            Op::AddRoute(route) => {
                assert!(!list.contains(route), "the kernel refuses a duplicate");
                list.push(route.clone());
            }
            Op::DelRoute(route) => {
                let at = list
                    .iter()
                    .position(|other| other == route)
                    .expect("the kernel refuses to delete what is not there");
                list.remove(at);
            }
            Op::AddAddress(_)
            | Op::SetAddress(_)
            | Op::DelAddress(_)
            | Op::ReplaceRoute { .. }
            | Op::SetNexthop(_)
            | Op::AddNeighbour(_)
            | Op::DelNeighbour(_) => panic!("no route"),
        }
        assert!(!never_empty || !list.is_empty(), "the list of a key was emptied");
    }
}

/// Every list of up to four out of five routes into every other.
#[test]
fn any_list_converges_to_any_other_without_a_gap() {
    let gateways = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
    let routes: Vec<Route> = gateways.iter().map(|g| route("0.0.0.0/0", 2, Some(g))).collect();
    let mut lists: Vec<Vec<Route>> = vec![Vec::new()];
    let mut longest = lists.clone();
    for _ in 0..4 {
        longest = longest
            .iter()
            .flat_map(|list| {
                routes.iter().filter(|r| !list.contains(r)).map(|r| [list.clone(), vec![r.clone()]].concat())
            })
            .collect();
        lists.extend(longest.clone());
    }
    assert_eq!(lists.len(), 1 + 5 + 20 + 60 + 120);
    for from in &lists {
        for to in &lists {
            let ops = converge(from, to);
            let mut list = from.clone();
            let never_empty = !from.is_empty() && !to.is_empty();
            run(&mut list, &ops.append, never_empty);
            run(&mut list, &ops.delete, never_empty);
            run(&mut list, &ops.rotate, never_empty);
            assert_eq!(&list, to);
            assert_eq!(converge(&list, to), Convergence::default(), "nothing is left to do");
        }
    }
}

#[test]
fn route_deleted_while_the_link_stood_is_forgotten() {
    let (mut inventory, mut base) = at_home();
    let wanted = wanted(&DATA, HOME);
    let present: BTreeSet<Vec<u8>> =
        inventory.routes.values().flatten().map(|route| route.identity().to_vec()).collect();
    inventory.update(RouteNetlinkMessage::DelRoute(message("0.0.0.0/0", 2, Some("10.0.0.1"))));
    base.learn(&inventory, &wanted, &present);
    assert_eq!(routes(&inventory, &base, &wanted).all(), []);
}

#[test]
fn route_deleted_together_with_the_link_is_restored() {
    let (mut inventory, mut base) = at_home();
    let wanted = wanted(&DATA, HOME);
    let present: BTreeSet<Vec<u8>> =
        inventory.routes.values().flatten().map(|route| route.identity().to_vec()).collect();
    inventory.update(RouteNetlinkMessage::DelRoute(message("0.0.0.0/0", 2, Some("10.0.0.1"))));
    set_up(&mut inventory, 2, false);
    base.learn(&inventory, &wanted, &present);
    assert_eq!(routes(&inventory, &base, &wanted).all(), [], "not while it is down");
    set_up(&mut inventory, 2, true);
    base.learn(&inventory, &wanted, &present);
    let expected = [
        "add route 10.0.0.0/24 ifindex 2 table 254 metric 0",
        "add route 0.0.0.0/0 via 10.0.0.1 ifindex 2 table 254 metric 0",
    ];
    assert_eq!(texts(&routes(&inventory, &base, &wanted).all()), expected);
}

#[test]
fn routes_of_a_member_without_data_move_only_if_it_is_unusable() {
    let (mut inventory, _) = at_home();
    inventory.update(RouteNetlinkMessage::NewRoute(message("172.16.0.0/12", 3, Some("10.0.0.9"))));
    let mut wanted = wanted(&DATA, HOME);
    let mut base = Base::default();
    base.learn(&inventory, &wanted, &BTreeSet::new());
    assert_eq!(routes(&inventory, &base, &wanted).all(), []);
    wanted.unusable = vec![FOSTER];
    let expected = [
        "put route 172.16.0.0/12 via 10.0.0.9 ifindex 2 table 254 metric 0 in the place of 172.16.0.0/12 via \
                     10.0.0.9 ifindex 3 table 254 metric 0",
    ];
    assert_eq!(texts(&routes(&inventory, &base, &wanted).all()), expected);
}

/// The kernel replaces the first one of a list, which may be somebody else's.
#[test]
fn a_route_that_is_not_alone_in_its_list_is_never_replaced() {
    let (mut inventory, base) = at_home();
    inventory.links.insert(4, inventory.links[&3].clone());
    inventory.update(RouteNetlinkMessage::NewRoute(message("0.0.0.0/0", 4, Some("10.9.0.1"))));
    let ops = texts(&routes(&inventory, &base, &wanted(&DATA, FOSTER)).all());
    let expected = [
        "add route 0.0.0.0/0 via 10.0.0.1 ifindex 3 table 254 metric 0",
        "delete route 0.0.0.0/0 via 10.0.0.1 ifindex 2 table 254 metric 0",
    ];
    assert!(expected.iter().all(|expected| ops.iter().any(|op| op == expected)), "{ops:?}");
    assert!(ops[0].starts_with("put route 10.0.0.0/24 ifindex 3"), "{ops:?}");
}

#[test]
fn route_stays_with_the_network_of_its_gateway() {
    let (mut inventory, _) = at_home();
    // An address of the administrator's own, which is not among the data addresses.
    let mut connected = message("192.168.5.0/24", 2, None);
    let source = rtnetlink::packet_route::route::RouteAddress::from(crate::net::fixtures::ip("192.168.5.2"));
    connected.attributes.push(rtnetlink::packet_route::route::RouteAttribute::PrefSource(source));
    inventory.update(RouteNetlinkMessage::NewRoute(connected));
    inventory.update(RouteNetlinkMessage::NewRoute(message("172.16.0.0/12", 2, Some("192.168.5.1"))));
    let mut base = Base::default();
    base.learn(&inventory, &wanted(&DATA, HOME), &BTreeSet::new());
    let moved = texts(&routes(&inventory, &base, &wanted(&DATA, FOSTER)).all());
    assert!(moved.iter().any(|text| text.contains("0.0.0.0/0")), "{moved:?}");
    assert!(!moved.iter().any(|text| text.contains("172.16") || text.contains("192.168")), "{moved:?}");
}
