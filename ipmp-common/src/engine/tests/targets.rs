//! Which targets are probed, and whose fault their silence is: sections 8, 13.1 to 13.4 and 14 of the behaviour.

use alloc::{collections::BTreeSet, vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};

use super::harness::{GROUP, Lab, Loss, Setup, V4_TARGET, a, b, ms, secs};
use crate::engine::{
    action::Action,
    config::OnGroupFailure,
    event::Event,
    ids::{Family, MemberId},
    reason::{Kind, Reason},
    snapshot::{GroupState, ShownState, TargetSnapshot, TargetState},
};

/// The router `number`; the first is the harness's usual target.
const fn router(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}

fn routers(count: u8) -> Vec<IpAddr> {
    (1..=count).map(router).collect()
}

fn with_routers(count: u8) -> Setup {
    Setup { targets: routers(count), ..Setup::probed(2) }
}

/// No target configured, none discovered yet.
fn discovering() -> Lab {
    Lab::settled(Setup { targets: vec![], ..Setup::probed(2) })
}

fn found(lab: &mut Lab, targets: Vec<IpAddr>) {
    lab.tell(Event::Targets { group: GROUP, family: Family::V4, targets });
    lab.run(ms(1));
}

fn seen(lab: &mut Lab, hosts: Vec<IpAddr>) {
    lab.tell(Event::Hosts { group: GROUP, family: Family::V4, hosts });
    lab.run(ms(1));
}

fn target(lab: &Lab, member: MemberId, address: IpAddr) -> TargetSnapshot {
    let targets = lab.member(member).targets;
    targets.into_iter().find(|target| target.address == address).expect("a known target")
}

fn in_state(lab: &Lab, member: MemberId, state: TargetState) -> Vec<IpAddr> {
    let targets = lab.member(member).targets.into_iter();
    targets.filter(|target| target.state == state).map(|target| target.address).collect()
}

fn searches(lab: &Lab) -> Vec<u64> {
    let asked = |(at, action): &(_, _)| matches!(action, Action::Discover { .. }).then_some(*at);
    lab.actions.iter().filter_map(asked).map(|at: crate::engine::time::Timestamp| at.0).collect()
}

fn group_state(lab: &Lab) -> GroupState {
    lab.engine.snapshot(lab.now).groups[0].state
}

#[test]
fn a18_one_of_two_routers_dies_and_nothing_fails() {
    for seed in 0..25 {
        let mut setup = with_routers(2);
        setup.seed = seed;
        let mut lab = Lab::settled(setup);
        lab.run(ms(seed * 13));
        lab.wire.dead_targets.insert(router(2));
        lab.run(secs(3));
        for member in [a(), b()] {
            assert_eq!(lab.state(member), ShownState::Ok);
            assert_eq!(in_state(&lab, member, TargetState::Dead), [router(2)]);
            let told: Vec<Reason> =
                lab.records(Kind::Target).into_iter().map(|record| record.reason).collect();
            assert!(told.contains(&Reason::TargetDead { target: router(2), losses: 5 }), "{told:?}");
        }
        assert_eq!(lab.records(Kind::Failed), [], "seed {seed}");
        // Not probed any more, so the other one is probed twice as often.
        let sent = target(&lab, a(), router(2)).sent;
        lab.run(secs(20));
        assert_eq!(target(&lab, a(), router(2)).sent, sent);
    }
}

#[test]
fn a_dead_router_is_tried_again_after_a_minute_and_its_silence_then_counts_for_nothing() {
    let mut lab = Lab::settled(with_routers(2));
    lab.wire.dead_targets.insert(router(2));
    lab.run(secs(3));
    lab.forget_history();
    let on_trial = |lab: &Lab| target(lab, a(), router(2)).state == TargetState::Trial;
    assert!(lab.run_until(secs(62), on_trial));
    // Four losses of the only proven router beside the trial's are still four.
    lab.set_loss(a(), Loss::Drop(8));
    lab.run(secs(10));
    assert_eq!(lab.records(Kind::Failed), []);
    assert_eq!(lab.records(Kind::Target), [], "its death was told before");
    lab.wire.dead_targets.clear();
    assert!(lab.run_until(secs(62), |lab| in_state(lab, a(), TargetState::Active).len() == 2));
    let told: Vec<Reason> = lab.records(Kind::Target).into_iter().map(|record| record.reason).collect();
    assert!(told.contains(&Reason::TargetAnswers { target: router(2) }));
}

