//! The adaptive failure detection time: sections 6, 7 and 15 of the behaviour.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::harness::{Lab, Setup, V4_TARGET, a, b, ms, secs};
use crate::engine::{
    ids::Family,
    reason::{Kind, Reason},
    snapshot::ShownState,
    time::Nanos,
};

fn fdt(lab: &Lab) -> Nanos {
    lab.engine.snapshot(lab.now).groups[0].fdt
}

fn targets(count: u8) -> Vec<IpAddr> {
    (1..=count).map(|host| IpAddr::from([192, 0, 2, host])).collect()
}

#[test]
fn a_path_slower_than_the_interval_raises_the_detection_time_and_does_not_fail() {
    for times in [1, 2, 3] {
        let mut lab = Lab::settled(Setup::probed(2));
        let slot = lab.setup.slot();
        lab.forget_history();
        // Just above one, two, three slots: the first late reply comes before the fifth loss is told.
        lab.wire.rtt = slot.times(times) + ms(10);
        lab.run(secs(60));
        let (failed, raised) = (lab.records(Kind::Failed), lab.records(Kind::DetectionTime));
        assert_eq!(failed.len(), 0, "{times} slots: {failed:?}");
        let Some(Reason::SlowRoundTrip { family, target, bound, configured, fdt: told }) =
            raised.first().map(|record| record.reason.clone())
        else {
            panic!("no raise: {raised:?}");
        };
        assert_eq!((family, target, configured), (Family::V4, V4_TARGET, lab.setup.fdt));
        assert!(bound > slot);
        assert_eq!(told, bound.times(14), "seven intervals of twice the bound");
        let known = lab.engine.snapshot(lab.now).groups[0].clone();
        assert!(known.fdt >= told && known.fdt_configured == lab.setup.fdt);
        assert_eq!((lab.state(a()), lab.state(b())), (ShownState::Ok, ShownState::Ok));
    }
}

/// The kernel counts late replies by the interval in force.
#[test]
fn sessions_learn_what_late_means_after_a_raise_and_after_a_lowering() {
    let mut setup = Setup::dual_stack(2);
    setup.targets.push("192.0.2.9".parse().expect("an address"));
    let mut lab = Lab::settled(setup);
    let quick = lab.wire.rtt;
    let as_in_force = |lab: &Lab| {
        let interval = fdt(lab).divided(7);
        let sessions = lab.sessions();
        assert_eq!(sessions.len(), 6, "two members, three targets");
        sessions.iter().all(|session| session.late_after == interval)
    };
    assert!(as_in_force(&lab));
    lab.wire.rtt = lab.setup.slot() + ms(10);
    lab.run(secs(5));
    assert!(fdt(&lab) > lab.setup.fdt && as_in_force(&lab));
    lab.wire.rtt = quick;
    assert!(lab.run_until(secs(300), |lab| fdt(lab) == lab.setup.fdt));
    assert!(as_in_force(&lab));
}

#[test]
fn a_path_dead_after_a_raise_fails_within_the_raised_detection_time() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.wire.rtt = lab.setup.slot() + ms(10);
    lab.run(secs(30));
    let raised = fdt(&lab);
    assert!(raised > lab.setup.fdt);
    lab.cut(a());
    let cut_at = lab.now;
    assert!(lab.run_until(Nanos(raised.0 / 100 * 106), |lab| lab.state(a()) == ShownState::Failed));
    assert!(lab.now.since(cut_at) > lab.setup.fdt, "five losses at the raised interval");
    let Reason::ProbesLost { fdt: told, .. } = lab.records(Kind::Failed)[0].reason else {
        panic!("{:?}", lab.records(Kind::Failed));
    };
    assert_eq!(told, raised);
}

