//! Carrier: sections 5.1, 13.6 and 15 of the behaviour.

use alloc::{string::ToString as _, vec, vec::Vec};

use super::harness::{Lab, Setup, a, b, ms, secs};
use crate::engine::{
    Engine,
    action::Action,
    event::{CarrierSource, Event, Presence},
    reason::{Kind, Reason},
    snapshot::ShownState,
    time::Timestamp,
};

#[test]
fn a6_a_pulled_cable_fails_over_in_the_same_turn() {
    for setup in [Setup::link_only(2), Setup::probed(2)] {
        let mut lab = Lab::settled(setup);
        lab.set_carrier(a(), false);
        let pulled_at = lab.now;
        lab.turn();
        assert_eq!(lab.places(), [b(), b()]);
        let failed = &lab.records(Kind::Failed)[0];
        assert_eq!(failed.evidence_at, Some(pulled_at));
        assert_eq!(failed.reason, Reason::LinkDown { source: CarrierSource::Fentry, downs: 1 });
    }
}

#[test]
fn a44_link_up_repairs_a_link_only_member_at_once() {
    let mut lab = Lab::settled(Setup::link_only(2));
    lab.set_carrier(a(), false);
    lab.run(ms(10));
    lab.set_carrier(a(), true);
    lab.turn();
    assert_eq!(lab.state(a()), ShownState::Ok);
    assert_eq!(lab.records(Kind::Repaired)[0].reason, Reason::LinkRestored);
    assert_eq!(lab.places(), [a(), b()]);
}

/// Down for 100 ms, up for 900 ms.
fn bounce(lab: &mut Lab) {
    lab.set_carrier(a(), false);
    lab.run(ms(100));
    lab.set_carrier(a(), true);
    lab.run(ms(900));
}

#[test]
fn the_third_link_up_within_a_minute_is_deferred() {
    let mut lab = Lab::settled(Setup::link_only(2));
    bounce(&mut lab);
    assert_eq!(lab.state(a()), ShownState::Ok);
    bounce(&mut lab);
    assert_eq!(lab.state(a()), ShownState::Ok);
    let second_up = lab.now - ms(900);
    for _ in 0..3 {
        bounce(&mut lab);
        assert_eq!(lab.state(a()), ShownState::Failed);
    }
    let told = lab.records(Kind::Flapping);
    assert_eq!(told.len(), 1, "one message an episode");
    assert_eq!(
        told[0].reason,
        Reason::LinkFlaps { ups: 3, retry_in: (second_up + secs(60)).since(told[0].at) }
    );
    // The older of the two newest link-ups was the fourth, two seconds after the second.
    let retry = second_up + secs(62);
    lab.run((retry - ms(1)).since(lab.now));
    assert_eq!(lab.state(a()), ShownState::Failed);
    lab.run(ms(1));
    assert_eq!(lab.state(a()), ShownState::Ok);
    assert_eq!(lab.places(), [a(), b()]);
}

#[test]
fn a_member_without_carrier_at_start_is_failed_and_covered() {
    for setup in [Setup::link_only(2), Setup::probed(2)] {
        let mut engine = Engine::new(setup.config());
        let now = Timestamp(1_000_000_000);
        for (member, link_up) in [(a(), Some(false)), (b(), Some(true))] {
            let ifindex = 10 + member.0;
            let presence = Presence { member, ifindex, link_up, adopted: vec![], displaced: false };
            engine.handle(now, Event::InterfacePresent(presence));
        }
        engine.handle(now, Event::Judge);
        let group = &engine.snapshot(now).groups[0];
        assert_eq!(group.members[0].state, ShownState::Failed);
        assert!(group.addresses.iter().all(|address| address.on == b()));
        let told = core::iter::from_fn(|| engine.poll_action())
            .filter_map(|action| if let Action::Publish(record) = action { Some(record) } else { None });
        let told = told.filter(|record| record.kind == Kind::Failed).map(|record| record.reason);
        let none = Reason::LinkDown { source: CarrierSource::Netlink, downs: 0 };
        assert_eq!(none.to_string(), "no carrier (netlink)");
        assert_eq!(told.collect::<Vec<_>>(), [none]);
    }
}

#[test]
fn an_interface_that_appears_has_not_failed_but_must_show_that_it_works() {
    for setup in [Setup::link_only(2), Setup::probed(2)] {
        let mut lab = Lab::settled(setup.absent(a()));
        lab.set_carrier(a(), false);
        lab.appear(a());
        lab.run(secs(1));
        assert_eq!((lab.state(a()), lab.places()), (ShownState::Failed, vec![b(), b()]));
        assert_eq!(lab.count(Kind::Failed, a()), 0, "it has never worked");
        let told = &lab.records(Kind::Present)[0].reason;
        assert_eq!(*told, Reason::LinkDown { source: CarrierSource::Netlink, downs: 0 });
        assert_eq!(lab.member(a()).reason, *told);
        lab.set_carrier(a(), true);
        lab.run(secs(25));
        assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, vec![a(), b()]));
        assert_eq!(lab.count(Kind::Repaired, a()), 1);
        lab.vanish(a());
        lab.run(secs(1));
        lab.appear(a());
        lab.turn();
        assert_eq!(lab.records(Kind::Present)[1].reason, Reason::Unproved);
    }
}

#[test]
fn link_ups_further_apart_are_not_flaps() {
    let mut lab = Lab::settled(Setup::link_only(2));
    for _ in 0..6 {
        bounce(&mut lab);
        assert_eq!(lab.state(a()), ShownState::Ok);
        lab.run(secs(30));
    }
    assert_eq!(lab.records(Kind::Flapping).len(), 0);
}

#[test]
fn the_first_sight_of_a_carrier_is_not_a_link_up() {
    let mut lab = Lab::settled(Setup::link_only(2));
    let (member, at, source) = (a(), lab.now, CarrierSource::Poll);
    let presence = Presence { member, ifindex: 7, link_up: None, adopted: vec![], displaced: false };
    lab.tell(Event::InterfacePresent(presence));
    lab.tell(Event::Carrier { member, up: true, at, source, downs: 0 });
    lab.turn();
    assert_eq!(lab.records(Kind::LinkUp).len(), 0);
    bounce(&mut lab);
    bounce(&mut lab);
    assert_eq!(lab.state(a()), ShownState::Ok);
}

#[test]
fn flaps_that_nobody_reported_one_by_one_are_told_and_counted() {
    let mut lab = Lab::settled(Setup::link_only(2));
    let (member, at, source) = (a(), lab.now, CarrierSource::Fentry);
    lab.tell(Event::Carrier { member, up: true, at, source, downs: 2 });
    lab.turn();
    assert_eq!(lab.state(a()), ShownState::Ok, "it is up now");
    assert_eq!(lab.records(Kind::LinkDown)[0].reason, Reason::LinkDown { source, downs: 2 });
    assert_eq!(lab.records(Kind::LinkUp).len(), 1);
    bounce(&mut lab);
    assert_eq!(lab.state(a()), ShownState::Failed, "the third link-up within a minute");
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn a_driver_that_cannot_tell_is_always_up() {
    let mut lab = Lab::settled(Setup::link_only(2));
    let presence = Presence { member: a(), ifindex: 7, link_up: None, adopted: vec![], displaced: false };
    lab.tell(Event::InterfacePresent(presence));
    lab.turn();
    assert_eq!((lab.state(a()), lab.member(a()).link_up), (ShownState::Ok, None));
    assert_eq!(lab.places(), [a(), b()]);
}
