use rtnetlink::packet_route::{address::AddressFlags, neighbour::NeighbourState};

use super::*;
use crate::net::fixtures::{give, inventory, ip};

/// Acceptance A12: what a member without any router may probe.
#[test]
fn hosts_are_resolved_neighbours_of_the_members_and_nobody_of_our_own() {
    let mut inventory = inventory();
    give(&mut inventory, 3, "10.0.0.111/24", Some("eth1"), AddressFlags::Permanent);
    let mut neighbour = |ifindex, address: &str, mac, state| {
        inventory
            .neighbours
            .insert((ifindex, ip(address)), Neighbour { mac, state, router: false, kept: false });
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
