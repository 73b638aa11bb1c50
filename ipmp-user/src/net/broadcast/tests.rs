use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    address::AddressFlags,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};

use super::*;
use crate::net::fixtures::{FOSTER, HOME, give, inventory, ip, message, texts, wanted};

fn entry(oif: u32, source: &str) -> RouteMessage {
    let mut message = message("10.0.0.255/32", oif, None);
    message.header.table = 255;
    message.header.kind = RouteType::Broadcast;
    message.attributes.retain(|a| !matches!(a, RouteAttribute::Table(_)));
    message.attributes.push(RouteAttribute::Table(255));
    message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(ip(source))));
    message
}

fn learn_into(base: &mut Base, inventory: &Inventory, before: &Wanted) {
    let mut broadcasts = std::mem::take(&mut base.broadcasts);
    learn(&mut broadcasts, inventory, before, base);
    base.broadcasts = broadcasts;
}

#[test]
fn entry_of_an_address_that_comes_home_is_first_again() {
    let mut inventory = inventory();
    let mut base = Base::default();
    for (oif, source) in [(2, "10.0.0.10"), (3, "10.0.0.20")] {
        inventory.update(RouteNetlinkMessage::NewRoute(entry(oif, source)));
    }
    let (home, away) = (wanted(&["10.0.0.10/24"], HOME), wanted(&["10.0.0.10/24"], FOSTER));
    learn_into(&mut base, &inventory, &home);
    assert_eq!(restore_order(&inventory, &base), []);

    inventory.update(RouteNetlinkMessage::DelRoute(entry(2, "10.0.0.10")));
    learn_into(&mut base, &inventory, &away);
    assert_eq!(restore_order(&inventory, &base), [], "nothing can be done while it is away");

    inventory.update(RouteNetlinkMessage::NewRoute(entry(2, "10.0.0.10")));
    learn_into(&mut base, &inventory, &away);
    let sibling = "route 10.0.0.255/32 ifindex 3 table 255 metric 0 src 10.0.0.20";
    let expected = [format!("delete {sibling}"), format!("add {sibling}")];
    assert_eq!(texts(&restore_order(&inventory, &base)), expected);
}

#[test]
fn order_that_somebody_changed_at_home_is_the_new_one() {
    let mut inventory = inventory();
    let mut base = Base::default();
    let home = wanted(&["10.0.0.10/24"], HOME);
    for (oif, source) in [(2, "10.0.0.10"), (3, "10.0.0.20")] {
        give(&mut inventory, oif, &format!("{source}/24"), None, AddressFlags::Permanent);
        inventory.update(RouteNetlinkMessage::NewRoute(entry(oif, source)));
    }
    learn_into(&mut base, &inventory, &home);
    inventory.update(RouteNetlinkMessage::DelRoute(entry(2, "10.0.0.10")));
    inventory.update(RouteNetlinkMessage::NewRoute(entry(2, "10.0.0.10")));
    learn_into(&mut base, &inventory, &home);
    assert_eq!(restore_order(&inventory, &base), []);
}

/// As when all members fail and the addresses are withdrawn.
#[test]
fn entries_of_addresses_that_are_nowhere_keep_their_order() {
    let mut inventory = inventory();
    let mut base = Base::default();
    let home = wanted(&["10.0.0.10/24", "10.0.0.20/24"], HOME);
    for source in ["10.0.0.20", "10.0.0.10"] {
        give(&mut inventory, 2, &format!("{source}/24"), None, AddressFlags::Permanent);
        inventory.update(RouteNetlinkMessage::NewRoute(entry(2, source)));
    }
    learn_into(&mut base, &inventory, &home);
    let known = base.broadcasts.clone();
    inventory.addresses.clear();
    inventory.broadcasts.clear();
    learn_into(&mut base, &inventory, &home);
    assert_eq!(base.broadcasts, known);
}
