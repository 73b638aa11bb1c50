use std::collections::BTreeSet;

use rtnetlink::packet_route::{
    address::AddressFlags,
    route::{RouteAddress, RouteAttribute, RouteProtocol},
};

use ipmp_common::engine::time::Timestamp;

use super::{routes::routes, *};
use crate::net::fixtures::{
    DATA, FOSTER, HOME, at_home, give, inventory, ip, message, set_up, take, texts, wanted,
};
use crate::net::{base::Base, inventory::Inventory};

const NOW: Timestamp = Timestamp(0);

/// Carries a plan out on the inventory, as the kernel would.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other messages pass unchanged")]
fn carry_out(inventory: &mut Inventory, ops: &[Op]) {
    for op in ops {
        let message = op.request().message;
        let Body::Known(message) = message else { panic!("no nexthop object here") };
        if let (Op::ReplaceRoute { .. }, RouteNetlinkMessage::NewRoute(route)) = (op, &message) {
            assert!(inventory.replace_route(route.clone()), "the only one of its list");
            continue;
        }
        inventory.update(match message {
            RouteNetlinkMessage::NewAddress(mut message) => {
                message.attributes.retain_mut(|attribute| {
                    if let AddressAttribute::Flags(flags) = attribute {
                        *flags |= AddressFlags::Permanent;
                    }
                    true
                });
                RouteNetlinkMessage::NewAddress(message)
            }
            other => other,
        });
    }
}

#[test]
fn home_needs_nothing() {
    let (inventory, base) = at_home();
    let wanted = wanted(&DATA, HOME);
    assert_eq!(addresses(&inventory, &base, &wanted, NOW), AddressPlan::default());
    assert_eq!(routes(&inventory, &base, &wanted).all(), []);
}

#[test]
fn failover_adds_before_it_removes_and_repeats_nothing() {
    let (mut inventory, mut base) = at_home();
    let wanted = wanted(&DATA, FOSTER);
    let plan = addresses(&inventory, &base, &wanted, NOW);
    let expected = ["add address 10.0.0.10/24 on ifindex 3", "add address 10.0.0.11/24 on ifindex 3"];
    assert_eq!(texts(&plan.add), expected);
    assert!(!plan.brings_routes, "a foster address brings no connected route of its own");
    // The secondary goes first: with the primary the kernel would delete both.
    let expected = ["delete address 10.0.0.11/24 on ifindex 2", "delete address 10.0.0.10/24 on ifindex 2"];
    assert_eq!(texts(&plan.remove), expected);
    let moves = routes(&inventory, &base, &wanted).all();
    let expected = [
        "put route 10.0.0.0/24 ifindex 3 table 254 metric 0 in the place of 10.0.0.0/24 ifindex 2 table 254 metric 0",
        "put route 0.0.0.0/0 via 10.0.0.1 ifindex 3 table 254 metric 0 in the place of 0.0.0.0/0 via 10.0.0.1 ifindex 2 \
         table 254 metric 0",
    ];
    assert_eq!(texts(&moves), expected);

    for ops in [&plan.add, &moves, &plan.remove] {
        carry_out(&mut inventory, ops);
    }
    base.note_placement(&inventory, &wanted, &BTreeSet::new());
    base.learn(&inventory, &wanted, &BTreeSet::new());
    assert_eq!(addresses(&inventory, &base, &wanted, NOW), AddressPlan::default());
    assert_eq!(routes(&inventory, &base, &wanted).all(), []);
}

#[test]
fn foster_label_begins_with_the_interface_it_is_on() {
    let (inventory, base) = at_home();
    let plan = addresses(&inventory, &base, &wanted(&DATA, FOSTER), NOW);
    let labels: Vec<Option<&str>> = plan
        .add
        .iter()
        .map(|op| if let Op::AddAddress(address) = op { address.label() } else { None })
        .collect();
    assert_eq!(labels, [Some("eth1"), Some("eth1:1")]);
}

