//! Who serves: sections 5.5, 5.8, 13.12 and 15 of the behaviour.

use super::harness::{Lab, Setup, V4_TARGET, a, b, c, ms, secs};
use crate::engine::{
    Refusal,
    action::Action,
    event::Command,
    ids::MemberId,
    reason::{Kind, Reason},
    snapshot::{ProbeState, ShownState},
};

const FAIL: crate::engine::time::Nanos = secs(2);

fn active(lab: &Lab) -> alloc::vec::Vec<bool> {
    let snapshot = lab.engine.snapshot(lab.now);
    snapshot.groups[0].members.iter().map(|member| member.active).collect()
}

fn offline(member: MemberId, force: bool) -> Command {
    Command::Offline { member, force }
}

#[test]
fn a46_a_standby_covers_the_active_and_goes_back_to_rest() {
    let mut lab = Lab::settled(Setup::probed(2).standby(b()));
    assert_eq!(active(&lab), [true, false]);
    lab.cut(a());
    lab.run(FAIL);
    assert_eq!((active(&lab), lab.places()), ([false, true].into(), [b()].into()));
    lab.mend(a());
    lab.run(FAIL);
    assert_eq!((active(&lab), lab.places()), ([true, false].into(), [a()].into()));
}

#[test]
fn a63_the_failure_of_a_standby_moves_nothing() {
    let mut lab = Lab::settled(Setup::probed(2).standby(b()));
    // The announcements of the start come to an end.
    lab.run(secs(10));
    lab.forget_history();
    lab.cut(b());
    lab.run(FAIL);
    assert_eq!((lab.state(b()), lab.count(Kind::Failed, b())), (ShownState::Failed, 1));
    lab.mend(b());
    lab.run(FAIL);
    assert_eq!((lab.state(b()), active(&lab)), (ShownState::Ok, [true, false].into()));
    assert_eq!(lab.records(Kind::Moved).len(), 0);
    let announced = lab.actions.iter().any(|(_, action)| matches!(action, Action::Announce { .. }));
    assert!(!announced, "nothing moved, so there is nothing to announce");
}

#[test]
fn a_standby_goes_first() {
    let mut lab = Lab::settled(Setup::probed(3).standby(c()));
    lab.cut(a());
    lab.run(FAIL);
    assert_eq!((active(&lab), lab.places()), ([false, true, true].into(), [c(), b()].into()));
}

#[test]
fn a_group_of_standbys_has_one_in_service() {
    let mut lab = Lab::settled(Setup::probed(2).standby(a()).standby(b()).addresses(a(), 1));
    assert_eq!(active(&lab), [true, false]);
    lab.cut(a());
    lab.run(FAIL);
    assert_eq!((active(&lab), lab.places()), ([false, true].into(), [b()].into()));
    lab.mend(a());
    lab.run(FAIL);
    assert_eq!((active(&lab), lab.places()), ([false, true].into(), [b()].into()), "no need to go back");
}

#[test]
fn a_group_of_standbys_starts_with_the_one_that_has_the_addresses() {
    let lab = Lab::settled(Setup::probed(2).standby(a()).standby(b()).addresses(b(), 1));
    assert_eq!((active(&lab), lab.places()), ([false, true].into(), [b()].into()));
}

#[test]
fn without_failback_a_repaired_member_rests() {
    let mut lab = Lab::settled(Setup::probed(2).standby(b()).without_failback());
    lab.cut(a());
    lab.run(FAIL);
    lab.mend(a());
    lab.run(FAIL);
    assert_eq!(lab.state(a()), ShownState::Ok);
    assert_eq!((active(&lab), lab.places()), ([false, true].into(), [b()].into()));
    lab.cut(b());
    lab.run(FAIL);
    assert_eq!((active(&lab), lab.places()), ([true, false].into(), [a()].into()), "until it is needed");
}

#[test]
fn without_failback_a_repaired_member_is_redeployed_when_too_few_serve() {
    let mut lab = Lab::settled(Setup::probed(2).without_failback());
    lab.cut(a());
    lab.run(FAIL);
    assert_eq!(active(&lab), [false, true]);
    lab.mend(a());
    lab.run(FAIL);
    assert_eq!(active(&lab), [true, true]);
}

#[test]
fn without_failback_a_failed_group_returns_to_where_it_was() {
    for seed in 0..10 {
        let mut setup = Setup::probed(2).standby(b()).without_failback();
        setup.seed = seed;
        let mut lab = Lab::settled(setup);
        lab.forget_history();
        lab.wire.dead_targets.insert(V4_TARGET);
        lab.run(FAIL);
        lab.wire.dead_targets.clear();
        lab.run(FAIL);
        assert_eq!((active(&lab), lab.places()), ([true, false].into(), [a()].into()), "seed {seed}");
        assert_eq!(lab.records(Kind::Moved).len(), 0);
    }
}

