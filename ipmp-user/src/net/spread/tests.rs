use std::{collections::BTreeSet, net::IpAddr};

use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    address::AddressFlags,
    route::{RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};

use super::*;
use crate::net::{
    base::Base,
    fixtures::{DATA, FOSTER, HOME, at_home, give, inventory, ip, message, rule, wanted},
    inventory::Inventory,
    plan::Wanted,
};

const SUBNET: &str = "10.0.0.0/24";

/// Both members may carry flows; the second has a test address in the subnet.
fn spreading(data: &[&str], on: ipmp_common::engine::ids::MemberId) -> Wanted {
    Wanted {
        outbound: if on == HOME { vec![HOME, FOSTER] } else { vec![FOSTER] },
        test: vec![(FOSTER, ip("10.0.0.111"))],
        ..wanted(data, on)
    }
}

fn learned(inventory: &Inventory, wanted: &Wanted) -> Base {
    let mut base = Base::default();
    base.learn(inventory, wanted, &BTreeSet::new());
    base
}

/// The usual host and one route more.
fn with(message: RouteMessage) -> Ways {
    let (mut inventory, _) = at_home();
    inventory.update(RouteNetlinkMessage::NewRoute(message));
    let wanted = spreading(&DATA, HOME);
    ways(&inventory, &learned(&inventory, &wanted), &wanted)
}

fn parts(ways: &Ways) -> Vec<String> {
    let companions = ways.ways.values().flat_map(|used| &used.companions);
    companions.map(|companion| companion.key().dst.to_string()).collect()
}

const USUAL: [&str; 2] = ["10.0.0.0/24", "0.0.0.0/0"];

/// All changes made, and the result.
fn carried_out(mut ours: Ours, changes: &[Change]) -> Ours {
    for change in changes {
        ours.note(change);
    }
    ours
}

#[test]
fn b29_connected_and_gateway_routes_are_spread() {
    let (inventory, base) = at_home();
    let ways = ways(&inventory, &base, &spreading(&DATA, HOME));
    assert_eq!(parts(&ways), USUAL);
    assert_eq!(ways.unspread, BTreeSet::new());
    for (way, used) in &ways.ways {
        assert_eq!((used.members.as_slice(), way.subnet), (&[2, 3][..], Some(SUBNET.parse().unwrap())));
        for companion in &used.companions {
            let route = companion.by(9).expect("a route");
            assert_eq!(route.prefsrc(), Some(ip("10.0.0.10")), "the source is what it was");
            let dst = route.key().dst;
            assert_eq!(
                (route.nexthop_id(), route.key().table),
                (Some(9), 73_000 + u32::from(dst.prefix_len()))
            );
            assert_eq!(route.protocol(), RouteProtocol::from(PROTO_IPMP));
            assert_eq!(route.request().header.scope, rtnetlink::packet_route::route::RouteScope::Universe);
        }
    }
}

#[test]
fn b29_routes_of_other_managers_are_left_alone() {
    for protocol in [RouteProtocol::Dhcp, RouteProtocol::Ra] {
        let mut route = message("192.0.2.0/24", 2, Some("10.0.0.1"));
        route.header.protocol = protocol;
        assert_eq!(parts(&with(route)), USUAL);
    }
    assert_eq!(parts(&with(message("192.0.2.0/24", 1, None))), USUAL, "not by a member");
    assert_eq!(parts(&with(message("192.0.2.0/24", 2, Some("10.0.0.1")))).len(), 3);
    assert_eq!(parts(&with(message("192.0.2.7/32", 2, Some("10.0.0.1")))).len(), 3, "to one host");
}