/// A daemon that died after it had added an address at home, and before it gave it the flags that it had.
#[test]
fn nodad_that_an_unfinished_homecoming_left_is_cleared() {
    let mut inventory = inventory();
    let data = ["2001:db8::10/64"];
    give(&mut inventory, 2, data[0], None, AddressFlags::Permanent);
    let mut base = Base::default();
    base.learn(&inventory, &wanted(&data, HOME), &BTreeSet::new());
    take(&mut inventory, 2, data[0]);
    give(&mut inventory, 2, data[0], None, AddressFlags::Permanent | AddressFlags::Nodad);
    let plan = addresses(&inventory, &base, &wanted(&data, HOME), NOW);
    assert_eq!(texts(&plan.add), ["set flags and lifetimes of 2001:db8::10/64 on ifindex 2"]);
    assert!(plan.moved.is_empty() && plan.remove.is_empty());
    // Away it has to be so.
    give(&mut inventory, 3, data[0], None, AddressFlags::Permanent | AddressFlags::Nodad);
    assert_eq!(addresses(&inventory, &base, &wanted(&data, FOSTER), NOW).add, []);
}

#[test]
fn failback_uses_the_original_and_clears_nodad() {
    let mut inventory = inventory();
    let data = ["2001:db8::10/64", "2001:db8::11/64"];
    // The kernel lists the newest first.
    give(&mut inventory, 2, "2001:db8::11/64", None, AddressFlags::Permanent);
    give(&mut inventory, 2, "2001:db8::10/64", None, AddressFlags::Permanent);
    let mut base = Base::default();
    base.learn(&inventory, &wanted(&data, HOME), &BTreeSet::new());
    take(&mut inventory, 2, data[0]);
    take(&mut inventory, 2, data[1]);
    let plan = addresses(&inventory, &base, &wanted(&data, HOME), NOW);
    let expected = [
        "add address 2001:db8::10/64 on ifindex 2",
        "set flags and lifetimes of 2001:db8::10/64 on ifindex 2",
        "add address 2001:db8::11/64 on ifindex 2",
        "set flags and lifetimes of 2001:db8::11/64 on ifindex 2",
    ];
    assert_eq!(texts(&plan.add), expected);
    assert!(plan.brings_routes);
    let nodad = |op: &Op| match op {
        Op::AddAddress(a) | Op::SetAddress(a) | Op::DelAddress(a) => a.has_nodad(),
        Op::AddRoute(_)
        | Op::DelRoute(_)
        | Op::ReplaceRoute { .. }
        | Op::SetNexthop(_)
        | Op::AddNeighbour(_)
        | Op::DelNeighbour(_) => false,
    };
    assert_eq!(plan.add.iter().map(nodad).collect::<Vec<_>>(), [true, false, true, false]);
}

#[test]
fn an_address_that_dhcp_renews_is_left_alone() {
    let (mut inventory, base) = at_home();
    take(&mut inventory, 2, "10.0.0.11/24");
    give(&mut inventory, 2, "10.0.0.11/24", None, AddressFlags::empty());
    let mut leased = message("0.0.0.0/0", 2, Some("10.0.0.2"));
    leased.header.protocol = RouteProtocol::Dhcp;
    leased.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(ip("10.0.0.11"))));
    inventory.update(RouteNetlinkMessage::NewRoute(leased));
    let plan = addresses(&inventory, &base, &wanted(&DATA, FOSTER), NOW);
    assert_eq!(texts(&plan.add), ["add address 10.0.0.10/24 on ifindex 3"], "nor is it served twice");
    assert_eq!(texts(&plan.remove), ["delete address 10.0.0.10/24 on ifindex 2"]);
    assert_eq!(plan.left_alone.len(), 1);
}

#[test]
fn nothing_is_put_on_an_interface_that_is_down() {
    let (mut inventory, base) = at_home();
    set_up(&mut inventory, 3, false);
    let wanted = wanted(&DATA, FOSTER);
    let plan = addresses(&inventory, &base, &wanted, NOW);
    assert_eq!((plan.add.len(), plan.remove.len()), (0, 0), "and nothing leaves the old one");
    let said = plan.blocked.iter().filter(|text| text.contains("eth1 is administratively down")).count();
    assert_eq!((said, plan.blocked.len()), (2, 2), "{:?}", plan.blocked);
}