#[test]
fn a35_offline_moves_away_and_online_moves_back() {
    for setup in [Setup::probed(2), Setup::probed(2).without_failback(), Setup::link_only(2)] {
        let mut lab = Lab::settled(setup);
        lab.command(offline(a(), false));
        lab.turn();
        assert_eq!((lab.state(a()), lab.places()), (ShownState::Offline, [b(), b()].into()));
        let sent = lab.actions.len();
        lab.run(FAIL);
        let probes = lab.member(a()).targets.iter().map(|target| target.sent).sum::<u64>();
        lab.run(FAIL);
        assert_eq!(lab.member(a()).targets.iter().map(|target| target.sent).sum::<u64>(), probes);
        assert!(lab.actions.len() >= sent);
        lab.command(Command::Online { member: a() });
        lab.turn();
        assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, [a(), b()].into()));
        lab.run(ms(10));
        let moved = lab.records(Kind::Moved);
        assert!(
            moved.len() == 2 && moved.iter().all(|moved| moved.evidence_at.is_none()),
            "by order: {moved:?}"
        );
    }
}

#[test]
fn a_standby_at_rest_counts_as_functioning_when_the_active_one_is_taken_offline() {
    let mut lab = Lab::settled(Setup::probed(2).standby(b()));
    assert_eq!(lab.engine.check(&offline(a(), false)), Ok(()));
    lab.command(offline(a(), false));
    lab.turn();
    assert_eq!((active(&lab), lab.places()), ([false, true].into(), [b()].into()));
    lab.command(Command::Online { member: a() });
    lab.turn();
    assert_eq!((active(&lab), lab.places()), ([true, false].into(), [a()].into()));
}

#[test]
fn what_is_repaired_while_offline_stays_offline_and_comes_online_working() {
    let mut lab = Lab::settled(Setup::link_only(2));
    lab.set_carrier(a(), false);
    lab.turn();
    lab.command(offline(a(), true));
    lab.turn();
    lab.set_carrier(a(), true);
    lab.run(secs(1));
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Offline, [b(), b()].into()));
    assert_eq!(lab.member(a()).reason, Reason::Administrator { forced: false }, "not its repair");
    lab.command(Command::Online { member: a() });
    lab.turn();
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Ok, [a(), b()].into()));
}

#[test]
fn b11_the_last_functioning_member_is_not_taken_offline() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.cut(b());
    lab.run(FAIL);
    assert_eq!(lab.engine.check(&offline(a(), false)), Err(Refusal::LastFunctioning));
    lab.command(offline(a(), false));
    lab.turn();
    assert_eq!(lab.state(a()), ShownState::Ok);
}

#[test]
fn b12_unless_forced_and_then_the_addresses_stay() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.cut(b());
    lab.run(FAIL);
    lab.command(offline(a(), true));
    lab.turn();
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Offline, [a(), a()].into()));
    assert_eq!(lab.member(a()).reason, Reason::Administrator { forced: true });
    assert_eq!(lab.records(Kind::Offline)[0].reason, Reason::Administrator { forced: true });
}

#[test]
fn commands_that_change_nothing_are_refused() {
    let mut lab = Lab::settled(Setup::probed(2));
    assert_eq!(lab.engine.check(&Command::Online { member: a() }), Err(Refusal::NotOffline));
    assert_eq!(lab.engine.check(&offline(c(), false)), Err(Refusal::NoSuchMember));
    lab.command(offline(a(), false));
    lab.turn();
    assert_eq!(lab.engine.check(&offline(a(), true)), Err(Refusal::AlreadyOffline));
}

#[test]
fn force_that_was_not_needed_is_not_told() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.command(offline(a(), true));
    lab.turn();
    assert_eq!(lab.member(a()).reason, Reason::Administrator { forced: false });
}

#[test]
fn what_fails_while_offline_is_failed_when_it_comes_online() {
    let mut lab = Lab::settled(Setup::link_only(2));
    lab.command(offline(a(), false));
    lab.turn();
    lab.set_carrier(a(), false);
    lab.run(ms(10));
    assert_eq!(lab.state(a()), ShownState::Offline);
    lab.command(Command::Online { member: a() });
    lab.turn();
    assert_eq!((lab.state(a()), lab.places()), (ShownState::Failed, [b(), b()].into()));
    assert!(
        matches!(lab.member(a()).reason, Reason::LinkDown { .. }),
        "not the order: {}",
        lab.member(a()).reason
    );
}

#[test]
fn a_member_that_is_offline_is_not_probed_and_says_so() {
    let mut lab = Lab::settled(Setup::probed(2));
    assert_eq!(lab.member(a()).probe, ProbeState::Ok);
    lab.command(offline(a(), false));
    lab.run(FAIL);
    assert_eq!(lab.member(a()).probe, ProbeState::Disabled);
    lab.command(Command::Online { member: a() });
    lab.run(FAIL);
    assert_eq!(lab.member(a()).probe, ProbeState::Ok);
}

#[test]
fn a_failed_standby_comes_online_failed() {
    let mut lab = Lab::settled(Setup::probed(3).standby(c()));
    lab.cut(c());
    lab.run(FAIL);
    lab.command(offline(c(), false));
    lab.turn();
    lab.command(Command::Online { member: c() });
    lab.run(FAIL);
    assert_eq!(lab.state(c()), ShownState::Failed);
    lab.mend(c());
    lab.run(FAIL);
    assert_eq!((lab.state(c()), active(&lab)), (ShownState::Ok, [true, true, false].into()));
}
