use std::collections::BTreeSet;

use ipmp_common::engine::{ids::MemberId, time::Timestamp};
use rtnetlink::packet_route::address::AddressFlags;

use super::*;
use crate::net::{
    address::Address,
    base::Base,
    fixtures::{FOSTER, HOME, give, inventory, set_up, take, wanted},
    plan::{Wanted, addresses},
};

/// So many that they do not go in one exchange: IPv4 first, then IPv6, each of one subnet.
const EACH: usize = 80;

fn data() -> Vec<String> {
    let v4 = (1..=EACH).map(|n| format!("10.0.0.{n}/24"));
    v4.chain((1..=EACH).map(|n| format!("2001:db8::{n:x}/64"))).collect()
}

fn standing_on(ifindex: u32) -> Inventory {
    let mut inventory = inventory();
    for net in &data() {
        give(&mut inventory, ifindex, net, None, AddressFlags::Permanent);
    }
    inventory
}

/// The base as learned at home.
fn base() -> Base {
    let mut base = Base::default();
    base.learn(&standing_on(2), &desired(HOME), &BTreeSet::new());
    base
}

fn desired(on: MemberId) -> Wanted {
    wanted(&data().iter().map(String::as_str).collect::<Vec<_>>(), on)
}

fn stages(inventory: &Inventory, on: MemberId) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let plan = addresses(inventory, &base(), &desired(on), Timestamp(0));
    let (first, later) = plan.stages(inventory);
    let together: Vec<Op> = first.iter().chain(&later).cloned().collect();
    assert_eq!(together.len(), plan.add.len());
    assert!(plan.add.iter().all(|op| together.contains(op)), "nothing is lost");
    let added = |ops: &[Op]| {
        let added =
            ops.iter().filter_map(|op| if let Op::AddAddress(added) = op { Some(added) } else { None });
        added.map(Address::ip).collect()
    };
    (added(&first), added(&later))
}

#[test]
fn few_addresses_go_with_the_routes() {
    let data: Vec<String> = data().into_iter().take(AT_ONCE).collect();
    let desired = wanted(&data.iter().map(String::as_str).take(EACH).collect::<Vec<_>>(), FOSTER);
    let inventory = standing_on(2);
    let plan = addresses(&inventory, &base(), &desired, Timestamp(0));
    assert_eq!(plan.stages(&inventory), (plan.add.clone(), Vec::new()));
}

#[test]
fn many_addresses_that_stand_come_after_the_announcement() {
    let (first, later) = stages(&standing_on(2), FOSTER);
    assert_eq!((first.len(), later.len()), (0, 2 * EACH));
}

#[test]
fn what_stands_nowhere_comes_first_with_those_of_its_family_before_it() {
    let mut inventory = standing_on(2);
    take(&mut inventory, 2, "2001:db8::3/64");
    let (first, later) = stages(&inventory, FOSTER);
    assert!(first.iter().all(IpAddr::is_ipv6) && first.last() == "2001:db8::3".parse().ok().as_ref());
    assert_eq!(first.len() + later.len(), 2 * EACH);
    assert!(later.len() >= EACH, "IPv4 can wait: {later:?}");

    set_up(&mut inventory, 2, false);
    let (first, later) = stages(&inventory, FOSTER);
    assert_eq!((first.len(), later.len()), (2 * EACH, 0), "nothing stands on an interface that is down");
}

#[test]
fn what_brings_a_connected_route_comes_first() {
    let (first, later) = stages(&standing_on(3), HOME);
    assert_eq!((first.len(), later.len()), (2, 2 * EACH - 2), "one of each subnet: {first:?}");
}

#[test]
fn what_was_refused_is_where_it_was() {
    let inventory = standing_on(2);
    let plan = addresses(&inventory, &base(), &desired(FOSTER), Timestamp(0));
    let refused: IpAddr = "10.0.0.7".parse().expect("an address");
    let places = plan.places(&BTreeSet::from([(3, refused)]));
    assert_eq!(places.len(), 2 * EACH);
    assert!(places.iter().all(|(on, ip)| *on == if *ip == refused { 2 } else { 3 }), "{places:?}");
}