#[test]
fn b29_what_cannot_be_spread_is_told() {
    let mut sourced = message("192.0.2.0/24", 2, Some("10.0.0.1"));
    sourced
        .attributes
        .push(RouteAttribute::PrefSource("10.0.0.110".parse::<std::net::Ipv4Addr>().unwrap().into()));
    let mut marked = message("192.0.2.0/24", 2, Some("10.0.0.1"));
    marked.attributes.push(RouteAttribute::Mark(7));
    let mut by_service = message("0.0.0.0/0", 2, Some("10.0.0.1"));
    by_service.header.tos = 8;
    let mut by_rule = message("192.0.2.0/24", 2, Some("10.0.0.1"));
    by_rule.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Table(_)));
    by_rule.attributes.push(RouteAttribute::Table(100));
    for (route, why) in [
        (by_rule, "another table than main"),
        (sourced, "its source is no data address"),
        (marked, "attributes"),
        (message("192.0.2.0/24", 2, None), "its destination is no data subnet"),
        (message("192.0.2.0/24", 2, Some("172.16.0.1")), "its gateway is in no data subnet"),
    ] {
        let ways = with(route);
        assert_eq!(parts(&ways), USUAL, "{why}");
        assert!(ways.unspread.iter().any(|text| text.contains(why)), "{why}: {:?}", ways.unspread);
    }
    let mut thrown = message("192.0.2.0/24", 0, None);
    thrown.header.kind = RouteType::Throw;
    thrown.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Oif(_)));
    let mut in_ours = message("192.0.2.0/24", 1, None);
    in_ours.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Table(_)));
    in_ours.attributes.push(RouteAttribute::Table(TABLES));
    for (route, why) in [
        (by_service, "type of service"),
        (thrown, "of type throw"),
        (in_ours, "somebody else uses the table"),
    ] {
        let ways = with(route);
        assert_eq!(parts(&ways), USUAL[..1], "{why}");
        assert!(ways.unspread.iter().any(|text| text.contains(why)), "{why}: {:?}", ways.unspread);
    }
}

/// Those of a family, from the first to the last, as `ip rule` would show them.
fn rules(ours: &Ours, family: Family) -> Vec<String> {
    let rules = ours.rules.iter().filter(|rule| rule.family() == family);
    rules.map(|rule| rule.to_string().split_once(' ').expect("a family").1.to_owned()).collect()
}

const RULES: [&str; 7] = [
    "32765: to 224.0.0.0/3 iif lo goto 32766",
    "32765: iif lo goto 32766 oif eth0",
    "32765: iif lo goto 32766 oif eth1",
    "32765: iif lo suppress_prefixlength 24 lookup 254",
    "32765: iif lo lookup 73024",
    "32765: iif lo suppress_prefixlength 0 lookup 254",
    "32765: iif lo lookup 73000",
];

#[test]
fn b29_rules_stand_right_before_that_of_main() {
    let (mut inventory, base) = at_home();
    let ways = ways(&inventory, &base, &spreading(&DATA, HOME));
    let before = inventory.ours.rules.clone();
    let changes = all(&inventory.ours, &ways, true);
    inventory.ours = carried_out(inventory.ours, &changes);
    let mut all_rules = vec!["0: lookup 255"];
    all_rules.extend(RULES);
    all_rules.extend(["32766: lookup 254", "32767: lookup 253"]);
    assert_eq!(rules(&inventory.ours, Family::V4), all_rules);
    assert_eq!(rules(&inventory.ours, Family::V6).len(), 3, "nothing of IPv6 is spread");
    assert_eq!(all(&inventory.ours, &ways, true), []);

    // Somebody adds one behind ours, and takes one of ours away.
    let foreign = rule(Family::V4, 32765, 100);
    inventory.ours.note(&Change::AddRule(foreign.clone()));
    inventory.ours.rules.remove(2);
    let mended = carried_out(inventory.ours.clone(), &all(&inventory.ours, &ways, true));
    all_rules.insert(1, "32765: lookup 100");
    assert_eq!(rules(&mended, Family::V4), all_rules);
    assert_eq!(all(&mended, &ways, true), []);
    let mut left = carried_out(mended.clone(), &all(&mended, &Ways::default(), true)).rules;
    left.retain(|rule| *rule != foreign);
    assert_eq!(left, before);
}

#[test]
fn b29_without_a_place_for_rules_nothing_is_spread() {
    let (mut inventory, base) = at_home();
    let usual = inventory.ours.rules.clone();
    let unspread = |inventory: &Inventory| {
        let ways = ways(inventory, &base, &spreading(&DATA, HOME));
        assert_eq!(parts(&ways), [] as [&str; 0]);
        ways.unspread.into_iter().collect::<String>()
    };
    inventory.ours.rules.retain(|rule| !rule.is_main());
    assert!(unspread(&inventory).contains("no rule leads all packets"));
    inventory.ours.rules = usual;
    inventory.ours.rules.insert(1, rule(Family::V4, 32766, 100));
    assert!(unspread(&inventory).contains("no room"));
}

