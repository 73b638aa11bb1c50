//! Hysteresis: requirement A10, sections 13.5 and 13.6 of the behaviour.

use alloc::vec::Vec;

use super::harness::{Lab, Setup, a, b, ms, secs};
use crate::engine::{
    config::Damping,
    event::Command,
    ids::MemberId,
    reason::{Kind, Reason},
    snapshot::{GroupState, ShownState},
    time::Nanos,
};

fn damped(mut setup: Setup, damping: Damping) -> Setup {
    setup.damping = damping;
    setup
}

fn down_delay(delay: Nanos) -> Damping {
    Damping { link_down_delay: delay, ..Damping::default() }
}

fn held() -> Damping {
    Damping { hold_down: secs(10), hold_down_max: secs(40), ..Damping::default() }
}

fn state_of_group(lab: &Lab) -> GroupState {
    lab.engine.snapshot(lab.now).groups[0].state
}

/// A nanosecond less.
const fn less(span: Nanos) -> Nanos {
    Nanos(span.0 - 1)
}

fn deferrals(lab: &Lab) -> Vec<Reason> {
    lab.records(Kind::Deferred).into_iter().map(|record| record.reason).collect()
}

#[test]
fn a10_link_down_delay_rides_out_a_short_loss() {
    for setup in [Setup::link_only(2), Setup::probed(2)] {
        let mut lab = Lab::settled(damped(setup, down_delay(ms(200))));
        lab.forget_history();
        let pulled_at = lab.now;
        lab.set_carrier(a(), false);
        lab.run(ms(100));
        assert_eq!((lab.state(a()), lab.member(a()).link_up), (ShownState::Ok, Some(false)));
        let waits = Reason::LinkDownDelayed { delay: ms(200), until: pulled_at + ms(200) };
        assert_eq!((deferrals(&lab), lab.member(a()).deferred), ([waits.clone()].into(), Some(waits)));
        lab.set_carrier(a(), true);
        lab.run(secs(5));
        assert_eq!((lab.state(a()), lab.member(a()).deferred), (ShownState::Ok, None));
        assert_eq!((lab.count(Kind::Failed, a()), lab.records(Kind::Moved).len()), (0, 0));
        assert_eq!(
            (lab.count(Kind::LinkDown, a()), lab.count(Kind::LinkUp, a())),
            (1, 1),
            "told, not acted on"
        );
    }
}

#[test]
fn a10_a_loss_that_lasts_fails_when_the_delay_is_over_and_not_before() {
    let mut lab = Lab::settled(damped(Setup::link_only(2), down_delay(ms(200))));
    let pulled_at = lab.now;
    lab.set_carrier(a(), false);
    lab.run(less(ms(200)));
    assert_eq!(lab.places(), [a(), b()]);
    lab.run(Nanos(1));
    assert_eq!(lab.places(), [b(), b()]);
    let failed = &lab.records(Kind::Failed)[0];
    assert_eq!((failed.evidence_at, failed.at), (Some(pulled_at), pulled_at + ms(200)));
}

#[test]
fn probes_lost_while_the_link_loss_is_deferred_count() {
    let mut lab = Lab::settled(damped(Setup::probed(2), down_delay(secs(60))));
    lab.set_carrier(a(), false);
    assert!(lab.run_until(ms(750), |lab| lab.state(a()) == ShownState::Failed), "within 1.06 FDT");
    assert!(matches!(lab.records(Kind::Failed)[0].reason, Reason::ProbesLost { .. }));
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn both_links_lost_within_the_delay_move_nothing() {
    let mut lab = Lab::settled(damped(Setup::link_only(2), down_delay(ms(200))));
    lab.set_carrier(a(), false);
    lab.run(ms(50));
    lab.set_carrier(b(), false);
    lab.run(secs(5));
    assert_eq!(state_of_group(&lab), GroupState::Failed);
    assert_eq!((lab.places(), lab.records(Kind::Moved).len()), ([a(), b()].into(), 0));
}

#[test]
fn a10_link_up_delay_defers_repair_until_the_link_has_been_up_so_long() {
    for setup in [Setup::link_only(2), Setup::probed(2)] {
        let damping = Damping { link_up_delay: secs(30), ..Damping::default() };
        let mut lab = Lab::settled(damped(setup, damping));
        lab.set_carrier(a(), false);
        lab.run(secs(1));
        lab.set_carrier(a(), true);
        lab.run(secs(20));
        lab.set_carrier(a(), false);
        lab.run(secs(1));
        lab.set_carrier(a(), true);
        let up_at = lab.now;
        lab.run(less(secs(30)));
        assert_eq!((lab.state(a()), lab.places()), (ShownState::Failed, [b(), b()].into()));
        let waits = Reason::LinkUpDelayed { delay: secs(30), until: up_at + secs(30) };
        assert_eq!(lab.member(a()).deferred, Some(waits));
        lab.run(Nanos(1));
        assert_eq!((lab.state(a()), lab.member(a()).deferred), (ShownState::Ok, None));
        assert_eq!(lab.places(), [a(), b()]);
        assert_eq!(deferrals(&lab).len(), 2, "once a link-up");
    }
}

#[test]
fn no_delay_leaves_a_group_without_a_usable_member() {
    let damping = Damping { link_up_delay: secs(30), ..held() };
    let mut lab = Lab::settled(damped(Setup::link_only(2), damping));
    lab.set_carrier(a(), false);
    lab.run(secs(1));
    lab.set_carrier(a(), true);
    lab.run(secs(1));
    assert_eq!(lab.state(a()), ShownState::Failed);
    lab.set_carrier(b(), false);
    lab.turn();
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, [a(), a()].into()));
}

