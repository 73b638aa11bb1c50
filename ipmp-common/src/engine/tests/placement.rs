//! Which address where, and telling the neighbours: sections 9.2 and 15 of the behaviour.

use alloc::{collections::BTreeMap, vec::Vec};
use core::net::IpAddr;

use super::harness::{GROUP, Lab, Setup, a, b, c, ms, secs};
use crate::engine::{
    action::{Action, PlacedAddress},
    config::Announcements,
    event::{Applied, Event, Hardware},
    foreign::{Class, Culprit},
    ids::{Family, MemberId},
    moves::{BURST, BURST_INTERVAL},
    place,
    reason::{Kind, Reason},
    time::{Nanos, Timestamp},
};

fn placed(home: MemberId, on: MemberId, host: u8) -> PlacedAddress {
    let address = alloc::format!("198.51.100.{host}/24").parse().expect("an address");
    PlacedAddress { address, home, on }
}

fn hosts(addresses: &[PlacedAddress]) -> Vec<MemberId> {
    addresses.iter().map(|address| address.on).collect()
}

/// Every member carries both families.
const ANY: fn(MemberId, Family) -> bool = |_, _| true;

#[test]
fn a47_the_member_with_the_fewest_addresses_takes_over() {
    let addresses = [placed(a(), a(), 1), placed(b(), b(), 2), placed(b(), b(), 3), placed(c(), c(), 4)];
    assert_eq!(hosts(&place(&addresses, &[b(), c()], ANY)), [c(), b(), b(), c()]);
}

#[test]
fn a47_several_addresses_are_spread() {
    let mut lab = Lab::settled(Setup::probed(3).addresses(a(), 4));
    lab.set_carrier(a(), false);
    lab.turn();
    assert_eq!(lab.places(), [b(), c(), b(), c(), b(), c()]);
}

#[test]
fn the_earlier_configured_member_wins_a_tie() {
    assert_eq!(hosts(&place(&[placed(a(), a(), 1)], &[b(), c()], ANY)), [b()]);
}

#[test]
fn an_address_goes_home_or_stays() {
    let addresses = [placed(a(), c(), 1), placed(b(), c(), 2)];
    assert_eq!(hosts(&place(&addresses, &[a(), c()], ANY)), [a(), c()], "one is home again, one stays");
    assert_eq!(hosts(&place(&addresses, &[], ANY)), [c(), c()], "nowhere better");
}

#[test]
fn an_address_avoids_a_member_without_its_family() {
    let v6 = |home, on| PlacedAddress { address: "2001:db8::1/64".parse().expect("an address"), home, on };
    let without_v6_on = |member| move |other, family| other != member || family == Family::V4;
    let addresses = [placed(a(), a(), 1), v6(a(), a())];
    assert_eq!(hosts(&place(&addresses, &[b(), c()], without_v6_on(b()))), [b(), c()]);
    assert_eq!(hosts(&place(&addresses, &[a(), b()], without_v6_on(a()))), [a(), b()], "not even at home");
    assert_eq!(
        hosts(&place(&[v6(a(), c())], &[a(), c()], without_v6_on(a()))),
        [c()],
        "so it does not go home"
    );
    assert_eq!(hosts(&place(&addresses, &[b()], without_v6_on(b()))), [b(), a()], "nowhere better");
}

#[test]
fn a_family_that_is_disabled_moves_its_addresses_and_their_return_brings_them_back() {
    let mut lab = Lab::settled(Setup::probed(3).addresses(a(), 2));
    let hardware = |ipv6| Hardware { mac: None, mtu: 1500, link_type: 1, ipv4: true, ipv6 };
    for member in [a(), b(), c()] {
        lab.tell(Event::Hardware { member, hardware: hardware(true) });
    }
    lab.turn();
    lab.tell(Event::Hardware { member: a(), hardware: hardware(false) });
    lab.turn();
    assert_eq!(lab.places(), [a(), b(), b(), c()], "IPv4 stays, IPv6 goes");
    lab.tell(Event::Hardware { member: b(), hardware: hardware(false) });
    lab.turn();
    assert_eq!(lab.places(), [a(), c(), b(), c()]);
    lab.tell(Event::Hardware { member: a(), hardware: hardware(true) });
    lab.turn();
    assert_eq!(lab.places(), [a(), a(), b(), c()]);
}