#[test]
fn a14_detection_stays_within_its_time_while_a_target_is_on_trial() {
    for phase in 0..40 {
        let mut lab = Lab::settled(with_routers(2));
        lab.wire.dead_targets.insert(router(2));
        lab.run(secs(3) + ms(1_500 * phase));
        lab.cut(a());
        assert!(lab.run_until(ms(742), |lab| lab.state(a()) == ShownState::Failed), "phase {phase}");
        assert_eq!(lab.places(), [b(), b()]);
    }
}

#[test]
fn a_router_that_answers_every_third_probe_fails_nothing() {
    for count in [1, 2] {
        let mut lab = Lab::settled(with_routers(count));
        for member in [a(), b()] {
            lab.set_loss(member, Loss::Most { answered: 3, seen: 0 });
        }
        lab.run(secs(60));
        assert_eq!(lab.records(Kind::Failed), [], "{count} routers");
    }
}

#[test]
fn a13_one_member_that_loses_all_targets_has_failed() {
    for (count, suspicion) in (2..=5).flat_map(|count| [(count, false), (count, true)]) {
        let mut lab = Lab::settled(Setup { suspicion, ..with_routers(count) });
        lab.cut(a());
        let failed = lab.run_until(ms(742), |lab| lab.state(a()) == ShownState::Failed);
        assert!(failed, "{count} targets, suspicion {suspicion}");
        lab.run(secs(5));
        assert_eq!((lab.state(b()), lab.places()), (ShownState::Ok, vec![b(), b()]));
        assert_eq!(lab.records(Kind::Target), [], "its own fault: {count} targets, suspicion {suspicion}");
        assert_eq!(in_state(&lab, a(), TargetState::Active).len(), usize::from(count));
    }
}

#[test]
fn a18_all_routers_die_and_nothing_moves_until_one_is_back() {
    for seed in 0..25 {
        let mut setup = with_routers(3);
        setup.seed = seed;
        let mut lab = Lab::settled(setup);
        lab.forget_history();
        lab.wire.dead_targets.extend(routers(3));
        lab.run(secs(3));
        assert_eq!(group_state(&lab), GroupState::Failed);
        // Only one comes back, and the members find it without waiting for any quarantine.
        lab.wire.dead_targets.remove(&router(3));
        assert!(lab.run_until(ms(100 * 60), |lab| group_state(lab) == GroupState::Ok), "seed {seed}");
        assert_eq!(lab.records(Kind::Moved), [], "seed {seed}");
    }
}

#[test]
fn routers_that_die_one_after_the_other_are_the_groups_failure() {
    let mut lab = Lab::settled(with_routers(2));
    lab.forget_history();
    lab.wire.dead_targets.insert(router(2));
    lab.run(secs(5));
    lab.wire.dead_targets.insert(router(1));
    lab.run(secs(2));
    assert_eq!(group_state(&lab), GroupState::Failed);
    // The one that has been in quarantine comes back first.
    lab.wire.dead_targets.remove(&router(2));
    assert!(lab.run_until(secs(5), |lab| group_state(lab) == GroupState::Ok));
    assert_eq!(lab.records(Kind::Moved), []);
}

#[test]
fn spares_replace_the_dead_in_order_until_three_are_active() {
    let mut lab = Lab::settled(with_routers(7));
    assert_eq!(in_state(&lab, a(), TargetState::Active), routers(5));
    assert_eq!(in_state(&lab, a(), TargetState::Unused), [router(6), router(7)]);
    lab.wire.dead_targets.extend([router(1), router(2)]);
    lab.run(secs(8));
    // Three are enough.
    assert_eq!(in_state(&lab, a(), TargetState::Active), [router(3), router(4), router(5)]);
    lab.wire.dead_targets.insert(router(3));
    lab.run(secs(5));
    assert_eq!(in_state(&lab, a(), TargetState::Active), [router(4), router(5), router(6)]);
    assert_eq!(in_state(&lab, a(), TargetState::Dead), [router(1), router(2), router(3)]);
    assert_eq!(lab.records(Kind::Failed), []);
    // A minute dead, a minute slow, then as good as any.
    lab.run(secs(125));
    assert_eq!(in_state(&lab, a(), TargetState::Dead), [] as [IpAddr; 0]);
}

#[test]
fn a12_a_route_that_appears_names_a_target_without_a_restart() {
    let mut lab = discovering();
    assert_eq!(lab.state(a()), ShownState::Unknown);
    found(&mut lab, vec![router(1)]);
    lab.run(secs(2));
    assert_eq!(lab.state(a()), ShownState::Ok);
    let told = lab.records(Kind::Target);
    let routers = vec![router(1)];
    assert_eq!(told[0].reason, Reason::RoutersFound { family: Family::V4, routers });
    found(&mut lab, vec![router(1), router(2)]);
    assert_eq!(in_state(&lab, b(), TargetState::Active), [router(1), router(2)]);
    found(&mut lab, vec![router(2)]);
    assert_eq!(in_state(&lab, b(), TargetState::Active), [router(2)]);
    assert_eq!(lab.records(Kind::Failed), []);
}