/// Its routes are found by the same rules.
#[test]
fn b29_rules_stay_as_long_as_another_daemon_needs_them() {
    let (inventory, base) = at_home();
    let ways = ways(&inventory, &base, &spreading(&DATA, HOME));
    let ours = carried_out(inventory.ours.clone(), &all(&inventory.ours, &ways, true));
    let theirs = ours.by(|_| false);
    assert_eq!(all(&theirs, &Ways::default(), true), []);
    let fewer = Ours { others: [(Family::V4, 0)].into(), ..theirs };
    let left = carried_out(fewer.clone(), &all(&fewer, &Ways::default(), true));
    let kept = [&["0: lookup 255"], &RULES[..3], &RULES[5..], &["32766: lookup 254", "32767: lookup 253"]];
    assert_eq!(rules(&left, Family::V4), kept.concat());
}

#[test]
fn b29_a_better_route_of_somebody_else_is_not_taken_traffic_from() {
    let (mut inventory, _) = at_home();
    let mut worse = message("192.0.2.0/24", 2, Some("10.0.0.1"));
    worse.attributes.push(RouteAttribute::Priority(100));
    inventory.update(RouteNetlinkMessage::NewRoute(worse));
    let wanted = spreading(&DATA, HOME);
    let base = learned(&inventory, &wanted);
    assert_eq!(parts(&ways(&inventory, &base, &wanted)).len(), 3);
    inventory.update(RouteNetlinkMessage::NewRoute(message("192.0.2.0/24", 1, None)));
    assert_eq!(parts(&ways(&inventory, &base, &wanted)), USUAL);
}

#[test]
fn b29_a_group_of_one_has_nothing_to_spread() {
    let (inventory, base) = at_home();
    let mut alone = spreading(&DATA, HOME);
    alone.members.truncate(1);
    alone.outbound.truncate(1);
    assert_eq!(ways(&inventory, &base, &alone), Ways::default());
}

#[test]
fn b29_a_member_that_cannot_ask_neighbours_is_left_out() {
    let (inventory, base) = at_home();
    let silent = Wanted { test: Vec::new(), ..spreading(&DATA, HOME) };
    let ways = ways(&inventory, &base, &silent);
    assert!(ways.ways.values().all(|used| used.members == [2]), "{ways:?}");
    assert_eq!(all(&Ours::default(), &ways, true), [], "one member is nothing to spread over");
}

/// Two members with IPv6 addresses; the route leaves by the second.
#[test]
fn b29_ipv6_the_interface_of_the_route_comes_first() {
    let mut inventory = inventory();
    for (ifindex, addresses) in
        [(2, ["fe80::2/64", "2001:db8::10/64"]), (3, ["fe80::3/64", "2001:db8::11/64"])]
    {
        for address in addresses {
            give(&mut inventory, ifindex, address, None, AddressFlags::Permanent);
        }
    }
    inventory.update(RouteNetlinkMessage::NewRoute(message("::/0", 3, Some("fe80::1"))));
    let mut wanted =
        Wanted { outbound: vec![HOME, FOSTER], ..wanted(&["2001:db8::10/64", "2001:db8::11/64"], HOME) };
    for (placed, member) in wanted.data.iter_mut().zip([HOME, FOSTER]) {
        (placed.home, placed.on) = (member, member);
    }
    let ways = ways(&inventory, &learned(&inventory, &wanted), &wanted);
    assert_eq!(parts(&ways), ["::/0"]);
    let (way, used) = ways.ways.first_key_value().expect("a way");
    assert_eq!((used.members.as_slice(), way.subnet), (&[3, 2][..], None));
    assert!(used.companions.iter().all(|c| c.by(1).expect("a route").prefsrc().is_none()));
}

