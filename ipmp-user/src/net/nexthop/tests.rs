use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn single(flags: u32, scope: u8) -> Vec<u8> {
    let mut bytes = vec![libc::AF_INET as u8, scope, 4, 0];
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(attribute(OIF, &3_u32.to_ne_bytes()));
    bytes.extend(attribute(ID, &7_u32.to_ne_bytes()));
    bytes.extend(attribute(GATEWAY, &[10, 0, 0, 1]));
    bytes
}

#[test]
fn findings_of_the_moment_do_not_count() {
    let (up, down) = (Nexthop::from_bytes(&single(0, 0)), Nexthop::from_bytes(&single(1 | 16, 253)));
    assert_eq!(up, down);
    let nexthop = up.expect("a nexthop");
    assert_eq!((nexthop.id(), nexthop.oif()), (Some(7), Some(3)));
    assert_eq!(nexthop.gateway(), Some(IpAddr::from([10, 0, 0, 1])));
    assert_eq!(nexthop.to_string(), "id 7 via 10.0.0.1 ifindex 3");
}

#[test]
fn moved_away_and_back_it_is_itself() {
    let nexthop = Nexthop::from_bytes(&single(ONLINK, 0)).expect("a nexthop");
    let away = nexthop.by(9);
    assert_eq!((away.oif(), away.gateway(), away.is_onlink()), (Some(9), nexthop.gateway(), true));
    assert_eq!(away.by(3), nexthop);
    assert_eq!(Nexthop::from_bytes(nexthop.to_bytes()), Some(nexthop));
}

#[test]
fn groups_name_their_members_and_resilient_ones_are_left_alone() {
    let entries = [[7, 0, 0, 0, 0, 0, 0, 0], [8, 0, 0, 0, 1, 0, 0, 0]].concat();
    let mut bytes = vec![0; HEADER];
    bytes.extend(attribute(ID, &9_u32.to_ne_bytes()));
    bytes.extend(attribute(GROUP, &entries));
    let group = Nexthop::from_bytes(&bytes).expect("a group");
    assert_eq!((group.members(), group.oif()), (vec![7, 8], None));
    bytes.extend(attribute(GROUP_TYPE, &[1, 0]));
    assert_eq!(Nexthop::from_bytes(&bytes), None);
}

#[test]
fn cut_short_it_is_nothing() {
    let bytes = single(0, 0);
    for length in 0..bytes.len() {
        let _ = Nexthop::from_bytes(&bytes[..length]);
    }
    assert_eq!(Nexthop::from_bytes(&bytes[..HEADER]), None);
}
