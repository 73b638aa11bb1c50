//! Reload: only what differs changes.

use alloc::{string::String, vec, vec::Vec};

use proptest::prelude::*;

use super::harness::{Lab, Setup, V4_TARGET, a, b, c, ms, secs};
use crate::engine::{
    action::Action,
    config::{Damping, DataAddresses, GroupConfig, OnGroupFailure},
    event::{Command, Event},
    ids::MemberId,
    reason::{Kind, Reason},
    snapshot::{GroupState, ShownState},
    time::Nanos,
};

/// Reloads with something changed.
pub(super) fn reload(lab: &mut Lab, change: impl FnOnce(&mut Vec<GroupConfig>)) {
    let mut groups = lab.engine.config().groups;
    change(&mut groups);
    lab.tell(Event::Reconfigure { groups });
    lab.turn();
}

/// What was asked for except probes.
fn asked(lab: &Lab) -> Vec<&Action> {
    let actions = lab.actions.iter().map(|(_, action)| action);
    actions.filter(|action| !matches!(action, Action::SendProbe { .. })).collect()
}

fn released(lab: &Lab) -> Vec<String> {
    let addresses = lab.actions.iter().filter_map(|(_, action)| {
        if let Action::Release { addresses, .. } = action { Some(addresses) } else { None }
    });
    addresses.flatten().map(alloc::string::ToString::to_string).collect()
}

fn list(groups: &mut [GroupConfig], member: usize) -> &mut Vec<ipnet::IpNet> {
    match &mut groups[0].interfaces[member].data {
        DataAddresses::Listed(list) => list,
        DataAddresses::Adopt => panic!("the set-up lists its addresses"),
    }
}

/// A second group with one of the interfaces of the first.
fn split(groups: &mut Vec<GroupConfig>, member: usize) {
    let interface = groups[0].interfaces.remove(member);
    let group = GroupConfig { name: "ipmp9".into(), interfaces: vec![interface], ..groups[0].clone() };
    groups.push(group);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever state the group is in.
    #[test]
    fn the_same_configuration_asks_for_nothing(
        seed: u64, dual: bool, standby: bool, failback: bool, steps in prop::collection::vec(0..9u8, 0..8),
    ) {
        let mut setup = if dual { Setup::dual_stack(3) } else { Setup::probed(3) };
        (setup.seed, setup.failback) = (seed, failback);
        let mut lab = Lab::settled(if standby { setup.standby(c()) } else { setup });
        for step in steps {
            match step {
                0 => lab.cut(a()),
                1 => lab.mend(a()),
                2 => lab.set_carrier(b(), false),
                3 => lab.set_carrier(b(), true),
                4 => lab.vanish(c()),
                5 if !lab.is_present(c()) => lab.appear(c()),
                6 => lab.command(Command::Offline { member: a(), force: true }),
                7 => lab.command(Command::Online { member: a() }),
                _ => {}
            }
            lab.run(ms(u64::from(step) * 400));
        }
        let (snapshot, due) = (lab.engine.snapshot(lab.now), lab.engine.poll_timeout());
        lab.forget_history();
        let groups = lab.engine.config().groups;
        lab.handle(Event::Reconfigure { groups });
        prop_assert_eq!(&lab.engine.snapshot(lab.now), &snapshot);
        prop_assert_eq!(lab.engine.poll_timeout(), due);
        prop_assert_eq!(lab.engine.poll_action(), None);
    }

    /// A group beside the one that changes sends the same probes at the same times.
    #[test]
    fn an_unchanged_group_does_not_twitch(seed: u64, change in 0..6u8) {
        let run = |change: Option<u8>| {
            let mut setup = Setup::probed(2);
            (setup.seed, setup.groups) = (seed, 2);
            let mut lab = Lab::settled(setup);
            lab.forget_history();
            reload(&mut lab, |groups| match change {
                Some(0) => groups[0].failure_detection_time = secs(5),
                Some(1) => drop(groups[0].interfaces.remove(0)),
                Some(2) => groups[0].targets.clear(),
                Some(3) => drop(groups.remove(0)),
                Some(4) => groups[0].interfaces[1].standby = true,
                Some(_) => list(groups, 0).clear(),
                None => {}
            });
            lab.run(secs(5));
            let snapshot = lab.engine.snapshot(lab.now);
            let mut group = snapshot.groups.iter().find(|group| group.name == "ipmp1").cloned();
            // How soon an answer is noticed depends on who else wakes the daemon.
            for target in group.iter_mut().flat_map(|g| &mut g.members).flat_map(|m| &mut m.targets) {
                (target.rtt_daemon, target.acked) = (None, 0);
            }
            let of_others = |action: &Action| {
                let record = if let Action::Publish(record) = action { record.member } else { None };
                record.is_some_and(|member| member.0 >= 2)
                    || matches!(action, Action::SetPlacement(placement) if placement.group.0 == 1)
            };
            let told = lab.actions.iter().filter(|(_, action)| of_others(action)).count();
            let probes: Vec<_> = lab.actions.iter().filter(|(_, action)| {
                matches!(action, Action::SendProbe { session, .. } if session.0 >= 2)
            }).cloned().collect();
            (told, group, probes)
        };
        let changed = run(Some(change));
        prop_assert_eq!(changed.0, 0);
        prop_assert!(!changed.2.is_empty());
        prop_assert_eq!(changed, run(None));
    }
}