/// `on-group-failure = "fail"`: addresses go wherever they are, routes are left, and all comes back as it was.
#[test]
fn withdrawn_addresses_are_removed_and_return_like_any_that_come_home() {
    let (mut inventory, base) = at_home();
    let wanted = Wanted { withdrawn: vec![HOME, FOSTER], ..wanted(&DATA, HOME) };
    let plan = addresses(&inventory, &base, &wanted, NOW);
    assert_eq!(
        texts(&plan.remove),
        ["delete address 10.0.0.11/24 on ifindex 2", "delete address 10.0.0.10/24 on ifindex 2"]
    );
    assert_eq!((plan.add, plan.blocked, plan.orphans), (vec![], vec![], false));
    assert_eq!(routes(&inventory, &base, &wanted).all(), []);

    // The kernel takes the connected route along; it is not put back while there is no address for it.
    take(&mut inventory, 2, "10.0.0.11/24");
    take(&mut inventory, 2, "10.0.0.10/24");
    inventory.routes.retain(|key, _| key.dst.prefix_len() == 0);
    assert_eq!(addresses(&inventory, &base, &wanted, NOW), AddressPlan::default());
    assert_eq!(routes(&inventory, &base, &wanted).all(), []);

    let wanted = Wanted { withdrawn: vec![], ..wanted };
    let plan = addresses(&inventory, &base, &wanted, NOW);
    assert_eq!(
        texts(&plan.add),
        ["add address 10.0.0.10/24 on ifindex 2", "add address 10.0.0.11/24 on ifindex 2"]
    );
    assert_eq!(plan.moved.len(), 2, "announced");
}

/// eth1 took the addresses, then left the configuration: they are where they were put until they stand on eth0.
#[test]
fn an_address_on_a_former_member_is_removed_once_it_stands_on_a_member() {
    let (mut inventory, mut base) = at_home();
    let foster = wanted(&DATA, FOSTER);
    let plan = addresses(&inventory, &base, &foster, NOW);
    carry_out(&mut inventory, &[plan.add, plan.remove].concat());
    base.note_placement(&inventory, &foster, &BTreeSet::new());
    give(&mut inventory, 3, "10.0.0.20/24", None, AddressFlags::Permanent | AddressFlags::Secondary);
    let mut home = wanted(&DATA, HOME);
    home.members.truncate(1);

    set_up(&mut inventory, 2, false);
    let plan = addresses(&inventory, &base, &home, NOW);
    assert_eq!((plan.add.len(), plan.remove.len()), (0, 0), "eth0 takes nothing now");
    base.note_placement(&inventory, &home, &BTreeSet::new());
    set_up(&mut inventory, 2, true);
    let plan = addresses(&inventory, &base, &home, NOW);
    assert_eq!(
        texts(&plan.remove),
        ["delete address 10.0.0.11/24 on ifindex 3", "delete address 10.0.0.10/24 on ifindex 3"]
    );
    assert_eq!(texts(&plan.bystanders), ["add address 10.0.0.20/24 on ifindex 3"], "not ours, and stays");
    carry_out(&mut inventory, &[plan.add, plan.remove, plan.bystanders].concat());
    base.note_placement(&inventory, &home, &BTreeSet::new());
    assert_eq!(addresses(&inventory, &base, &home, NOW), AddressPlan::default());
    // What somebody puts there now is theirs.
    give(&mut inventory, 3, "10.0.0.10/24", None, AddressFlags::Permanent);
    assert_eq!(addresses(&inventory, &base, &home, NOW), AddressPlan::default());
}

#[test]
fn an_address_on_a_renamed_interface_is_removed_once_it_stands_on_a_member() {
    let (mut inventory, mut base) = at_home();
    base.note_placement(&inventory, &wanted(&DATA, HOME), &BTreeSet::new());
    inventory.links.get_mut(&2).expect("eth0").name = "net0".to_owned();
    let mut foster = wanted(&DATA, FOSTER);
    foster.members.remove(0);
    let plan = addresses(&inventory, &base, &foster, NOW);
    assert_eq!(
        texts(&plan.remove),
        ["delete address 10.0.0.11/24 on ifindex 2", "delete address 10.0.0.10/24 on ifindex 2"]
    );
    assert_eq!(plan.add.len(), 2);
}
