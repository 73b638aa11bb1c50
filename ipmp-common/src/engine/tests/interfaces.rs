//! Interfaces that are missing, vanish, appear and change: sections B and 10 of the requirements.

use alloc::{vec, vec::Vec};
use core::net::{IpAddr, Ipv6Addr};

use super::harness::{GROUP, Lab, Setup, a, b, ms, secs};
use crate::engine::{
    Engine,
    action::Action,
    event::{Event, Presence},
    ids::{Family, MemberId},
    reason::{Kind, Reason},
    snapshot::{ProbeState, ShownState},
    time::Timestamp,
};

#[test]
fn b22_a_member_that_is_missing_at_start_is_told_and_covered() {
    let mut lab = Lab::settled(Setup::probed(2).absent(a()));
    assert_eq!((lab.state(a()), lab.count(Kind::Absent, a())), (ShownState::Absent, 1));
    assert_eq!(lab.places(), [b(), b()]);
    lab.run(secs(60));
    assert_eq!(lab.count(Kind::Absent, a()), 1, "told once");
}

#[test]
fn b27_a_member_that_appears_later_gets_its_addresses() {
    for setup in [Setup::probed(2).absent(a()), Setup::link_only(2).absent(a())] {
        let mut lab = Lab::settled(setup);
        lab.appear(a());
        lab.run(secs(3));
        assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, [a(), b()].into()));
        assert_eq!(lab.count(Kind::Present, a()), 1);
    }
}

#[test]
fn b20_a_member_that_returns_serves_when_it_is_proved_to_work() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.vanish(a());
    let vanished = lab.now;
    lab.run(secs(1));
    assert_eq!(lab.places(), [b(), b()]);
    assert_eq!(lab.records(Kind::Moved)[0].evidence_at, Some(vanished));
    lab.cut(a());
    lab.forget_history();
    lab.appear(a());
    lab.run(secs(30));
    assert_eq!(lab.places(), [b(), b()], "its path is dead");
    assert_eq!(lab.records(Kind::Moved).len(), 0, "so nothing was moved there even for a moment");
    lab.mend(a());
    lab.run(secs(2));
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, [a(), b()].into()));
}

#[test]
fn a_restart_moves_nothing_onto_a_member_that_an_earlier_run_found_dead() {
    let now = Timestamp(1_000_000_000);
    let mut fresh = Engine::new(Setup::probed(2).config());
    for (member, displaced) in [(a(), true), (b(), false)] {
        let presence =
            Presence { member, ifindex: 10 + member.0, link_up: Some(true), adopted: vec![], displaced };
        fresh.handle(now, Event::InterfacePresent(presence));
    }
    fresh.handle(now, Event::Judge);
    let mut placements = vec![];
    while let Some(action) = fresh.poll_action() {
        if let Action::SetPlacement(placement) = action {
            placements.push(placement);
        }
    }
    let on: Vec<_> = placements.iter().flat_map(|placement| &placement.data).map(|data| data.on).collect();
    assert_eq!(on, [b(), b()], "it serves when its path is proved");
}

#[test]
fn b20_a_member_that_returns_without_failback_rests() {
    let mut lab = Lab::settled(Setup::probed(2).standby(b()).without_failback());
    lab.vanish(a());
    lab.run(secs(1));
    lab.appear(a());
    lab.run(secs(3));
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, [b()].into()));
    assert!(!lab.member(a()).active);
}

#[test]
fn a_member_that_returns_waits_for_its_test_address_but_not_for_ever() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.vanish(a());
    lab.run(secs(1));
    lab.setup.members[0].v4 = false;
    lab.appear(a());
    lab.run(secs(19));
    assert_eq!(lab.places(), [b(), b()]);
    lab.run(secs(2));
    assert_eq!(lab.places(), [a(), b()], "judged by its link");
}

