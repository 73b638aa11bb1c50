//! From lost probes to a failed member: sections 5.2, 6 and 15 of the behaviour.

use alloc::vec::Vec;

use super::harness::{Lab, Loss, Setup, V4_TARGET, a, b, ms, secs};
use crate::engine::{
    action::Action,
    event::{CarrierSource, Event, NotSent},
    ids::Family,
    reason::{Kind, Reason},
    snapshot::ShownState,
    time::{Nanos, Timestamp},
};

fn losses_told(lab: &Lab) -> Option<u32> {
    lab.records(Kind::Failed).iter().find_map(|record| {
        if let Reason::ProbesLost { losses, .. } = record.reason { Some(losses) } else { None }
    })
}

#[test]
fn a14_five_losses_fail() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.set_loss(a(), Loss::Drop(5));
    lab.run(ms(1400));
    assert_eq!(losses_told(&lab), Some(5));
    assert_eq!(lab.count(Kind::Failed, a()), 1);
    assert_eq!(lab.count(Kind::Failed, b()), 0);
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn a14_four_losses_do_not() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.set_loss(a(), Loss::Drop(4));
    lab.run(ms(2800));
    assert_eq!(losses_told(&lab), None);
    assert_eq!(lab.member(a()).targets[0].lost, 4);
    assert_eq!(lab.places(), [a(), b()]);
}

#[test]
fn a_loss_on_the_way_back_counts_alike() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.wire.ports[0].back = Loss::Drop(5);
    lab.run(ms(1400));
    assert_eq!(lab.count(Kind::Failed, a()), 1);
}

#[test]
fn losses_are_counted_over_all_targets_of_a_family() {
    let mut setup = Setup::probed(2);
    setup.targets.push("192.0.2.2".parse().expect("an address"));
    let mut lab = Lab::settled(setup);
    // Every second probe is answered: no run of losses ever grows.
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(secs(10));
    assert_eq!(losses_told(&lab), None);
    assert!(lab.member(a()).targets[0].lost >= 5);
    lab.wire.dead_targets.insert("192.0.2.2".parse().expect("an address"));
    lab.run(secs(2));
    assert_eq!(losses_told(&lab), Some(5));
}

#[test]
fn failing_needs_both_families() {
    let mut lab = Lab::settled(Setup::dual_stack(2));
    lab.wire.ports[0].no_v4 = true;
    lab.run(secs(10));
    assert_eq!(lab.state(a()), ShownState::Ok);
    lab.wire.ports[0].no_v6 = true;
    lab.run(ms(742));
    assert_eq!(lab.state(a()), ShownState::Failed);
}

#[test]
fn a_late_reply_undoes_a_loss() {
    let mut lab = Lab::settled(Setup::probed(2));
    // Two slots: every probe is judged lost before its answer arrives.
    lab.wire.rtt = ms(200);
    lab.run(secs(20));
    assert_eq!(losses_told(&lab), None);
    assert!(lab.member(a()).targets[0].lost <= 3, "answered late, so not lost");
    assert_eq!(lab.places(), [a(), b()]);
}

#[test]
fn losses_do_not_count_while_it_is_quiet() {
    let mut setup = Setup::probed(2);
    setup.quiet_period = secs(40);
    let mut lab = Lab::start(setup);
    lab.cut(a());
    lab.run(secs(39));
    assert_eq!(lab.state(a()), ShownState::Ok);
    lab.run(secs(2));
    assert_eq!(lab.state(a()), ShownState::Failed);
}

#[test]
fn an_answer_ends_the_quiet_period() {
    let mut setup = Setup::probed(2);
    setup.quiet_period = secs(40);
    let mut lab = Lab::settled(setup);
    lab.cut(a());
    lab.run(ms(742));
    assert_eq!(lab.state(a()), ShownState::Failed);
}

#[test]
fn an_unresolved_neighbour_is_a_loss() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.wire.ports[0].refuses = Some(NotSent::Unresolved);
    lab.run(ms(742));
    assert_eq!(losses_told(&lab), Some(5));
    let fifth = lab
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::ProbeNotSent { cause: NotSent::Unresolved, .. }))
        .nth(4);
    assert_eq!(lab.records(Kind::Failed)[0].decided_at, fifth.map(|(at, _)| *at), "known at once");
}

#[test]
fn what_never_left_proves_nothing() {
    for cause in [NotSent::Resolving, NotSent::Local { errno: 1 }, NotSent::NeverLeft] {
        let mut lab = Lab::settled(Setup::probed(2));
        lab.wire.ports[0].refuses = Some(cause);
        lab.run(secs(30));
        assert_eq!(losses_told(&lab), None, "{cause:?}");
        assert!(lab.member(a()).targets[0].unsent > 100);
        assert_eq!(lab.places(), [a(), b()]);
        let told: Vec<Reason> = lab.records(Kind::Mute).into_iter().map(|record| record.reason).collect();
        assert_eq!(told, [Reason::ProbesStayed { family: Family::V4, probes: 7, cause }], "once");
        lab.wire.ports[0].refuses = None;
        lab.run(secs(1));
        let told = lab.records(Kind::Mute);
        assert!(matches!(told[1].reason, Reason::ProbesLeave { stayed: 100.., .. }), "{told:?}");
    }
}

