use serde_json::json;

use super::*;

fn snapshot(entries: &[Value]) -> Snapshot {
    Snapshot { lines: entries.iter().flat_map(|entry| describe("route", entry)).collect(), of_others: false }
}

#[test]
fn the_remaining_life_of_a_route_does_not_count() {
    let before = snapshot(&[json!({"dst": "default", "expires": 1800})]);
    let after = snapshot(&[json!({"dst": "default", "expires": 1799})]);
    assert_eq!(before.difference(&after), "");
}

#[test]
fn a_flag_counts() {
    let before = snapshot(&[json!({"dst": "default", "flags": []})]);
    let after = snapshot(&[json!({"dst": "default", "flags": ["linkdown"]})]);
    assert!(before.difference(&after).contains("+ route: {\"dst\":\"default\",\"flags\":[\"linkdown\"]}"));
}

#[test]
fn the_order_counts() {
    let (a, b) = (json!({"dst": "a"}), json!({"dst": "b"}));
    let difference = snapshot(&[a.clone(), b.clone()]).difference(&snapshot(&[b, a]));
    assert!(difference.starts_with("only the order differs"), "{difference}");
}

#[test]
fn the_order_of_links_does_not_count_if_it_is_taken_out() {
    let [a, b] = ["eth0", "eth1"].map(|dev| json!({"dst": "fe80::/64", "dev": dev}));
    let other = json!({"dst": "default", "dev": "eth0"});
    let before = snapshot(&[a.clone(), b.clone(), other.clone()]).without_order_of_links();
    let after = |entries: &[Value]| before.difference(&snapshot(entries).without_order_of_links());
    assert_eq!(after(&[other, b, a.clone()]), "");
    assert_ne!(after(&[a]), "");
}

#[test]
fn an_address_is_named_with_its_interface() {
    let entry = json!({"ifname": "eth0", "addr_info": [{"local": "192.0.2.1"}]});
    assert_eq!(
        describe("addr", &entry),
        ["link: {\"ifname\":\"eth0\"}", "address on eth0: {\"local\":\"192.0.2.1\"}"]
    );
}