#[test]
fn a19_configured_targets_replace_the_router() {
    let mut lab = Lab::settled(with_routers(1));
    found(&mut lab, vec![router(9)]);
    seen(&mut lab, vec![router(8)]);
    lab.run(secs(1));
    assert_eq!(lab.member(a()).targets.len(), 1);
    assert_eq!(lab.member(a()).targets[0].address, V4_TARGET);
}

#[test]
fn routers_displace_hosts_and_hosts_return_when_they_go() {
    let mut lab = discovering();
    seen(&mut lab, vec![router(50), router(51)]);
    lab.run(secs(2));
    assert_eq!(in_state(&lab, a(), TargetState::Active), [router(50), router(51)]);
    found(&mut lab, vec![router(1)]);
    assert_eq!(in_state(&lab, a(), TargetState::Active), [router(1)]);
    found(&mut lab, vec![]);
    lab.run(secs(2));
    assert_eq!(in_state(&lab, a(), TargetState::Active), [router(50), router(51)]);
    assert_eq!(lab.records(Kind::Failed), []);
}

#[test]
fn a_neighbour_that_never_answers_proves_nothing() {
    let mut lab = discovering();
    lab.wire.dead_targets.insert(router(50));
    seen(&mut lab, vec![router(50)]);
    lab.run(secs(200));
    assert_eq!((lab.state(a()), lab.state(b())), (ShownState::Unknown, ShownState::Unknown));
    assert_eq!(lab.records(Kind::Failed), []);
    // It learned to answer; it is tried again now and then.
    lab.wire.dead_targets.clear();
    assert!(lab.run_until(secs(125), |lab| lab.state(a()) == ShownState::Ok));
}

#[test]
fn a_host_that_answers_one_member_must_answer_all() {
    let mut lab = discovering();
    lab.cut(b());
    seen(&mut lab, vec![router(50)]);
    lab.run(secs(3));
    assert_eq!((lab.state(a()), lab.state(b())), (ShownState::Ok, ShownState::Failed));
    assert_eq!(lab.places(), [a(), a()]);
}

#[test]
fn hosts_that_the_kernel_forgets_in_an_outage_are_still_probed() {
    let mut lab = discovering();
    seen(&mut lab, vec![router(50)]);
    lab.run(secs(2));
    lab.forget_history();
    lab.wire.dead_targets.insert(router(50));
    seen(&mut lab, vec![]);
    lab.run(secs(3));
    assert_eq!(group_state(&lab), GroupState::Failed);
    // Another host takes its place, and nothing has moved.
    seen(&mut lab, vec![router(51)]);
    assert!(lab.run_until(secs(4), |lab| group_state(lab) == GroupState::Ok));
    assert_eq!(lab.records(Kind::Moved), []);
}

#[test]
fn the_search_is_one_multicast_a_slot_and_then_slower_until_two_answer() {
    let mut lab = discovering();
    lab.run(secs(600));
    let times = searches(&lab);
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause >= lab.setup.slot().0 && *pause <= secs(60).0), "{pauses:?}");
    assert!(pauses.is_sorted() && pauses.last() == Some(&secs(60).0), "{pauses:?}");
    let asked: BTreeSet<MemberId> = lab
        .actions
        .iter()
        .filter_map(
            |(_, action)| if let Action::Discover { member, .. } = action { Some(*member) } else { None },
        )
        .collect();
    assert_eq!(asked, BTreeSet::from([a(), b()]));
    seen(&mut lab, vec![router(50), router(51)]);
    lab.run(secs(2));
    lab.forget_history();
    lab.run(secs(300));
    assert_eq!(searches(&lab), [] as [u64; 0], "two are enough");
}

#[test]
fn with_targets_or_without_test_addresses_nobody_is_searched() {
    for setup in [Setup::probed(2), Setup::link_only(2)] {
        let mut lab = Lab::settled(setup);
        lab.run(secs(60));
        assert_eq!(searches(&lab), [] as [u64; 0]);
    }
}

#[test]
fn own_addresses_are_never_targets() {
    let mut lab = discovering();
    // The second member's test address, and the first one's data address.
    let own = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 101)), IpAddr::V4(Ipv4Addr::new(198, 51, 0, 10))];
    found(&mut lab, own.to_vec());
    seen(&mut lab, own.to_vec());
    lab.run(secs(2));
    assert_eq!(lab.member(a()).targets, []);
    // An address becomes our own only later.
    found(&mut lab, vec![router(99), router(1)]);
    assert_eq!(in_state(&lab, a(), TargetState::Active).len(), 2);
    lab.tell(Event::TestAddress { member: b(), family: Family::V4, address: Some(router(99)) });
    lab.run(ms(1));
    assert_eq!(in_state(&lab, a(), TargetState::Active), [router(1)]);
}