#[test]
fn another_detection_time_is_in_force_at_once() {
    let mut lab = Lab::settled(Setup::probed(2));
    reload(&mut lab, |groups| groups[0].failure_detection_time = ms(70));
    assert_eq!(lab.engine.snapshot(lab.now).groups[0].fdt, ms(70));
    lab.run(ms(200));
    lab.cut(a());
    assert!(lab.run_until(ms(75), |lab| lab.state(a()) == ShownState::Failed));
    lab.mend(a());
    lab.run(secs(1));
    reload(&mut lab, |groups| groups[0].failure_detection_time = secs(7));
    lab.run(secs(30));
    assert_eq!(
        (lab.state(a()), lab.count(Kind::Failed, a())),
        (ShownState::Ok, 1),
        "no failure by the change"
    );
}

#[test]
fn an_address_that_is_added_is_served_and_announced() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.forget_history();
    reload(&mut lab, |groups| list(groups, 0).push("203.0.113.9/24".parse().expect("an address")));
    lab.run(secs(5));
    assert_eq!(lab.places(), [a(), a(), b()]);
    let announced = lab.actions.iter().any(|(_, action)| matches!(action, Action::Announce { .. }));
    assert!(announced, "{:?}", asked(&lab));
    assert_eq!(lab.records(Kind::Moved), []);
}

#[test]
fn an_address_that_is_removed_goes_after_all_else_was_placed() {
    let mut lab = Lab::settled(Setup::probed(2).addresses(a(), 2));
    lab.cut(a());
    lab.run(secs(2));
    lab.forget_history();
    reload(&mut lab, |groups| {
        list(groups, 0).remove(0);
    });
    assert_eq!(released(&lab), ["198.51.0.10/24"]);
    let last = asked(&lab).into_iter().rev().find(|action| !matches!(action, Action::Publish(_)));
    assert!(matches!(last, Some(Action::Release { .. })), "{last:?}");
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn an_address_that_changes_its_home_moves_and_is_not_taken_away() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.forget_history();
    reload(&mut lab, |groups| {
        let address = list(groups, 0).remove(0);
        list(groups, 1).push(address);
    });
    assert_eq!((lab.places(), released(&lab)), (vec![b(), b()], vec![]));
}

#[test]
fn a_member_that_leaves_keeps_what_it_has_and_what_was_moved_stays_moved() {
    let mut lab = Lab::settled(Setup::probed(3));
    lab.cut(b());
    lab.run(secs(2));
    let places = lab.places();
    assert_ne!(places[1], b());
    lab.forget_history();
    reload(&mut lab, |groups| drop(groups[0].interfaces.drain(..2)));
    let snapshot = lab.engine.snapshot(lab.now);
    let names: Vec<&str> = snapshot.groups[0].members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!((names, released(&lab)), (vec!["eth2"], vec![]));
    let expected = if places[1] == c() { 2 } else { 1 };
    assert_eq!(snapshot.groups[0].addresses.len(), expected, "what stands on the one that stays");
    assert!(snapshot.groups[0].addresses.iter().all(|address| (address.home, address.on) == (c(), c())));
    lab.run(secs(20));
    assert_eq!(lab.armed(), 1);
}

/// B21: no entry for an interface that was detached: its addresses stay, and are at home where they are.
#[test]
fn b21_without_an_entry_addresses_are_at_home_where_they_are() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.command(Command::Detach { members: vec![a()], force: false });
    lab.run(secs(1));
    lab.vanish(a());
    lab.run(secs(1));
    lab.forget_history();
    reload(&mut lab, |groups| drop(groups[0].interfaces.remove(0)));
    let told: Vec<Reason> = lab.records(Kind::Reconfigured).into_iter().map(|record| record.reason).collect();
    assert!(told.contains(&Reason::Rehomed { from: a() }), "{told:?}");
    assert_eq!((lab.places(), released(&lab)), (vec![b(), b()], vec![]));
    let groups = lab.engine.config().groups;
    lab.forget_history();
    lab.handle(Event::Reconfigure { groups });
    lab.turn();
    assert_eq!(asked(&lab), Vec::<&Action>::new(), "the same again");
}

