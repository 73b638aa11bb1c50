use rtnetlink::packet_route::route::RouteAddress;

use super::*;
use crate::net::fixtures::{ip, message, route};

#[test]
fn multipath_hops_that_become_equal_are_merged() {
    let hop = |oif: u32, gateway: &str| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = oif;
        hop.attributes.push(RouteAttribute::Gateway(RouteAddress::from(ip(gateway))));
        hop
    };
    let mut multipath = message("0.0.0.0/0", 2, None);
    multipath.attributes.retain(|a| !matches!(a, RouteAttribute::Oif(_)));
    multipath.attributes.push(RouteAttribute::MultiPath(vec![
        hop(2, "10.0.0.1"),
        hop(3, "10.0.0.1"),
        hop(2, "10.0.0.2"),
    ]));
    let merged = Route::from_message(multipath).remove(0).rerouted(|_| 3);
    let gateways: Vec<Option<IpAddr>> = merged.hops().iter().map(|hop| hop.gateway).collect();
    assert_eq!(gateways, [Some(ip("10.0.0.1")), Some(ip("10.0.0.2"))]);
    assert!(merged.hops().iter().all(|hop| hop.oif == 3));
}

#[test]
fn findings_of_the_moment_make_no_other_route() {
    let mut down = message("0.0.0.0/0", 2, Some("10.0.0.1"));
    down.header.flags = RouteFlags::Linkdown | RouteFlags::Dead | RouteFlags::RtOffload;
    assert_eq!(Route::from_message(down).remove(0), route("0.0.0.0/0", 2, Some("10.0.0.1")));
}

#[test]
fn routes_of_others_are_left_alone() {
    let with = |change: &dyn Fn(&mut RouteMessage)| {
        let mut message = message("0.0.0.0/0", 2, Some("10.0.0.1"));
        change(&mut message);
        Route::from_message(message).remove(0).is_left_alone()
    };
    assert!(!with(&|_| {}));
    assert!(with(&|m| m.header.protocol = RouteProtocol::Ra));
    assert!(with(&|m| m.header.protocol = RouteProtocol::Dhcp));
    assert!(with(&|m| m.attributes.push(RouteAttribute::Expires(9))));
    assert!(with(&|m| m.header.kind = RouteType::BlackHole));
    assert!(Route::from_message(message("fe80::/64", 2, None)).remove(0).is_left_alone());
    assert!(Route::from_message(message("ff00::/8", 2, None)).remove(0).is_left_alone());
}

#[test]
fn hops_of_a_nexthop_object_are_no_part_of_a_route() {
    let with = |oif| {
        let mut message = message("0.0.0.0/0", oif, Some("10.0.0.1"));
        message.attributes.push(RouteAttribute::NhId(9));
        Route::from_message(message).remove(0)
    };
    assert_eq!(with(2), with(3));
    assert_eq!((with(2).nexthop_id(), with(2).hops()), (Some(9), vec![]));
    assert_eq!(with(2).resolved_hops(), route("0.0.0.0/0", 2, Some("10.0.0.1")).hops());
    assert!(with(2).uses(2) && !with(2).is_left_alone());
}

#[test]
fn bytes_read_back_as_the_same_route() {
    let original = route("2001:db8::/32", 2, Some("fe80::1"));
    assert_eq!(original.family(), Family::V6);
    assert_eq!(Route::from_bytes(&original.to_bytes()), Some(original));
    assert_eq!(Route::from_bytes(&[1, 2, 3]), None);
    let mut other = message("10.0.0.0/8", 2, None);
    other.header.address_family = AddressFamily::Mpls;
    assert!(Route::from_message(other).is_empty());
}
