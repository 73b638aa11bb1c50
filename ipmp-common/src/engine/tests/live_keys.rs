//! Reload: keys of a group that are in force at once, also for what is under way.

use super::{
    harness::{Lab, Setup, a, b, ms, secs},
    reconfigure::reload,
};
use crate::engine::{
    config::Damping,
    reason::{Kind, Reason},
    snapshot::ShownState,
    time::Nanos,
};

/// Cuts a member's path until it has failed; whether suspicion had to do with it.
fn fails_on_suspicion(lab: &mut Lab) -> bool {
    lab.forget_history();
    lab.cut(a());
    lab.run(ms(742));
    let failed = lab.records(Kind::Failed);
    let Some(Reason::ProbesLost { confirmed_in, .. }) = failed.first().map(|record| &record.reason) else {
        panic!("{failed:?}")
    };
    confirmed_in.is_some()
}

/// Lets a member that has failed work again, for so long.
fn works_for(lab: &mut Lab, span: Nanos) {
    lab.mend(a());
    assert!(lab.run_until(secs(100), |lab| lab.state(a()) == ShownState::Ok));
    lab.run(span);
}

#[test]
fn suspicion_is_changed_live() {
    let mut lab = Lab::settled(Setup::probed(2));
    assert!(!fails_on_suspicion(&mut lab));
    works_for(&mut lab, secs(1));
    reload(&mut lab, |groups| groups[0].suspicion = true);
    assert!(fails_on_suspicion(&mut lab));
    works_for(&mut lab, secs(1));
    reload(&mut lab, |groups| groups[0].suspicion = false);
    assert!(!fails_on_suspicion(&mut lab));
}

#[test]
fn a_quiet_period_is_shortened_live() {
    let mut setup = Setup::probed(2);
    setup.quiet_period = secs(40);
    let mut lab = Lab::start(setup);
    lab.cut(a());
    lab.run(secs(10));
    assert_eq!(lab.state(a()), ShownState::Ok, "it is quiet still");
    reload(&mut lab, |groups| groups[0].quiet_period = secs(5));
    assert!(lab.run_until(ms(742), |lab| lab.state(a()) == ShownState::Failed), "the period is over");
    reload(&mut lab, |groups| groups[0].quiet_period = secs(60));
    works_for(&mut lab, secs(1));
    assert!(!fails_on_suspicion(&mut lab), "a longer one is for interfaces that appear");
}

#[test]
fn the_link_up_delay_is_changed_live() {
    let mut lab = Lab::settled(Setup::link_only(2));
    reload(&mut lab, |groups| groups[0].damping.link_up_delay = secs(60));
    lab.set_carrier(a(), false);
    lab.run(secs(1));
    lab.set_carrier(a(), true);
    lab.run(secs(10));
    assert_eq!((lab.state(a()), lab.places().as_slice()), (ShownState::Failed, [b(), b()].as_slice()));
    reload(&mut lab, |groups| groups[0].damping.link_up_delay = secs(5));
    lab.run(ms(10));
    assert_eq!((lab.state(a()), lab.places().as_slice()), (ShownState::Ok, [a(), b()].as_slice()));
}

#[test]
fn hold_down_and_its_longest_are_changed_live() {
    let mut lab = Lab::settled(Setup::probed(2));
    reload(&mut lab, |groups| {
        groups[0].damping = Damping { hold_down: secs(30), hold_down_max: secs(300), ..Damping::default() };
    });
    let held = |lab: &Lab| match lab.member(a()).deferred {
        Some(Reason::HeldDown { flaps, hold, .. }) => Some((flaps, hold)),
        Some(_) | None => None,
    };
    fails_on_suspicion(&mut lab);
    works_for(&mut lab, secs(1));
    fails_on_suspicion(&mut lab);
    lab.mend(a());
    lab.run(secs(3));
    assert_eq!((lab.state(a()), held(&lab)), (ShownState::Failed, Some((1, secs(30)))));
    reload(&mut lab, |groups| groups[0].damping.hold_down = secs(2));
    lab.run(ms(10));
    assert_eq!((lab.state(a()), held(&lab)), (ShownState::Ok, None), "it is over");
    reload(&mut lab, |groups| groups[0].damping.hold_down = secs(30));
    fails_on_suspicion(&mut lab);
    lab.mend(a());
    lab.run(secs(10));
    assert_eq!((lab.state(a()), held(&lab)), (ShownState::Failed, Some((2, secs(60)))), "doubled");
    reload(&mut lab, |groups| groups[0].damping.hold_down_max = secs(40));
    assert_eq!(held(&lab), Some((2, secs(40))));
    lab.run(secs(31));
    assert_eq!(lab.state(a()), ShownState::Ok);
}