/// Its link-local address is there only when duplicate address detection is over, a second or two after the link.
#[test]
fn without_a_test_address_ipv6_targets_are_probed_from_the_link_local_address() {
    let mut setup = Setup::probed(2);
    setup.targets = [IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))].into();
    setup.members.iter_mut().for_each(|member| member.v4 = false);
    let mut lab = Lab::start(setup);
    let settle = |lab: &mut Lab, member: MemberId| {
        let address = Some(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, member.0 as u16)));
        lab.tell(Event::TestAddress { member, family: Family::V6, address });
    };
    lab.run(secs(2));
    assert_eq!(lab.records(Kind::Probing), [], "it is only being configured");
    settle(&mut lab, a());
    settle(&mut lab, b());
    lab.run(secs(2));
    let told: Vec<Reason> = lab.records(Kind::Probing).into_iter().map(|record| record.reason).collect();
    assert_eq!(told, [Reason::TargetsKnown { targets: 1 }, Reason::TargetsKnown { targets: 1 }]);
    assert_eq!(lab.member(a()).probe, ProbeState::Ok);
    lab.cut(a());
    lab.run(secs(1));
    assert!(matches!(lab.records(Kind::Failed)[0].reason, Reason::ProbesLost { family: Family::V6, .. }));
    // It returns, and its link is up long before it can be probed.
    lab.vanish(a());
    lab.run(secs(1));
    lab.appear(a());
    lab.run(secs(2));
    assert_eq!(lab.places(), [b(), b()], "its path is dead still");
    lab.mend(a());
    settle(&mut lab, a());
    lab.run(secs(3));
    assert_eq!(lab.places(), [a(), b()]);
}

/// in.mpathd waits as long before it says so, once an interface.
#[test]
fn a20_a23_a_test_address_that_does_not_come_is_told_after_twenty_seconds() {
    let mut setup = Setup::probed(2);
    setup.members[0].v4 = true;
    let mut lab = Lab::start(setup.absent(a()));
    // Configured, but the kernel never shows it.
    let presence =
        Presence { member: a(), ifindex: 7, link_up: Some(true), adopted: vec![], displaced: false };
    lab.tell(Event::InterfacePresent(presence));
    let told = |lab: &Lab| -> Vec<Reason> {
        let records = lab.records(Kind::Probing).into_iter().filter(|record| record.member == Some(a()));
        records.map(|record| record.reason).collect()
    };
    lab.run(ms(19_999));
    assert_eq!(told(&lab), []);
    lab.run(secs(60));
    assert_eq!(told(&lab), [Reason::NoTestAddress], "once");
    assert_eq!(lab.state(b()), ShownState::Ok, "the others are probed all the same");
    lab.tell_test_address(a());
    lab.run(secs(1));
    assert_eq!(told(&lab).last(), Some(&Reason::TargetsKnown { targets: 1 }));
}

#[test]
fn a23_a_member_without_test_address_is_told_once() {
    let mut setup = Setup::probed(2);
    setup.members[0].v4 = false;
    let mut lab = Lab::settled(setup);
    lab.run(secs(60));
    let told: Vec<_> =
        lab.records(Kind::Probing).into_iter().filter(|told| told.member == Some(a())).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].reason, lab.member(a()).probe), (&Reason::NoTestAddress, ProbeState::Disabled));
}

#[test]
fn targets_that_cannot_be_found_are_told_after_twenty_seconds() {
    let mut setup = Setup::probed(1);
    setup.targets.clear();
    let mut lab = Lab::start(setup);
    lab.run(secs(60));
    let told: Vec<Reason> = lab.records(Kind::Probing).into_iter().map(|record| record.reason).collect();
    assert_eq!((told, lab.state(a())), (vec![Reason::NoTargets], ShownState::Unknown));
}

