//! Whose fault is it: sections 5.3, 13.1 and 15 of the behaviour.

use super::harness::{Lab, Loss, Setup, V4_TARGET, a, b, c, ms, secs};
use crate::engine::{
    Refusal,
    action::Action,
    event::{Command, NotSent},
    reason::{Kind, Reason},
    snapshot::{GroupState, ShownState},
};

fn group_state(lab: &Lab) -> GroupState {
    lab.engine.snapshot(lab.now).groups[0].state
}

fn placements(lab: &Lab) -> usize {
    lab.records(Kind::Moved).len()
}

#[test]
fn a18_everything_fails_at_once_and_nothing_moves() {
    let mut lab = Lab::settled(Setup::probed(3));
    lab.forget_history();
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(secs(2));
    assert_eq!(group_state(&lab), GroupState::Failed);
    assert_eq!(lab.places(), [a(), b(), c()]);
    assert_eq!(placements(&lab), 0);
    let told = lab.records(Kind::GroupState);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].reason, Reason::GroupFailure { members: 3 });
    assert_eq!(lab.records(Kind::Failed).len(), 3, "each with evidence of its own");
}

#[test]
fn a18_recovery_from_a_group_failure_moves_nothing() {
    for seed in 0..25 {
        let mut setup = Setup::probed(3);
        setup.seed = seed;
        let mut lab = Lab::settled(setup);
        lab.forget_history();
        lab.wire.dead_targets.insert(V4_TARGET);
        lab.run(secs(3));
        lab.wire.dead_targets.clear();
        lab.run(secs(3));
        assert_eq!(group_state(&lab), GroupState::Ok);
        assert_eq!(placements(&lab), 0, "seed {seed}");
    }
}

#[test]
fn a18_a_slow_dead_gateway_exonerates_nobody() {
    for seed in 0..25 {
        let mut setup = Setup::probed(2);
        // Replies are still under way to one member when the other's next probe finds the gateway dead.
        (setup.seed, setup.rtt) = (seed, ms(90));
        let mut lab = Lab::settled(setup);
        lab.forget_history();
        lab.run(ms(seed * 7));
        lab.wire.dead_targets.insert(V4_TARGET);
        lab.run(secs(3));
        assert_eq!(group_state(&lab), GroupState::Failed);
        assert_eq!(placements(&lab), 0, "seed {seed}");
    }
}

#[test]
fn one_recovers_alone_after_a_group_failure_and_takes_over() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(secs(2));
    lab.cut(a());
    lab.wire.dead_targets.clear();
    lab.run(ms(1200));
    assert_eq!(lab.places(), [b(), b()]);
    assert_eq!(group_state(&lab), GroupState::Degraded);
}

#[test]
fn a_mute_host_does_not_block_the_recovery() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(secs(2));
    lab.wire.dead_targets.clear();
    lab.run(ms(500));
    // It has answered a few times; from now on it can no longer even ask.
    lab.wire.ports[0].refuses = Some(NotSent::Local { errno: 1 });
    lab.run(secs(5));
    assert_eq!(lab.state(b()), ShownState::Ok);
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn a22_single_interface_group() {
    let mut lab = Lab::settled(Setup::probed(1));
    lab.forget_history();
    lab.cut(a());
    lab.run(secs(2));
    assert_eq!((lab.state(a()), group_state(&lab)), (ShownState::Failed, GroupState::Failed));
    assert_eq!(lab.count(Kind::Failed, a()), 1, "the interface is told");
    assert_eq!(lab.records(Kind::GroupState).len(), 1, "and the group");
    assert_eq!(lab.places(), [a()]);
    lab.mend(a());
    lab.run(secs(2));
    assert_eq!((lab.state(a()), group_state(&lab)), (ShownState::Ok, GroupState::Ok));
    assert_eq!(placements(&lab), 0);
}

#[test]
fn two_carriers_lost_in_one_turn_move_nothing() {
    for setup in [Setup::probed(2), Setup::link_only(2)] {
        let mut lab = Lab::settled(setup);
        lab.forget_history();
        lab.set_carrier(a(), false);
        lab.set_carrier(b(), false);
        lab.run(secs(2));
        assert_eq!(group_state(&lab), GroupState::Failed);
        assert_eq!(placements(&lab), 0);
        lab.set_carrier(b(), true);
        lab.set_carrier(a(), true);
        lab.run(secs(2));
        assert_eq!(group_state(&lab), GroupState::Ok);
        assert_eq!(placements(&lab), 0);
    }
}

