//! Interfaces given up, and missing at start: B9 to B13 and B22 to B27.

use alloc::{vec, vec::Vec};

use super::harness::{Lab, Setup, a, b, c, secs};
use crate::engine::{
    Refusal,
    event::Command,
    ids::{Family, MemberId},
    reason::{Kind, Reason},
    snapshot::ShownState,
    time::Nanos,
};

fn detach(members: Vec<MemberId>, force: bool) -> Command {
    Command::Detach { members, force }
}

#[test]
fn b9_b11_a_detach_is_judged_first_and_all_ports_of_a_card_together() {
    let mut lab = Lab::settled(Setup::probed(3));
    assert_eq!(lab.engine.check(&detach(vec![a(), b()], false)), Ok(()));
    assert_eq!(lab.engine.check(&detach(vec![a(), b(), c()], false)), Err(Refusal::LastFunctioning));
    assert_eq!(lab.engine.check(&detach(vec![MemberId(9)], false)), Err(Refusal::NoSuchMember));
    lab.cut(c());
    lab.run(secs(2));
    assert_eq!(lab.engine.check(&detach(vec![a(), b()], false)), Err(Refusal::LastFunctioning));
    assert_eq!(lab.engine.check(&detach(vec![a(), b()], true)), Ok(()), "B12");
    lab.vanish(b());
    lab.run(secs(1));
    assert_eq!(lab.engine.check(&detach(vec![b()], true)), Err(Refusal::Absent));
}

#[test]
fn b10_one_in_no_group_is_refused_by_default() {
    let mut setup = Setup::link_only(2);
    setup.name = "";
    let lab = Lab::settled(setup);
    assert_eq!(lab.engine.check(&detach(vec![a()], false)), Err(Refusal::Ungrouped));
    assert_eq!(lab.engine.check(&detach(vec![a()], true)), Ok(()));
}

#[test]
fn b13_b20_addresses_move_as_at_a_failure_and_return_when_it_is_proved_to_work() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.command(detach(vec![a()], false));
    lab.run(secs(1));
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Offline, vec![b(), b()]));
    assert_eq!(lab.member(a()).reason, Reason::Detached);
    lab.vanish(a());
    lab.run(secs(60));
    assert_eq!((lab.state(a()), lab.member(a()).reason), (ShownState::Absent, Reason::Detached));
    lab.appear(a());
    lab.run(secs(3));
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, vec![a(), b()]));
    assert_eq!(lab.count(Kind::Repaired, a()), 1);
}

#[test]
fn b16_what_could_not_be_detached_serves_again() {
    let mut lab = Lab::settled(Setup::probed(2).without_failback());
    lab.command(detach(vec![a()], false));
    lab.run(secs(1));
    lab.command(Command::Online { member: a() });
    lab.run(secs(1));
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, vec![a(), b()]));
    lab.command(Command::Offline { member: a(), force: false });
    lab.run(secs(1));
    lab.command(detach(vec![a()], false));
    lab.command(Command::Offline { member: a(), force: true });
    lab.run(secs(1));
    lab.vanish(a());
    lab.run(secs(1));
    lab.appear(a());
    lab.run(secs(3));
    assert_eq!(lab.state(a()), ShownState::Offline, "that was the administrator's will before");
}

#[test]
fn b12_the_addresses_of_the_last_one_wait_for_whoever_comes() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.cut(b());
    lab.run(secs(2));
    lab.command(detach(vec![a()], true));
    lab.run(secs(1));
    lab.vanish(a());
    lab.run(secs(5));
    assert_eq!(lab.places(), [a(), a()]);
    lab.mend(b());
    lab.run(secs(3));
    assert_eq!(lab.places(), [b(), b()]);
    lab.appear(a());
    lab.run(secs(3));
    assert_eq!(lab.places(), [a(), b()]);
}

/// Starts with interfaces missing that are waited for.
fn awaiting(setup: Setup, missing: &[MemberId], wait: Nanos) -> Lab {
    let mut setup = missing.iter().fold(setup, |setup, member| setup.absent(*member));
    setup.boot_wait = wait;
    Lab::start(setup)
}

