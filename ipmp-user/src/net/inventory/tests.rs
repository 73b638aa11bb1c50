use rtnetlink::packet_route::{address::AddressFlags, neighbour::NeighbourState};

use super::*;
use crate::net::fixtures::{give, inventory, ip};

/// Acceptance A12: what a member without any router may probe.
#[test]
fn hosts_are_resolved_neighbours_of_the_members_and_nobody_of_our_own() {
    let mut inventory = inventory();
    give(&mut inventory, 3, "10.0.0.111/24", Some("eth1"), AddressFlags::Permanent);
    let mut neighbour = |ifindex, address: &str, mac, state| {
        inventory.neighbours.insert(
            (ifindex, ip(address)),
            Neighbour { mac, state, router: false, kept: false, ours: false },
        );
    };
    let mac = Some([2, 0, 0, 0, 0, 1]);
    neighbour(2, "10.0.0.1", mac, NeighbourState::Stale);
    neighbour(3, "10.0.0.1", mac, NeighbourState::Reachable);
    neighbour(3, "10.0.0.2", mac, NeighbourState::Reachable);
    neighbour(2, "10.0.0.111", mac, NeighbourState::Reachable);
    neighbour(2, "10.0.0.3", mac, NeighbourState::Failed);
    neighbour(2, "10.0.0.4", None, NeighbourState::Permanent);
    neighbour(2, "224.0.0.22", mac, NeighbourState::Noarp);
    neighbour(9, "10.0.0.5", mac, NeighbourState::Reachable);
    neighbour(2, "fe80::1", mac, NeighbourState::Stale);
    neighbour(2, "2001:db8::1", mac, NeighbourState::Stale);
    assert_eq!(inventory.neighbouring_hosts(&[2, 3], Family::V4), [ip("10.0.0.1"), ip("10.0.0.2")]);
    assert_eq!(inventory.neighbouring_hosts(&[2, 3], Family::V6), [ip("fe80::1")]);
}

fn link_message(ifindex: u32, name: &str, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes = attributes;
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

#[test]
fn a_port_of_a_bridge_is_told_from_one_of_a_vrf() {
    for (kind, swallows) in [(InfoKind::Bridge, true), (InfoKind::Bond, true), (InfoKind::Vrf, false)] {
        let mut inventory = Inventory::default();
        let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind.clone())]);
        let port = link_message(2, "eth0", vec![LinkAttribute::Controller(7)]);
        for message in [link_message(7, "m0", vec![info]), port] {
            inventory.update(RouteNetlinkMessage::NewLink(message));
        }
        let port = inventory.link_by_name("eth0").unwrap();
        assert_eq!(inventory.swallower(port).is_some(), swallows, "{kind:?}");
    }
}

#[test]
fn what_a_bridge_tells_of_its_ports_is_no_news_of_the_interface() {
    let mut inventory = inventory();
    give(&mut inventory, 2, "10.0.0.10/24", None, AddressFlags::Permanent);
    let before = inventory.link(2).cloned();
    let mut message = link_message(2, "eth0", Vec::new());
    message.header.interface_family = AddressFamily::Bridge;
    for message in [RouteNetlinkMessage::NewLink(message.clone()), RouteNetlinkMessage::DelLink(message)] {
        assert_eq!(inventory.update(message), None);
    }
    assert_eq!(inventory.link(2).cloned(), before);
    assert_eq!(inventory.addresses(2).len(), 1);
}

#[test]
fn a_route_in_place_of_the_only_one_is_known_to_have_taken_it() {
    use crate::net::fixtures::{inventory, message, route};
    let mut inventory = inventory();
    let first = route("172.16.0.0/12", 2, Some("10.0.0.1"));
    let key = first.key();
    let by = |gateway| message("172.16.0.0/12", 2, Some(gateway));
    assert!(!inventory.replace_route(by("10.0.0.2")), "what it replaced is not known");
    inventory.update(RouteNetlinkMessage::NewRoute(by("10.0.0.1")));
    assert!(inventory.replace_route(by("10.0.0.2")));
    assert_eq!(inventory.routes[&key], [route("172.16.0.0/12", 2, Some("10.0.0.2"))]);
    inventory.update(RouteNetlinkMessage::NewRoute(by("10.0.0.3")));
    assert!(!inventory.replace_route(by("10.0.0.4")), "one of two");
    assert_eq!(inventory.routes[&key].len(), 2, "left as it is until it is read anew");
}