#[test]
fn a_quick_path_lowers_by_halves_a_minute_after_the_raise_and_not_before() {
    let mut lab = Lab::settled(Setup::probed(2));
    let quick = lab.wire.rtt;
    lab.wire.rtt = lab.setup.slot() + ms(10);
    lab.run(secs(5));
    lab.wire.rtt = quick;
    assert!(lab.run_until(secs(300), |lab| fdt(lab) == lab.setup.fdt), "{:?}", fdt(&lab));
    let records = lab.records(Kind::DetectionTime);
    let is_raise = |reason: &Reason| matches!(reason, Reason::SlowRoundTrip { .. });
    let last_raise = records.iter().rposition(|record| is_raise(&record.reason)).expect("a raise");
    let lowered: Vec<_> = records[last_raise + 1..].iter().collect();
    assert!(lowered[0].at.since(records[last_raise].at) >= secs(60));
    let Reason::SlowRoundTrip { fdt: mut before, .. } = records[last_raise].reason else { panic!("a raise") };
    for record in &lowered {
        let Reason::QuickRoundTrip { fdt, .. } = record.reason else { panic!("{record:?}") };
        assert_eq!(fdt, before.divided(2).max(lab.setup.fdt));
        before = fdt;
    }
    assert!(lowered.len() > 1, "by halves");
    assert_eq!(lab.count(Kind::Failed, a()) + lab.count(Kind::Failed, b()), 0);
    assert_eq!(lab.engine.snapshot(lab.now).stalls, 0, "another interval is no missed slot");
    lab.forget_history();
    lab.run(secs(120));
    assert_eq!(lab.records(Kind::DetectionTime).len(), 0, "it settles");
}

#[test]
fn one_slow_sample_is_an_accident() {
    let mut lab = Lab::settled(Setup::probed(2));
    let quick = lab.wire.rtt;
    lab.forget_history();
    lab.wire.rtt = lab.setup.slot().times(2);
    // One probe of each member goes out.
    lab.run(lab.setup.slot());
    lab.wire.rtt = quick;
    lab.run(secs(20));
    assert_eq!(lab.records(Kind::DetectionTime).len(), 0);
    assert_eq!(fdt(&lab), lab.setup.fdt);
}

#[test]
fn one_slow_target_among_four_is_set_aside_for_a_minute() {
    let mut setup = Setup::probed(2);
    setup.targets = targets(4);
    let slow = setup.targets[1];
    let mut lab = Lab::settled(setup);
    lab.wire.rtt_of.insert(slow, lab.setup.slot() + ms(30));
    lab.forget_history();
    lab.run(secs(30));
    let told = lab.records(Kind::TargetSlow);
    assert_eq!(told.len(), 2, "once a member: {told:?}");
    assert!(
        told.iter()
            .all(|record| matches!(record.reason, Reason::OneSlowTarget { target, .. } if target == slow))
    );
    assert_eq!((fdt(&lab), lab.records(Kind::DetectionTime).len()), (lab.setup.fdt, 0));
    let sent = |lab: &Lab| lab.member(a()).targets[1].sent;
    let before = sent(&lab);
    lab.run(secs(20));
    assert_eq!(sent(&lab), before, "it is not probed");
    lab.wire.rtt_of.clear();
    lab.run(secs(60));
    assert!(sent(&lab) > before, "its minute is over");
    assert_eq!(lab.records(Kind::TargetSlow).len(), 2);
}

#[test]
fn three_targets_spare_none_and_two_slow_ones_of_four_raise() {
    for (count, slow) in [(3, 1), (4, 2)] {
        let mut setup = Setup::probed(2);
        setup.targets = targets(count);
        let mut lab = Lab::settled(setup);
        for target in lab.setup.targets.iter().take(slow) {
            lab.wire.rtt_of.insert(*target, lab.setup.slot() + ms(30));
        }
        lab.run(secs(30));
        assert!(fdt(&lab) > lab.setup.fdt, "{slow} of {count}");
    }
}

#[test]
fn a_failed_members_slow_path_is_no_measure_for_the_others() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.cut(a());
    lab.run(secs(2));
    assert_eq!(lab.state(a()), ShownState::Failed);
    let raised = lab.records(Kind::DetectionTime).len();
    lab.wire.slow_ports.insert(a(), lab.setup.slot().times(6));
    lab.mend(a());
    lab.run(secs(20));
    assert_eq!((lab.records(Kind::DetectionTime).len(), raised), (0, 0));
    assert_eq!(lab.state(a()), ShownState::Failed);
}

#[test]
fn slow_answers_show_a_failed_group_the_way_back() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.wire.rtt = lab.setup.slot().times(12);
    assert!(lab.run_until(secs(5), |lab| lab.state(a()) == ShownState::Failed));
    lab.run(secs(200));
    assert_eq!((lab.state(a()), lab.state(b())), (ShownState::Ok, ShownState::Ok));
    assert!(fdt(&lab) >= lab.wire.rtt.times(7));
    assert_eq!(lab.records(Kind::Moved).len(), 0);
}