#[test]
fn a58_failback_restores_every_place() {
    let mut lab = Lab::settled(Setup::probed(3).addresses(a(), 3).addresses(b(), 2));
    let before = lab.places();
    for member in [a(), b()] {
        lab.cut(member);
        lab.run(secs(2));
        assert_ne!(lab.places(), before);
    }
    lab.mend(a());
    lab.mend(b());
    lab.run(secs(3));
    assert_eq!(lab.places(), before);
}

/// When each address was announced to the neighbours, the announcement within the placement included.
fn announcements_of(lab: &Lab) -> BTreeMap<IpAddr, Vec<(MemberId, Timestamp)>> {
    let mut times: BTreeMap<IpAddr, Vec<(MemberId, Timestamp)>> = BTreeMap::new();
    for record in lab.records(Kind::Moved) {
        let at = record.announced_at.expect("an announced move");
        let address = record.address.expect("a move concerns an address").addr();
        times.entry(address).or_default().push((record.member.expect("a host"), at));
    }
    for (at, action) in &lab.actions {
        if let Action::Announce { addresses, member } = action {
            for address in addresses {
                times.entry(*address).or_default().push((*member, *at));
            }
        }
    }
    times
}

/// So many addresses were announced: five times those of IPv4, three times those of IPv6. Returns when.
fn announced_in_full(lab: &Lab, addresses: usize) -> Vec<Vec<(MemberId, Timestamp)>> {
    let times = announcements_of(lab);
    assert_eq!(times.len(), addresses, "{times:?}");
    for (address, times) in &times {
        assert_eq!(times.len(), if address.is_ipv4() { 5 } else { 3 }, "{address}");
    }
    times.into_values().collect()
}

#[test]
fn announcements_are_five_for_ipv4_and_three_for_ipv6_two_seconds_apart() {
    let mut lab = Lab::settled(Setup::probed(2).addresses(a(), 2));
    lab.run(secs(20));
    lab.forget_history();
    lab.set_carrier(a(), false);
    lab.run(secs(30));
    for times in announced_in_full(&lab, 2) {
        assert!(times.iter().all(|(member, _)| *member == b()));
        assert!(times.windows(2).all(|pair| pair[1].1.since(pair[0].1) == secs(2)), "{times:?}");
    }
    assert_eq!(lab.count(Kind::Announced, b()), 1);
}

#[test]
fn announcements_are_as_many_as_configured() {
    let announcements = Announcements { ipv4: 2, ipv6: 1, interval: ms(500) };
    let mut lab = Lab::settled(Setup { announcements, ..Setup::probed(2).addresses(a(), 2) });
    lab.run(secs(20));
    lab.forget_history();
    lab.set_carrier(a(), false);
    lab.run(secs(30));
    let times = announcements_of(&lab);
    assert_eq!(times.len(), 2);
    for (address, times) in times {
        assert_eq!(times.len(), if address.is_ipv4() { 2 } else { 1 }, "{address}");
        assert!(times.windows(2).all(|pair| pair[1].1.since(pair[0].1) == ms(500)), "{times:?}");
    }
}

#[test]
fn many_addresses_are_announced_again_in_bursts() {
    let mut lab = Lab::settled(Setup::probed(2).addresses(a(), 2 * BURST + 1));
    lab.run(secs(20));
    lab.forget_history();
    lab.set_carrier(a(), false);
    lab.run(secs(30));
    let bursts: Vec<(Timestamp, usize)> = lab
        .actions
        .iter()
        .filter_map(|(at, action)| {
            if let Action::Announce { addresses, .. } = action { Some((*at, addresses.len())) } else { None }
        })
        .collect();
    assert!(bursts.iter().all(|(_, addresses)| *addresses <= BURST), "{bursts:?}");
    assert!(bursts.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= BURST_INTERVAL), "{bursts:?}");
    announced_in_full(&lab, 2 * BURST + 1);
}