#[test]
fn all_members_absent_move_nothing() {
    let mut lab = Lab::settled(Setup::probed(2).absent(a()).absent(b()));
    assert_eq!(lab.places(), [a(), b()]);
    lab.appear(b());
    lab.run(secs(3));
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn sessions_end_with_the_interface() {
    let mut lab = Lab::settled(Setup::dual_stack(2));
    assert_eq!(lab.armed(), 4);
    lab.vanish(a());
    lab.run(ms(1));
    assert_eq!(lab.armed(), 2);
    lab.vanish(b());
    lab.run(secs(20));
    assert_eq!((lab.armed(), lab.engine.poll_timeout()), (0, None));
}

#[test]
fn another_ifindex_arms_every_session_anew() {
    let mut lab = Lab::settled(Setup::dual_stack(2));
    lab.forget_history();
    let presence =
        Presence { member: a(), ifindex: 77, link_up: Some(true), adopted: vec![], displaced: false };
    lab.tell(Event::InterfacePresent(presence));
    lab.turn();
    let armed: Vec<u32> = lab
        .actions
        .iter()
        .filter_map(|(_, action)| if let Action::ArmSession(session) = action { Some(session) } else { None })
        .map(|session| session.ifindex)
        .collect();
    assert_eq!(armed, [77, 77]);
    assert_eq!(lab.armed(), 4);
}

#[test]
fn another_test_address_arms_anew() {
    let mut lab = Lab::settled(Setup::probed(2));
    let address = "192.0.2.200".parse().ok();
    lab.tell(Event::TestAddress { member: a(), family: Family::V4, address });
    lab.run(secs(2));
    assert_eq!((lab.armed(), lab.state(a())), (2, ShownState::Ok));
    assert_eq!(Some(lab.member(a()).targets[0].source), address);
}

#[test]
fn a12_discovered_targets_are_taken_up_and_given_up() {
    let mut setup = Setup::probed(2);
    let targets = core::mem::take(&mut setup.targets);
    let mut lab = Lab::settled(setup);
    assert_eq!((lab.state(a()), lab.member(a()).probe), (ShownState::Unknown, ProbeState::Unknown));
    lab.tell(Event::Targets { group: GROUP, family: Family::V4, targets });
    lab.run(secs(2));
    assert_eq!((lab.state(a()), lab.member(a()).probe), (ShownState::Ok, ProbeState::Ok));
    lab.tell(Event::Targets { group: GROUP, family: Family::V4, targets: vec![] });
    lab.run(secs(2));
    assert_eq!((lab.state(a()), lab.armed()), (ShownState::Unknown, 0), "no failure");
    let probing: Vec<Reason> = lab.records(Kind::Probing).into_iter().map(|record| record.reason).collect();
    assert_eq!(probing.len(), 4, "{probing:?}");
}

#[test]
fn a19_configured_targets_replace_discovered_ones() {
    let mut lab = Lab::settled(Setup::probed(2));
    let targets = vec!["192.0.2.77".parse().expect("an address")];
    lab.tell(Event::Targets { group: GROUP, family: Family::V4, targets });
    lab.run(secs(2));
    let shown: Vec<_> = lab.member(a()).targets.iter().map(|target| target.address).collect();
    assert_eq!(shown, lab.setup.targets);
}

#[test]
fn own_addresses_and_non_unicast_are_no_targets() {
    let mut setup = Setup::probed(2);
    let own = ["192.0.2.100", "192.0.2.101", "198.51.0.10", "224.0.0.1", "255.255.255.255", "0.0.0.0"];
    setup.targets = own.iter().filter_map(|text| text.parse().ok()).collect();
    let lab = Lab::settled(setup);
    assert_eq!((lab.armed(), lab.state(a())), (0, ShownState::Unknown));
}

#[test]
fn five_targets_at_most_are_probed_in_turn() {
    let mut setup = Setup::probed(1);
    setup.targets = (1..=8).filter_map(|host| alloc::format!("192.0.2.{host}").parse().ok()).collect();
    let mut lab = Lab::settled(setup);
    lab.run(secs(10));
    let sent: Vec<u64> = lab.member(a()).targets.iter().map(|target| target.sent).collect();
    assert!(sent[..5].iter().all(|count| count.abs_diff(sent[0]) <= 1), "{sent:?}");
    assert_eq!(sent[5..], [0; 3], "the rest are spares");
    assert_eq!(lab.armed(), 5);
}