#[test]
fn b29_what_stands_needs_nothing_and_a_restart_adopts_it() {
    let (inventory, base) = at_home();
    let ways = ways(&inventory, &base, &spreading(&DATA, HOME));
    let nothing = inventory.ours;
    let changes = all(&nothing, &ways, true);
    // Two objects and a group for the subnet and for the gateway, two routes, and the rules.
    assert_eq!(changes.len(), 8 + RULES.len(), "{changes:?}");
    let ours = carried_out(nothing.clone(), &changes);
    assert_eq!(all(&ours, &ways, true), []);
    assert_eq!(all(&ours, &ways, false), [], "the kind of a group stays");
    assert_eq!(all(&ours, &Ways::default(), true).len(), changes.len(), "all goes");
    assert_eq!(carried_out(ours.clone(), &all(&ours, &Ways::default(), true)), nothing);
}

#[test]
fn b29_a_lost_member_costs_one_message_a_group_and_the_last_keeps_its_group() {
    let (inventory, base) = at_home();
    let home = ways(&inventory, &base, &spreading(&DATA, HOME));
    let ours = carried_out(inventory.ours.clone(), &all(&inventory.ours, &home, true));
    let away = ways(&inventory, &base, &spreading(&DATA, FOSTER));
    let narrowed = narrowing(&ours, &away);
    assert!(
        narrowed.len() == 2 && narrowed.iter().all(|change| matches!(change, Change::Alter(_))),
        "{narrowed:?}"
    );
    let ours = carried_out(ours, &narrowed);
    assert_eq!(
        claims(&ours, &away).values().map(|group| ours.interfaces(*group)).collect::<Vec<_>>(),
        [[3], [3]]
    );
    let rest = all(&ours, &away, true);
    assert!(rest.len() == 2 && rest.iter().all(|change| matches!(change, Change::Drop(_))), "{rest:?}");
    let ours = carried_out(ours, &rest);
    // Back again: nothing to be narrowed, and everything is made as it was.
    assert_eq!(narrowing(&ours, &home), []);
    let ours = carried_out(ours.clone(), &all(&ours, &home, true));
    assert_eq!(all(&ours, &home, true), []);
    assert!(claims(&ours, &home).values().all(|group| ours.interfaces(*group) == [2, 3]));
}

#[test]
fn b29_what_another_daemon_made_is_not_ours() {
    let (inventory, base) = at_home();
    let ways = ways(&inventory, &base, &spreading(&DATA, HOME));
    let ours = carried_out(inventory.ours.clone(), &all(&inventory.ours, &ways, true));
    let foreign = ours.by(|ifindex| ifindex == 2);
    assert!(foreign.routes.is_empty(), "{foreign:?}");
    assert_eq!(ours.by(|ifindex| [2, 3].contains(&ifindex)), ours);
    // Its numbers are not used again.
    let taken = foreign.taken.clone();
    let made = all(&Ours { taken: taken.clone(), ..Ours::default() }, &ways, true);
    let fresh =
        made.iter().filter_map(|change| if let Change::Make(object) = change { object.id() } else { None });
    assert!(fresh.into_iter().all(|id| !taken.contains(&id)));
}

#[test]
fn b29_ours_are_not_among_the_routes_of_others() {
    let (mut inventory, base) = at_home();
    let others = inventory.routes.clone();
    let ways = ways(&inventory, &base, &spreading(&DATA, HOME));
    let routes: Vec<Route> =
        ways.ways.values().flat_map(|used| &used.companions).filter_map(|c| c.by(7)).collect();
    for route in &routes {
        inventory.update(RouteNetlinkMessage::NewRoute(route.request()));
    }
    assert_eq!(inventory.routes, others);
    assert_eq!(inventory.ours.routes.values().collect::<Vec<_>>().len(), routes.len());
    for route in &routes {
        assert_eq!(inventory.ours.routes.get(&route.key()), Some(route));
        inventory.update(RouteNetlinkMessage::DelRoute(route.request()));
    }
    assert!(inventory.ours.routes.is_empty());
}

#[test]
fn requests_read_back_as_themselves() {
    let gateway: IpAddr = ip("10.0.0.1");
    for object in [
        Nexthop::single(5, false, 2, Some(gateway)),
        Nexthop::single(6, true, 3, None),
        Nexthop::group(7, &[5, 6], true),
        Nexthop::group(8, &[5, 6], false),
    ] {
        assert_eq!(Nexthop::from_bytes(&object.creation(4, 100)), Some(object.clone()), "{object}");
        assert_eq!(object.protocol(), PROTO_IPMP);
    }
    assert_eq!(Nexthop::group(7, &[5, 6], true).members(), [5, 6]);
}