#[test]
fn a_neighbour_with_another_hardware_address_is_told_but_causes_no_storm() {
    let mut lab = Lab::settled(Setup::link_only(2).addresses(a(), 2));
    lab.run(secs(20));
    lab.forget_history();
    for _ in 0..100 {
        lab.tell(Event::NeighbourMoved { member: a() });
        lab.run(ms(10));
    }
    lab.run(secs(30));
    // What is on the other member is not for this neighbour.
    for times in announced_in_full(&lab, 2) {
        assert!(times.iter().all(|(member, _)| *member == a()), "{times:?}");
    }
}

/// The only member keeps its addresses whatever happens, and what is behind its link may be another switch.
#[test]
fn what_stands_on_a_link_that_returns_is_announced_again() {
    let mut lab = Lab::settled(Setup::link_only(1).addresses(a(), 2));
    lab.run(secs(20));
    lab.forget_history();
    lab.set_carrier(a(), false);
    lab.run(secs(1));
    assert_eq!(announcements_of(&lab), BTreeMap::new(), "nobody would hear it");
    lab.set_carrier(a(), true);
    let returned_at = lab.now;
    lab.run(secs(30));
    for times in announced_in_full(&lab, 2) {
        assert_eq!(times[0], (a(), returned_at));
    }
}

#[test]
fn a_new_hardware_address_is_announced() {
    let mut lab = Lab::settled(Setup::link_only(2).addresses(a(), 2));
    lab.run(secs(20));
    let with_mac = |last| {
        let mac = Some([2, 0, 0, 0, 0, last]);
        Event::Hardware {
            member: a(),
            hardware: Hardware { mac, mtu: 1500, link_type: 1, ipv4: true, ipv6: true },
        }
    };
    lab.tell(with_mac(0x77));
    lab.forget_history();
    lab.tell(with_mac(0x78));
    lab.run(secs(30));
    // What is on the other member has not changed.
    for times in announced_in_full(&lab, 2) {
        assert!(times.iter().all(|(member, _)| *member == a()), "{times:?}");
    }
}

#[test]
fn an_address_that_moves_on_is_no_longer_announced_from_where_it_was() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.run(secs(20));
    lab.set_carrier(a(), false);
    lab.run(secs(3));
    lab.set_carrier(a(), true);
    assert!(lab.run_until(secs(3), |lab| lab.places() == [a(), b()]));
    lab.run(ms(1));
    lab.forget_history();
    lab.run(secs(20));
    let times = announcements_of(&lab);
    assert_eq!(times.values().map(Vec::len).collect::<Vec<_>>(), [4]);
    assert!(times.values().flatten().all(|(member, _)| *member == a()));
}

#[test]
fn a_move_is_told_with_its_whole_story() {
    let mut lab = Lab::settled(Setup::probed(2));
    let applied_after = lab.setup.apply_delay;
    lab.set_carrier(a(), false);
    let pulled = lab.now;
    lab.run(ms(1));
    let moved = &lab.records(Kind::Moved)[0];
    assert_eq!((moved.member, moved.reason.clone()), (Some(b()), Reason::Failover { from: a() }));
    assert_eq!((moved.evidence_at, moved.decided_at), (Some(pulled), Some(pulled)));
    assert_eq!(
        (moved.applied_at, moved.announced_at),
        (Some(pulled + applied_after), Some(pulled + applied_after))
    );
}

#[test]
fn a_probe_failure_gives_the_last_good_reply_as_evidence() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.cut(a());
    let cut = lab.now;
    lab.run(secs(2));
    let moved = &lab.records(Kind::Moved)[0];
    let evidence = moved.evidence_at.expect("it had answered");
    assert!(evidence <= cut && evidence + lab.setup.fdt > cut);
}

#[test]
fn a_move_overtaken_by_another_is_not_told() {
    let mut setup = Setup::link_only(2);
    setup.apply_delay = ms(20);
    let mut lab = Lab::settled(setup);
    lab.set_carrier(a(), false);
    lab.run(ms(10));
    lab.set_carrier(a(), true);
    lab.run(secs(1));
    let moved = lab.records(Kind::Moved);
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!(moved[0].reason, Reason::Failback { from: b() });
}