#[test]
fn b4_b5_an_interface_joins_a_group_and_another_one_makes_a_new_group() {
    let mut lab = Lab::settled(Setup::probed(3));
    let full = lab.engine.config().groups;
    reload(&mut lab, |groups| groups[0].interfaces.truncate(1));
    lab.run(secs(1));
    assert_eq!(lab.places(), [a()]);
    lab.forget_history();
    reload(&mut lab, |groups| {
        groups.clear();
        groups.extend(full.clone());
    });
    // Both got their numbers back; the interfaces are there.
    lab.appear(b());
    lab.appear(c());
    lab.run(secs(2));
    assert_eq!(lab.places(), [a(), b(), c()]);
    assert_eq!(lab.count(Kind::Failed, b()), 0);
    reload(&mut lab, |groups| split(groups, 2));
    lab.appear(c());
    lab.run(secs(2));
    let snapshot = lab.engine.snapshot(lab.now);
    let shown: Vec<(&str, GroupState, usize)> = snapshot
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.state, group.addresses.len()))
        .collect();
    assert_eq!(shown, [("ipmp0", GroupState::Ok, 2), ("ipmp9", GroupState::Ok, 1)]);
    assert_eq!(released(&lab), Vec::<String>::new());
}

#[test]
fn a_group_that_goes_leaves_nothing_behind_and_its_number_is_used_again() {
    let mut setup = Setup::probed(2);
    setup.groups = 2;
    let mut lab = Lab::settled(setup);
    let second = lab.engine.config().groups.remove(1);
    reload(&mut lab, |groups| drop(groups.remove(1)));
    lab.run(secs(20));
    assert_eq!((lab.armed(), lab.engine.snapshot(lab.now).groups.len()), (2, 1));
    reload(&mut lab, |groups| groups.insert(0, second));
    let snapshot = lab.engine.snapshot(lab.now);
    let names: Vec<&str> = snapshot.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["ipmp1", "ipmp0"], "in the order of the file");
    lab.appear(MemberId(2));
    lab.appear(MemberId(3));
    lab.run(secs(2));
    assert_eq!((lab.armed(), lab.state(MemberId(2))), (4, ShownState::Ok));
}

#[test]
fn standby_and_failback_are_changed_live() {
    let mut lab = Lab::settled(Setup::probed(3));
    reload(&mut lab, |groups| {
        groups[0].interfaces[2].standby = true;
        list(groups, 2).clear();
    });
    assert_eq!((lab.member(c()).active, lab.state(c())), (false, ShownState::Ok));
    reload(&mut lab, |groups| groups[0].failback = false);
    lab.cut(a());
    lab.run(secs(2));
    lab.mend(a());
    lab.run(secs(3));
    assert_eq!((lab.places(), lab.member(a()).active), (vec![c(), b()], false), "it rests");
    reload(&mut lab, |groups| groups[0].failback = true);
    assert_eq!((lab.places(), lab.member(c()).active), (vec![a(), b()], false));
    reload(&mut lab, |groups| groups[0].interfaces[2].standby = false);
    assert!(lab.member(c()).active);
}

#[test]
fn targets_and_policy_are_changed_live() {
    let mut lab = Lab::settled(Setup::probed(2));
    let (group, family) = (super::harness::GROUP, crate::engine::ids::Family::V4);
    lab.tell(Event::Targets { group, family, targets: vec![V4_TARGET] });
    lab.run(ms(1));
    reload(&mut lab, |groups| groups[0].targets.clear());
    lab.run(secs(2));
    assert_eq!((lab.state(a()), lab.armed()), (ShownState::Ok, 2), "the router that was known already");
    reload(&mut lab, |groups| {
        groups[0].targets.push(V4_TARGET);
        groups[0].suspicion = true;
        groups[0].quiet_period = secs(1);
        groups[0].on_group_failure = OnGroupFailure::Fail;
    });
    lab.run(secs(2));
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(secs(3));
    assert!(lab.engine.snapshot(lab.now).groups[0].withdrawn);
    reload(&mut lab, |groups| groups[0].on_group_failure = OnGroupFailure::Keep);
    assert!(!lab.engine.snapshot(lab.now).groups[0].withdrawn);
}

#[test]
fn a_wait_that_is_shortened_is_over_in_time() {
    let mut lab = Lab::settled(Setup::link_only(2));
    reload(&mut lab, |groups| {
        groups[0].damping =
            Damping { link_down_delay: secs(60), failback_delay: secs(60), ..Damping::default() };
    });
    lab.set_carrier(a(), false);
    lab.run(secs(10));
    assert_eq!(lab.places(), [a(), b()], "the loss does not count yet");
    reload(&mut lab, |groups| groups[0].damping.link_down_delay = secs(1));
    lab.run(ms(10));
    assert_eq!(lab.places(), [b(), b()], "the wait is over");
    lab.set_carrier(a(), true);
    lab.run(secs(5));
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, vec![b(), b()]), "it rests");
    reload(&mut lab, |groups| groups[0].damping.failback_delay = Nanos(0));
    lab.run(ms(10));
    assert_eq!(lab.places(), [a(), b()]);
}