fn withdrawing() -> Setup {
    Setup { on_group_failure: OnGroupFailure::Fail, ..Setup::probed(2) }
}

fn withdrawn(lab: &Lab) -> bool {
    lab.engine.snapshot(lab.now).groups[0].withdrawn
}

fn placements(lab: &Lab) -> Vec<(bool, Vec<MemberId>)> {
    let placement = |(_, action): &(_, _)| match action {
        Action::SetPlacement(placement) => {
            Some((placement.withdrawn, placement.data.iter().map(|placed| placed.on).collect()))
        }
        Action::SendProbe { .. }
        | Action::ArmSession(_)
        | Action::SetLateAfter { .. }
        | Action::DisarmSession { .. }
        | Action::Discover { .. }
        | Action::Release { .. }
        | Action::Announce { .. }
        | Action::Publish(_) => None,
    };
    lab.actions.iter().filter_map(placement).collect()
}

#[test]
fn on_group_failure_fail_withdraws_the_addresses_and_brings_them_back_announced() {
    let mut lab = Lab::settled(withdrawing());
    lab.run(secs(15));
    lab.forget_history();
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(secs(20));
    assert!(withdrawn(&lab));
    assert_eq!(placements(&lab), [(true, vec![a(), b()])]);
    assert_eq!(lab.records(Kind::Withdrawn)[0].reason, Reason::Withdrawn { addresses: 2 });
    lab.forget_history();
    lab.wire.dead_targets.clear();
    lab.run(secs(20));
    assert!(!withdrawn(&lab));
    assert_eq!(lab.places(), [a(), b()]);
    assert_eq!(placements(&lab).last(), Some(&(false, vec![a(), b()])));
    assert_eq!(lab.records(Kind::Withdrawn)[0].reason, Reason::Returned { addresses: 2 });
    let again = lab.actions.iter().filter(|(_, action)| matches!(action, Action::Announce { .. })).count();
    assert!(again >= 8, "four repetitions for each: {again}");
}

#[test]
fn an_announcement_under_way_ends_with_the_withdrawal() {
    let mut lab = Lab::settled(withdrawing());
    lab.wire.dead_targets.insert(V4_TARGET);
    assert!(lab.run_until(secs(2), withdrawn));
    lab.forget_history();
    lab.run(secs(20));
    assert!(!lab.actions.iter().any(|(_, action)| matches!(action, Action::Announce { .. })));
}

#[test]
fn withdrawn_addresses_return_to_the_one_member_that_works() {
    let mut lab = Lab::settled(withdrawing());
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(secs(3));
    lab.cut(a());
    lab.wire.dead_targets.clear();
    lab.run(secs(3));
    assert!(!withdrawn(&lab));
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn the_administrator_who_takes_the_last_member_offline_withdraws_nothing() {
    let mut lab = Lab::settled(withdrawing());
    for member in [a(), b()] {
        lab.command(crate::engine::event::Command::Offline { member, force: true });
    }
    lab.run(secs(3));
    assert!(!withdrawn(&lab));
}

#[test]
fn a14_a15_the_worst_cases_are_within_the_promised_ones() {
    let lab = Lab::settled(Setup::probed(2));
    let bounds = lab.engine.bounds(GROUP).expect("a probed group");
    assert!(bounds.detection.0 * 100 <= lab.setup.fdt.0 * 106, "{bounds:?}");
    assert!(bounds.repair.0 <= lab.setup.slot().0 * 12, "{bounds:?}");
    assert_eq!(Lab::settled(Setup::link_only(2)).engine.bounds(GROUP), None);
}

#[test]
fn a14_a15_no_run_exceeds_the_worst_cases() {
    for seed in 0..40 {
        let mut setup = with_routers(2);
        setup.seed = seed;
        let mut lab = Lab::settled(setup);
        let bounds = lab.engine.bounds(GROUP).expect("a probed group");
        lab.run(ms(seed * 17));
        lab.cut(a());
        assert!(lab.run_until(bounds.detection, |lab| lab.state(a()) == ShownState::Failed), "seed {seed}");
        lab.run(ms(seed * 23));
        lab.mend(a());
        assert!(lab.run_until(bounds.repair, |lab| lab.state(a()) == ShownState::Ok), "seed {seed}");
    }
}