#[test]
fn of_many_moves_only_the_one_that_took_place_is_told() {
    let mut setup = Setup::link_only(3);
    setup.apply_delay = ms(20);
    let mut lab = Lab::settled(setup);
    // There, back, and there again before the first placement is done.
    lab.set_carrier(a(), false);
    lab.run(ms(1));
    lab.set_carrier(a(), true);
    lab.run(ms(1));
    lab.set_carrier(a(), false);
    let last = lab.now;
    lab.run(secs(1));
    let moved = lab.records(Kind::Moved);
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!((moved[0].decided_at, moved[0].applied_at), (Some(last), Some(last + ms(20))));
}

/// After a restart the addresses stand where an earlier run has put them.
#[test]
fn a_move_that_found_everything_in_its_place_is_none() {
    for changes in [0, 1] {
        let mut setup = Setup::probed(2);
        setup.apply_delay = secs(1000);
        let mut lab = Lab::settled(setup.absent(a()));
        assert_eq!(lab.places(), [b(), b()]);
        let applied =
            Applied { group: GROUP, epoch: 1, applied_at: lab.now, announced_at: Some(lab.now), changes };
        lab.tell(Event::Applied(applied));
        lab.turn();
        assert_eq!(lab.records(Kind::Moved).len(), changes as usize);
        assert_eq!(lab.records(Kind::Announced).len(), 1, "the neighbours are told all the same");
    }
}

#[test]
fn what_the_kernel_refuses_is_told() {
    let mut lab = Lab::settled(Setup::link_only(2));
    let what = "add 198.51.0.10/24 to eth1".into();
    lab.tell(Event::ApplyFailed { group: GROUP, epoch: 1, what, errno: 105 });
    lab.turn();
    let told = lab.records(Kind::ActionFailed);
    assert!(matches!(&told[0].reason, Reason::Errno { errno: 105, what } if what.contains("198.51.0.10")));
}

/// The daemon tries again, every minute at last.
#[test]
fn what_is_refused_again_and_again_is_told_once() {
    let mut lab = Lab::settled(Setup::link_only(2));
    let mut told = |epoch, errno| {
        lab.tell(Event::ApplyFailed { group: GROUP, epoch, what: "it".into(), errno });
        lab.run(Nanos::from_secs(60));
        lab.records(Kind::ActionFailed).len()
    };
    for _ in 0..10 {
        assert_eq!(told(1, 105), 1);
    }
    assert_eq!(told(1, 28), 2, "for another reason");
    assert_eq!(told(2, 105), 3, "another placement");
    for _ in 0..3 {
        assert_eq!(told(2, 28), 4);
    }
    assert_eq!(told(2, 105), 5, "it had not failed for a while");
}

#[test]
fn what_others_changed_is_told_and_counted() {
    let mut lab = Lab::settled(Setup::link_only(2));
    let by = |class, program: Option<&str>| {
        let program = program.map(Into::into);
        alloc::vec![Culprit { class, pid: program.as_ref().map(|_| 812), program }]
    };
    let told = [
        by(Class::NetworkManager, Some("NetworkManager")),
        by(Class::Command, None),
        by(Class::LinkDown, None),
        Vec::new(),
    ];
    for by in told {
        lab.tell(Event::PutBack { group: GROUP, changes: 2, by });
        lab.turn();
    }
    let texts: Vec<_> = lab
        .records(Kind::PutBack)
        .iter()
        .map(|record| alloc::string::ToString::to_string(&record.reason))
        .collect();
    assert_eq!(
        texts,
        [
            "changed by NetworkManager (NetworkManager, process 812); requests: 2, times so far: 1",
            "changed by a command that has ended; requests: 2, times so far: 2",
            "changed by the kernel, because an interface was set down; requests: 2, times so far: 3",
            "changed by unknown (the kernel does not say); requests: 2, times so far: 4",
        ]
    );
    assert_eq!(lab.engine.snapshot(lab.now).groups[0].put_back, 4);
}

#[test]
fn results_of_unknown_placements_are_ignored() {
    let mut lab = Lab::settled(Setup::link_only(2));
    lab.run(secs(20));
    lab.forget_history();
    let (group, at) = (GROUP, Timestamp(0));
    for epoch in [0, u64::MAX] {
        let applied = Applied { group, epoch, applied_at: at, announced_at: Some(at), changes: 0 };
        lab.tell(Event::Applied(applied));
    }
    lab.run(Nanos(0));
    lab.turn();
    assert_eq!(lab.records(Kind::Moved).len(), 0);
}