/// Right after a link-up one family's neighbour may still be unresolved, for seconds: the other one decides alone.
#[test]
fn a_family_that_cannot_ask_is_not_waited_for() {
    let mut lab = Lab::settled(Setup::dual_stack(2));
    lab.wire.ports[0].refuses_v6 = Some(NotSent::Resolving);
    lab.set_carrier(a(), false);
    lab.run(ms(500));
    lab.set_carrier(a(), true);
    assert!(lab.run_until(secs(10), |lab| lab.count(Kind::Repaired, a()) == 1));
    lab.forget_history();
    lab.cut(a());
    lab.run(ms(742));
    assert_eq!(losses_told(&lab), Some(5), "IPv4 alone");
    lab.mend(a());
    assert!(lab.run_until(secs(10), |lab| lab.state(a()) == ShownState::Ok));
    lab.wire.ports[0].refuses_v6 = None;
    lab.wire.ports[0].no_v4 = true;
    lab.run(secs(10));
    assert_eq!(lab.state(a()), ShownState::Ok, "IPv6 answers again");
}

#[test]
fn a_stopped_daemon_fails_nothing_over_and_says_so() {
    let mut setup = Setup::probed(2);
    setup.fdt = ms(50);
    let mut lab = Lab::settled(setup);
    lab.stall(secs(5));
    lab.run(secs(10));
    assert_eq!(losses_told(&lab), None);
    assert_eq!(lab.records(Kind::Stalled).len(), 1);
    let reason = &lab.records(Kind::Stalled)[0].reason;
    let Reason::LateWakeup { late_by, skipped_slots } = reason else { panic!("{reason:?}") };
    assert!(*late_by > ms(4980) && *late_by <= secs(5), "{late_by}");
    // Two members skip 700 slots each.
    assert!((1380..=1400).contains(skipped_slots), "{skipped_slots}");
}

/// What starved the daemon may have starved the delivery of the reply: four losses count, and a fifth probe is
/// answered shortly after a late wake-up.
#[test]
fn a_late_verdict_is_put_off_once() {
    for (patience, failed) in [(ms(40), false), (ms(120), true)] {
        let mut lab = Lab::settled(Setup::probed(2));
        let before = lab.member(a()).targets[0].sent;
        let sent = |lab: &Lab| lab.member(a()).targets[0].sent - before;
        lab.cut(a());
        assert!(lab.run_until(secs(2), |lab| sent(lab) == 4));
        lab.mend(a());
        lab.wire.rtt = ms(600) + patience;
        assert!(lab.run_until(secs(1), |lab| sent(lab) == 5));
        lab.stall(ms(600));
        lab.run(ms(700));
        assert_eq!(losses_told(&lab).is_some(), failed, "answered {patience} after the wake-up");
    }
}

#[test]
fn after_a_stall_probes_are_not_bursted() {
    for stalled_at in (100..200).step_by(4) {
        let mut lab = Lab::settled(Setup::probed(1));
        lab.run(ms(stalled_at));
        lab.stall(ms(1000));
        lab.run(ms(1500));
        let sent: Vec<Timestamp> = lab
            .actions
            .iter()
            .filter(|(_, action)| matches!(action, Action::SendProbe { .. }))
            .map(|(at, _)| *at)
            .collect();
        let closest = sent.windows(2).map(|pair| pair[1].since(pair[0])).min();
        assert!(closest >= Some(ms(50)), "half a slot lies between probes: {closest:?}");
    }
}

#[test]
fn a_stopped_daemon_does_not_hide_a_dead_path() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.cut(a());
    lab.run(ms(300));
    lab.stall(secs(5));
    lab.run(secs(5) + ms(742));
    assert_eq!(lab.state(a()), ShownState::Failed);
}

#[test]
fn a_daemon_that_is_always_late_judges_alike() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.lateness = ms(90);
    lab.run(secs(20));
    assert_eq!(losses_told(&lab), None);
    lab.cut(a());
    lab.run(ms(742 + 300));
    assert_eq!(losses_told(&lab), Some(5));
}

#[test]
fn a_repeated_fact_asks_for_nothing() {
    let mut lab = Lab::settled(Setup::dual_stack(2));
    let (member, at) = (a(), lab.now);
    let known: Vec<_> = lab.events.iter().take(6).map(|(_, event)| event.clone()).collect();
    lab.forget_history();
    for event in known {
        lab.tell(event);
    }
    lab.tell(Event::Carrier { member, up: true, at, source: CarrierSource::Poll, downs: 0 });
    lab.turn();
    assert_eq!(lab.actions, []);
}

#[test]
fn any_detection_time_is_kept() {
    for fdt in [ms(10), ms(100), secs(1), secs(10), secs(3600)] {
        let mut setup = Setup::probed(2);
        setup.fdt = fdt;
        let mut lab = Lab::settled(setup);
        lab.cut(a());
        lab.run(Nanos(fdt.0 * 106 / 100));
        assert_eq!(losses_told(&lab), Some(5), "FDT {fdt}");
    }
}