#[test]
fn a10_failback_delay_keeps_the_addresses_away_for_so_long() {
    for setup in [Setup::probed(2), Setup::probed(2).standby(b())] {
        let damping = Damping { failback_delay: secs(60), ..Damping::default() };
        let mut lab = Lab::settled(damped(setup, damping));
        lab.cut(a());
        lab.run(secs(2));
        lab.mend(a());
        assert!(lab.run_until(secs(2), |lab| lab.state(a()) == ShownState::Ok));
        let repaired_at = lab.now;
        let waits = Reason::FailbackDelayed { delay: secs(60), until: repaired_at + secs(60) };
        assert_eq!((deferrals(&lab), lab.member(a()).deferred), ([waits.clone()].into(), Some(waits)));
        lab.run(less(secs(60)));
        assert!(!lab.member(a()).active && lab.places().iter().all(|on| *on == b()));
        lab.run(Nanos(1));
        assert!(lab.member(a()).active && lab.places()[0] == a());
        assert_eq!(lab.member(a()).deferred, None);
    }
}

#[test]
fn a_member_that_rests_serves_when_nobody_else_can_or_when_ordered_to() {
    let damping = Damping { failback_delay: secs(60), ..Damping::default() };
    let resting = || {
        let mut lab = Lab::settled(damped(Setup::link_only(2), damping));
        lab.set_carrier(a(), false);
        lab.run(ms(10));
        lab.set_carrier(a(), true);
        lab.run(ms(10));
        assert_eq!(lab.places(), [b(), b()]);
        lab
    };
    let mut lab = resting();
    lab.set_carrier(b(), false);
    lab.turn();
    assert_eq!((lab.places(), lab.member(a()).deferred), ([a(), a()].into(), None));
    let mut lab = resting();
    lab.command(Command::Offline { member: a(), force: false });
    lab.command(Command::Online { member: a() });
    lab.turn();
    assert_eq!((lab.places(), lab.member(a()).deferred), ([a(), b()].into(), None));
}

/// The link is lost for 100 ms; returns how long after it came back the member was repaired.
fn flap(lab: &mut Lab, member: MemberId) -> Nanos {
    lab.set_carrier(member, false);
    lab.run(ms(100));
    assert_eq!(lab.state(member), ShownState::Failed);
    lab.set_carrier(member, true);
    let up_at = lab.now;
    assert!(lab.run_until(secs(100), |lab| lab.state(member) == ShownState::Ok));
    lab.now.since(up_at)
}

#[test]
fn each_failure_soon_after_a_repair_doubles_the_hold_down() {
    let mut lab = Lab::settled(damped(Setup::link_only(2), held()));
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(flap(&mut lab, a()));
        // Not a flap by in.mpathd's rule.
        lab.run(secs(31));
    }
    assert_eq!(waits, [secs(0), secs(10), secs(20), secs(40), secs(40)]);
    let told = deferrals(&lab);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(matches!(told[1], Reason::HeldDown { flaps: 2, hold, .. } if hold == secs(20)));
    lab.run(secs(41));
    assert_eq!(flap(&mut lab, a()), secs(0), "a good time wipes the record clean");
}

#[test]
fn trouble_while_held_down_starts_the_hold_anew() {
    let mut lab = Lab::settled(damped(Setup::link_only(2), Damping { hold_down_max: secs(300), ..held() }));
    flap(&mut lab, a());
    // So long that in.mpathd's own rule has forgotten it.
    lab.run(secs(61));
    lab.set_carrier(a(), false);
    lab.run(ms(100));
    lab.set_carrier(a(), true);
    lab.run(secs(9));
    assert_eq!(flap(&mut lab, a()), secs(10));
    assert_eq!(deferrals(&lab).len(), 1, "one message an episode");
}

#[test]
fn probe_failures_are_held_down_too() {
    let mut lab = Lab::settled(damped(Setup::probed(2), held()));
    for _ in 0..2 {
        lab.cut(a());
        assert!(lab.run_until(secs(2), |lab| lab.state(a()) == ShownState::Failed));
        let failed_at = lab.now;
        lab.mend(a());
        assert!(lab.run_until(secs(30), |lab| lab.state(a()) == ShownState::Ok));
        let held = lab.now.since(failed_at) >= secs(10);
        assert_eq!(held, lab.count(Kind::Failed, a()) == 2);
    }
    assert_eq!(lab.places(), [a(), b()]);
}