#[test]
fn a_lossy_sibling_never_turns_one_failure_into_a_group_failure() {
    for seed in 0..25 {
        let mut setup = Setup::probed(2);
        setup.seed = seed;
        let mut lab = Lab::settled(setup);
        // Four in a row: never enough to fail by itself, but enough to be silent when the other fails.
        lab.set_loss(b(), Loss::Most { answered: 5, seen: 0 });
        lab.run(ms(seed * 10));
        lab.cut(a());
        lab.run(secs(4));
        assert_eq!(lab.state(a()), ShownState::Failed, "seed {seed}");
        assert_eq!(lab.count(Kind::Failed, b()), 0, "seed {seed}");
        assert_eq!(lab.places(), [b(), b()]);
    }
}

#[test]
fn a_mute_sibling_does_not_keep_a_member_from_failing() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.wire.ports[1].refuses = Some(NotSent::NeverLeft);
    lab.run(secs(2));
    lab.cut(a());
    lab.run(secs(2));
    assert_eq!(lab.state(a()), ShownState::Failed);
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn a_link_only_sibling_exonerates() {
    let mut setup = Setup::probed(2);
    setup.members[1].v4 = false;
    let mut lab = Lab::settled(setup);
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(ms(742));
    assert_eq!(group_state(&lab), GroupState::Degraded);
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn a_sibling_without_targets_exonerates_when_the_link_is_down() {
    let mut setup = Setup::probed(2);
    setup.targets.clear();
    let mut lab = Lab::settled(setup);
    assert_eq!(lab.state(b()), ShownState::Unknown);
    lab.set_carrier(a(), false);
    lab.run(ms(1));
    assert_eq!((lab.state(a()), lab.state(b())), (ShownState::Failed, ShownState::Unknown));
    assert_eq!(group_state(&lab), GroupState::Degraded);
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn the_last_one_to_fail_keeps_the_addresses() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.cut(a());
    lab.run(secs(2));
    lab.cut(b());
    lab.run(secs(2));
    assert_eq!(group_state(&lab), GroupState::Failed);
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn a_member_that_appears_in_a_failed_group_serves() {
    let mut lab = Lab::settled(Setup::probed(3).absent(c()));
    lab.wire.ports[0].out = Loss::Cut;
    lab.wire.ports[1].out = Loss::Cut;
    lab.run(secs(2));
    assert_eq!(group_state(&lab), GroupState::Failed);
    lab.appear(c());
    lab.run(secs(3));
    assert_eq!(lab.places(), [c(), c(), c()]);
    assert_eq!(group_state(&lab), GroupState::Degraded);
    // The group has no longer failed as a whole, so the next failure is judged by its siblings again.
    lab.mend(a());
    lab.run(secs(2));
    lab.cut(c());
    lab.run(secs(2));
    assert_eq!((lab.state(a()), lab.state(c())), (ShownState::Ok, ShownState::Failed));
}

#[test]
fn after_a_group_failure_a_healthy_sibling_is_not_condemned_with_the_next_one() {
    let mut lab = Lab::settled(Setup::probed(3));
    for member in [a(), b()] {
        lab.command(Command::Offline { member, force: false });
    }
    lab.cut(c());
    lab.run(secs(2));
    assert_eq!(group_state(&lab), GroupState::Failed);
    for member in [a(), b()] {
        lab.command(Command::Online { member });
    }
    lab.run(secs(2));
    assert_eq!(lab.places(), [a(), b(), a()]);
    lab.cut(a());
    lab.run(secs(2));
    assert_eq!((lab.state(a()), lab.state(b())), (ShownState::Failed, ShownState::Ok));
    assert_eq!(lab.places(), [b(), b(), b()]);
    assert_eq!(lab.records(Kind::Repaired), [], "what never failed is not repaired");
}

#[test]
fn members_of_the_anonymous_group_are_judged_alone_and_nothing_moves() {
    let mut setup = Setup::link_only(2).addresses(a(), 0).addresses(b(), 0);
    setup.name = "";
    let mut lab = Lab::settled(setup);
    lab.set_carrier(a(), false);
    lab.run(secs(1));
    assert_eq!((lab.state(a()), lab.state(b())), (ShownState::Failed, ShownState::Ok));
    lab.set_carrier(b(), false);
    lab.run(secs(1));
    assert_eq!(lab.state(b()), ShownState::Failed);
    assert_eq!(lab.engine.snapshot(lab.now).groups[0].state, GroupState::Ok);
    lab.set_carrier(a(), true);
    lab.run(secs(1));
    assert_eq!((lab.state(a()), lab.state(b())), (ShownState::Ok, ShownState::Failed));
    assert_eq!((lab.records(Kind::GroupState).len(), lab.records(Kind::Activity).len()), (0, 0));
    let placed = lab.actions.iter().any(|(_, action)| matches!(action, Action::SetPlacement(_)));
    assert!(!placed, "no address and no route is ours");
    let order = |force| Command::Offline { member: a(), force };
    assert_eq!(lab.engine.check(&order(false)), Err(Refusal::LastFunctioning), "nobody stands in");
    assert_eq!(lab.engine.check(&order(true)), Ok(()));
}