#[test]
fn b22_b23_b24_after_a_bounded_wait_a_sibling_serves_standby_first() {
    let setup = Setup::probed(3).addresses(a(), 2).addresses(b(), 0).standby(c());
    let mut lab = awaiting(setup, &[a()], secs(10));
    lab.run(secs(9));
    assert_eq!((lab.places(), lab.member(c()).active), (vec![a(), a()], false), "it may still come");
    assert_eq!(lab.count(Kind::Absent, a()), 0);
    lab.run(secs(2));
    assert_eq!(lab.places()[0], c(), "standby first");
    assert!(lab.member(c()).active);
    let told: Vec<Reason> = lab.records(Kind::Missing).into_iter().map(|record| record.reason).collect();
    let places = lab.places();
    assert_eq!(
        told,
        [
            Reason::Missing { family: Family::V4, moved: vec![(a(), vec![places[0]])] },
            Reason::Missing { family: Family::V6, moved: vec![(a(), vec![places[1]])] },
        ]
    );
    assert_eq!(lab.count(Kind::Absent, a()), 1);
    lab.run(secs(60));
    assert_eq!(lab.records(Kind::Missing).len(), 2, "told once");
}

#[test]
fn b25_without_an_alternative_nothing_moves_and_that_is_told() {
    let mut lab = awaiting(Setup::probed(1), &[a()], secs(1));
    lab.run(secs(2));
    let told: Vec<Reason> = lab.records(Kind::Missing).into_iter().map(|record| record.reason).collect();
    assert_eq!(told, [Reason::Missing { family: Family::V4, moved: vec![(a(), vec![])] }]);
    assert_eq!(lab.places(), [a()]);
}

#[test]
fn b22_one_that_comes_within_the_wait_was_never_missing() {
    let mut lab = awaiting(Setup::probed(2), &[a()], secs(10));
    lab.run(secs(5));
    lab.appear(a());
    lab.run(secs(30));
    assert_eq!((lab.places(), lab.state(a())), (vec![a(), b()], ShownState::Ok));
    assert!(lab.records(Kind::Missing).is_empty() && lab.records(Kind::Moved).is_empty());
}

#[test]
fn b22_one_whose_carrier_follows_within_the_wait_was_never_missing() {
    let mut lab = awaiting(Setup::probed(2), &[a()], secs(10));
    lab.set_carrier(a(), false);
    lab.run(secs(5));
    lab.appear(a());
    lab.run(secs(3));
    lab.set_carrier(a(), true);
    lab.run(secs(30));
    assert_eq!((lab.places(), lab.state(a())), (vec![a(), b()], ShownState::Ok));
    assert!(lab.records(Kind::Failed).is_empty() && lab.records(Kind::Moved).is_empty());

    let mut lab = awaiting(Setup::probed(2), &[a()], secs(10));
    lab.set_carrier(a(), false);
    lab.run(secs(5));
    lab.appear(a());
    lab.run(secs(6));
    assert_eq!((lab.places(), lab.state(a())), (vec![b(), b()], ShownState::Failed), "the wait is over");
}

#[test]
fn b27_a_later_appearance_ends_as_a_complete_start() {
    let complete = {
        let mut lab = awaiting(Setup::probed(3).standby(c()), &[], secs(10));
        lab.run(secs(40));
        lab
    };
    for late in [1, 9, 11, 100] {
        let mut lab = awaiting(Setup::probed(3).standby(c()), &[a()], secs(10));
        lab.run(secs(late));
        lab.appear(a());
        lab.run(secs(40));
        assert_eq!(lab.places(), complete.places(), "after {late} s");
        for id in [a(), b(), c()] {
            let (one, other) = (lab.member(id), complete.member(id));
            assert_eq!((one.state, one.active), (other.state, other.active), "after {late} s: {id:?}");
        }
    }
}

/// Nothing could be reached there.
#[test]
fn no_failover_goes_to_a_member_that_is_only_awaited() {
    let mut lab = awaiting(Setup::probed(3), &[a()], secs(60));
    lab.run(secs(3));
    assert_eq!(lab.places(), [a(), b(), c()], "its own are kept for it");
    lab.cut(b());
    lab.run(secs(2));
    assert_eq!(lab.places(), [a(), c(), c()]);
    lab.cut(c());
    lab.run(secs(2));
    assert_eq!(lab.places(), [a(), c(), c()], "nowhere better");
}
