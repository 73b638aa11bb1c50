use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{GroupId, MemberId},
};

use super::*;
use crate::net::plan::MemberLink;

const IGMP: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
4\teth0      :     2      V3
\t\t\t\t030201EF     1 0:00000000\t\t0
\t\t\t\t010000E0     1 0:00000000\t\t0
";

fn at(ifindex: u32, group: &str) -> (u32, IpAddr) {
    (ifindex, group.parse().unwrap())
}

#[cfg(target_endian = "little")]
#[test]
fn the_kernels_tables_are_read() {
    let wanted = [at(1, "224.0.0.1"), at(4, "224.0.0.1"), at(4, "239.1.2.3")];
    assert_eq!(parse_v4(IGMP), BTreeSet::from(wanted));
    let line = "4    eth0            ff0500000000000000000000000000ab     1 00000004 0";
    assert_eq!(parse_v6(line), Some(at(4, "ff05::ab")));
    assert_eq!((parse_v6(""), parse_v4("").len()), (None, 0));
}

#[test]
fn what_programs_joined_is_wanted_where_the_traffic_is() {
    let joined = BTreeSet::from([
        at(4, "239.1.2.3"),
        at(4, "239.1.2.4"),
        at(4, "224.0.0.1"),
        at(4, "ff02::1:ff00:10"),
        at(4, "ff02::1"),
        at(4, "ff05::ab"),
        at(5, "239.1.2.4"),
        at(5, "239.9.9.9"),
    ]);
    let pairs = BTreeSet::from([(4, 5)]);
    let wanted = BTreeSet::from([at(5, "239.1.2.3"), at(5, "ff05::ab")]);
    assert_eq!(desired(&joined, &Joined::new(), &pairs), wanted, "what is there already is a program's");
    let held = wanted.clone();
    let after: Joined = joined.union(&held).copied().collect();
    assert_eq!(desired(&after, &held, &pairs), wanted, "the same again");
    let back = BTreeSet::from([(5, 4)]);
    assert_eq!(desired(&after, &held, &back), BTreeSet::from([at(4, "239.9.9.9")]), "ours are nobody's");
}

#[test]
fn the_stand_in_has_the_addresses_or_is_usable() {
    let link = |number| MemberLink { group: GroupId(0), member: MemberId(number), ifindex: 4 + number };
    let mut wanted = Wanted { members: (0..3).map(link).collect(), ..Wanted::default() };
    assert_eq!(stand_ins(&wanted), BTreeSet::new());
    wanted.unusable = vec![MemberId(0)];
    assert_eq!(stand_ins(&wanted), BTreeSet::from([(4, 5)]));
    let address = "192.0.2.1/24".parse().unwrap();
    wanted.data = vec![PlacedAddress { address, home: MemberId(0), on: MemberId(2) }];
    assert_eq!(stand_ins(&wanted), BTreeSet::from([(4, 6)]));
    wanted.unusable = (0..3).map(MemberId).collect();
    assert_eq!(stand_ins(&wanted), BTreeSet::new(), "nobody is left");
}
