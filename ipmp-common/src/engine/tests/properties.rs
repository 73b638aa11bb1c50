//! Properties of whole runs. What holds at every moment is checked by the harness; here stand the bounds in
//! time and the agreement with a small model that knows nothing of probes.

use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::harness::{GROUP, Lab, Loss, Setup, V4_TARGET, a, b, ms, secs};
use crate::engine::{
    action::Action,
    event::{CarrierSource, Command, Event, NotSent, Presence},
    ids::MemberId,
    reason::{Kind, Reason, Record},
    snapshot::ShownState,
    time::Nanos,
};

/// From 10 ms to an hour, evenly over the orders of magnitude.
fn any_fdt() -> impl Strategy<Value = Nanos> {
    prop_oneof![10..100u64, 100..1000u64, 1000..10_000u64, 10_000..3_600_000u64].prop_map(ms)
}

/// Starts with times in thousandths of the FDT: the round trip is at most half a slot (71) or a slot (142).
fn settled(mut setup: Setup, seed: u64, fdt: Nanos, rtt_permille: u64) -> Lab {
    (setup.seed, setup.fdt) = (seed, fdt);
    setup.rtt = Nanos(fdt.0 / 1000 * rtt_permille).max(Nanos(1));
    Lab::settled(setup)
}

fn pair(seed: u64, fdt: Nanos, rtt_permille: u64) -> Lab {
    settled(Setup::probed(2), seed, fdt, rtt_permille)
}

fn part(fdt: Nanos, permille: u64) -> Nanos {
    Nanos((u128::from(fdt.0) * u128::from(permille) / 1000) as u64)
}

const fn lost_five(record: &Record) -> bool {
    matches!(record.reason, Reason::ProbesLost { losses: 5.., .. })
}

const fn answered_ten(record: &Record) -> bool {
    matches!(record.reason, Reason::ProbesAnswered { replies: 10.., .. })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(256))]

    /// Acceptance check 1 of section 15.
    #[test]
    fn a14_detection_takes_at_most_1_06_of_the_detection_time(
        seed: u64, fdt in any_fdt(), rtt in 0..70u64, phase in 0..1000u64, late in 0..20u64, dual: bool,
    ) {
        let setup = if dual { Setup::dual_stack(2) } else { Setup::probed(2) };
        let mut lab = settled(setup, seed, fdt, rtt);
        lab.run(part(fdt, phase));
        lab.lateness = part(fdt, late);
        lab.cut(a());
        let cut = lab.now;
        let limit = part(fdt, 1060);
        prop_assert!(lab.run_until(limit, |lab| lab.state(a()) == ShownState::Failed));
        prop_assert!(lab.now.since(cut) <= limit);
        let failed = lab.records(Kind::Failed);
        prop_assert!(lost_five(&failed[0]), "{:?}", failed);
        prop_assert_eq!(lab.places(), [b(), b()]);
        prop_assert_eq!(failed.len(), 1);
    }

    #[test]
    fn a14_four_losses_at_any_moment_fail_nothing(
        seed: u64, fdt in any_fdt(), rtt in 0..70u64, phase in 0..1000u64, late in 0..20u64, back: bool,
    ) {
        let mut lab = pair(seed, fdt, rtt);
        lab.run(part(fdt, phase));
        lab.lateness = part(fdt, late);
        if back {
            lab.wire.ports[0].back = Loss::Drop(4);
        } else {
            lab.set_loss(a(), Loss::Drop(4));
        }
        lab.run(fdt.times(3));
        prop_assert_eq!(lab.records(Kind::Failed), vec![]);
        prop_assert_eq!(lab.member(a()).targets[0].lost, 4);
    }

    /// Ten probes leave within 8.5 slots (each in the second half of its slot) to 10.5, if the path was mended just after
    /// one had left. The tenth answer is noticed with the daemon's next wake: at once if a sibling's slot is due, at
    /// the latest with the own next probe, or the one after that if it is still under way then.
    #[test]
    fn a15_repair_takes_ten_answers_and_8_5_to_12_5_slots(
        seed: u64, fdt in any_fdt(), rtt in 0..140u64, phase in 0..1000u64, suspicion: bool,
    ) {
        let mut lab = settled(Setup { suspicion, ..Setup::probed(2) }, seed, fdt, rtt);
        lab.cut(a());
        lab.run(fdt.times(2) + part(fdt, phase));
        let acked = lab.member(a()).targets[0].acked;
        lab.mend(a());
        let mended = lab.now;
        prop_assert!(lab.run_until(fdt.times(2), |lab| lab.state(a()) == ShownState::Ok));
        let half_slot = lab.setup.slot().divided(2);
        let near = lab.setup.rtt <= half_slot;
        let most = half_slot.times(if near { 23 } else { 25 });
        let took = lab.now.since(mended);
        prop_assert!((half_slot.times(17) + lab.setup.rtt..=most).contains(&took), "{took} of {most}");
        prop_assert!(lab.engine.bounds(GROUP).is_some_and(|bounds| took <= bounds.repair));
        let answers = lab.member(a()).targets[0].acked - acked;
        prop_assert!(answers == 10 || answers == 11 && !near, "{answers}: the next one may come with the tenth");
        prop_assert_eq!(lab.places(), [a(), b()]);
    }

    /// Acceptance check 3 of section 15. However long the target is away: no member fails alone because its fifth loss
    /// came just before the other saw an answer.
    #[test]
    fn a18_a_dead_target_at_any_moment_moves_nothing(
        seed: u64, fdt in any_fdt(), rtt in 0..140u64, phase in 0..1000u64, outage in 1..5000u64, suspicion: bool,
        dual: bool,
    ) {
        let mut setup = if dual { Setup::dual_stack(2) } else { Setup::probed(2) };
        setup.suspicion = suspicion;
        let mut lab = settled(setup, seed, fdt, rtt);
        lab.run(part(fdt, phase));
        lab.forget_history();
        lab.wire.dead_targets.extend(lab.setup.targets.clone());
        lab.run(part(fdt, outage));
        lab.wire.dead_targets.clear();
        lab.run(fdt.times(3));
        prop_assert_eq!(lab.records(Kind::Moved), vec![]);
        prop_assert_eq!([lab.state(a()), lab.state(b())], [ShownState::Ok; 2]);
    }

    /// The same for a router whose two addresses vanish one after the other, and come back so.
    #[test]
    fn a18_targets_of_both_families_die_apart_and_nothing_moves(
        seed: u64, fdt in any_fdt(), phase in 0..1000u64, apart in 0..3000u64, outage in 1..3000u64, suspicion: bool,
    ) {
        let mut setup = Setup::dual_stack(2);
        setup.suspicion = suspicion;
        let mut lab = settled(setup, seed, fdt, 10);
        lab.run(part(fdt, phase));
        lab.forget_history();
        for target in lab.setup.targets.clone() {
            lab.wire.dead_targets.insert(target);
            lab.run(part(fdt, apart));
        }
        lab.run(part(fdt, outage));
        for target in lab.setup.targets.clone() {
            lab.wire.dead_targets.remove(&target);
            lab.run(part(fdt, apart));
        }
        lab.run(fdt.times(3));
        prop_assert_eq!(lab.records(Kind::Moved), vec![]);
        prop_assert_eq!([lab.state(a()), lab.state(b())], [ShownState::Ok; 2]);
    }

    #[test]
    fn a_stall_of_any_length_on_a_healthy_path_fails_nothing(
        seed: u64, fdt in any_fdt(), rtt in 0..140u64, phase in 0..1000u64,
        stalls in prop::collection::vec((0..200_000u64, 0..3000u64), 1..5),
    ) {
        let mut lab = pair(seed, fdt, rtt);
        lab.run(part(fdt, phase));
        for (length, pause) in &stalls {
            lab.stall(part(fdt, *length));
            lab.run(part(fdt, *length + *pause));
        }
        lab.run(fdt);
        prop_assert_eq!(lab.records(Kind::Failed), vec![]);
        let longest = stalls.iter().map(|(length, _)| *length).max();
        // Half an FDT late is told, and a slot's wait may pass before anything is late.
        let told = !lab.records(Kind::Stalled).is_empty();
        prop_assert!(told || longest < Some(800), "a stall went unreported");
        prop_assert!(!told || longest >= Some(500), "a stall was made up");
        prop_assert_eq!(lab.engine.snapshot(lab.now).stalls, lab.records(Kind::Stalled).len() as u64);
    }

    /// With the only answer coming from one of several targets, that one's turn comes once in so many slots.
    #[test]
    fn a15_one_target_that_answers_repairs_within_its_worst_case(
        seed: u64, fdt in any_fdt(), count in 1..6u8, phase in 0..1000u64, suspicion: bool,
    ) {
        let mut setup = Setup::probed(2);
        setup.suspicion = suspicion;
        setup.targets = (1..=count).map(|host| [192, 0, 2, host].into()).collect();
        let mut lab = settled(setup, seed, fdt, 10);
        lab.cut(a());
        lab.run(fdt.times(2) + part(fdt, phase));
        prop_assert_eq!(lab.state(a()), ShownState::Failed);
        let bounds = lab.engine.bounds(GROUP).expect("a probed group");
        lab.wire.dead_targets.extend(lab.setup.targets.iter().skip(1));
        lab.mend(a());
        prop_assert!(lab.run_until(bounds.repair_by_one, |lab| lab.state(a()) == ShownState::Ok), "{:?}", bounds);
    }

    /// Burst loss is loss: a verdict needs five in a row and never strands an address (the harness checks).
    #[test]
    fn burst_loss_never_moves_an_address_to_a_failed_member(
        seed: u64, begins in 10..200u64, ends in 100..600u64,
    ) {
        let mut lab = pair(seed, secs(1), 10);
        for member in [a(), b()] {
            lab.set_loss(member, Loss::Burst { begins, ends, bad: false });
        }
        lab.run(secs(60));
        for record in lab.records(Kind::Failed) {
            prop_assert!(lost_five(&record));
        }
        for record in lab.records(Kind::Repaired) {
            prop_assert!(answered_ten(&record));
        }
    }
}

/// What can befall a host.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pull(u32),
    Plug(u32),
    Cut(u32),
    CutBack(u32),
    Mend(u32),
    Refuse(u32, NotSent),
    Vanish(u32),
    Appear(u32),
    Offline(u32, bool),
    Online(u32),
    TargetDies,
    TargetLives,
    Stall(u64),
    Late(u64),
    Run(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let member = || 0..3u32;
    let cause = prop_oneof![Just(NotSent::Unresolved), Just(NotSent::Resolving), Just(NotSent::NeverLeft)];
    prop_oneof![
        1 => member().prop_map(Step::Pull),
        1 => member().prop_map(Step::Plug),
        1 => member().prop_map(Step::Cut),
        1 => member().prop_map(Step::CutBack),
        2 => member().prop_map(Step::Mend),
        1 => (member(), cause).prop_map(|(member, cause)| Step::Refuse(member, cause)),
        1 => member().prop_map(Step::Vanish),
        1 => member().prop_map(Step::Appear),
        1 => (member(), any::<bool>()).prop_map(|(member, force)| Step::Offline(member, force)),
        1 => member().prop_map(Step::Online),
        1 => Just(Step::TargetDies),
        1 => Just(Step::TargetLives),
        1 => (0..30_000u64).prop_map(Step::Stall),
        1 => (0..2000u64).prop_map(Step::Late),
        6 => (0..30_000u64).prop_map(Step::Run),
    ]
}

fn take(lab: &mut Lab, step: Step) {
    let id = MemberId;
    match step {
        Step::Pull(member) => lab.set_carrier(id(member), false),
        Step::Plug(member) => lab.set_carrier(id(member), true),
        Step::Cut(member) => lab.cut(id(member)),
        Step::CutBack(member) => lab.wire.ports[member as usize].back = Loss::Cut,
        Step::Mend(member) => {
            lab.mend(id(member));
            lab.wire.ports[member as usize].refuses = None;
        }
        Step::Refuse(member, cause) => lab.wire.ports[member as usize].refuses = Some(cause),
        Step::Vanish(member) => lab.vanish(id(member)),
        Step::Appear(member) if lab.is_present(id(member)) => {}
        Step::Appear(member) => lab.appear(id(member)),
        Step::Offline(member, force) => lab.command(Command::Offline { member: id(member), force }),
        Step::Online(member) => lab.command(Command::Online { member: id(member) }),
        Step::TargetDies => lab.wire.dead_targets.extend([V4_TARGET]),
        Step::TargetLives => lab.wire.dead_targets.clear(),
        Step::Stall(length) => lab.stall(ms(length)),
        Step::Late(by) => lab.lateness = ms(by),
        Step::Run(length) => lab.run(ms(length)),
    }
}

/// The model: a member works if its interface is there, in service, linked and (if probed) its path passes.
fn works(lab: &Lab, member: MemberId) -> bool {
    let port = lab.wire.ports[member.0 as usize];
    let path = port.out == Loss::None && port.back == Loss::None && lab.wire.dead_targets.is_empty();
    let probed = lab.setup.members[member.0 as usize].v4;
    port.carrier && lab.is_present(member) && (!probed || path)
}

/// Hands in everything that is so once more, as a reload of the same configuration and every reading anew of the
/// kernel's tables do. Returns what that asks for.
fn told_again(lab: &mut Lab) -> Vec<Action> {
    let first = lab.actions.len();
    for number in 0..lab.setup.members.len() as u32 {
        let member = MemberId(number);
        let shown = lab.member(member);
        if shown.ifindex == 0 {
            lab.tell(Event::InterfaceGone { member });
            continue;
        }
        let (ifindex, link_up) = (shown.ifindex, shown.link_up);
        lab.tell(Event::InterfacePresent(Presence {
            member,
            ifindex,
            link_up,
            adopted: vec![],
            displaced: false,
        }));
        if let Some(up) = link_up {
            let (at, source) = (lab.now, CarrierSource::Netlink);
            lab.tell(Event::Carrier { member, up, at, source, downs: u64::from(!up) });
        }
        lab.tell_test_address(member);
    }
    lab.turn();
    lab.actions.drain(first..).map(|(_, action)| action).filter(|action| !is_probe(action)).collect()
}

/// A probe that was due anyway, or an announcement's repetition.
const fn is_probe(action: &Action) -> bool {
    matches!(action, Action::SendProbe { .. } | Action::Announce { .. } | Action::Discover { .. })
}

fn run_story(mut setup: Setup, steps: &[Step]) -> Result<(), TestCaseError> {
    setup.fdt = secs(7);
    let mut lab = Lab::settled(setup);
    for step in steps {
        take(&mut lab, *step);
    }
    // A member that cannot send gives no evidence, so the model cannot tell whether it works.
    lab.wire.ports.iter_mut().for_each(|port| port.refuses = None);
    lab.lateness = Nanos(0);
    lab.run(secs(130));
    let members: Vec<MemberId> = (0..lab.setup.members.len() as u32).map(MemberId).collect();
    prop_assert_eq!(told_again(&mut lab), vec![], "what is known already asks for something");
    for member in members.iter().copied() {
        let expected = match lab.state(member) {
            ShownState::Ok => works(&lab, member),
            ShownState::Failed => !works(&lab, member) && lab.is_present(member),
            ShownState::Absent => !lab.is_present(member),
            ShownState::Offline => true,
            ShownState::Unknown => false,
        };
        prop_assert!(expected, "{:?} of {:?}", lab.member(member), lab.wire.ports[member.0 as usize]);
    }
    for member in members.iter().copied() {
        lab.set_carrier(member, true);
        take(&mut lab, Step::Mend(member.0));
        take(&mut lab, Step::Appear(member.0));
        take(&mut lab, Step::Online(member.0));
    }
    lab.wire.dead_targets.clear();
    lab.run(secs(130));
    prop_assert!(members.iter().all(|member| lab.state(*member) == ShownState::Ok));
    if lab.setup.failback {
        let homes: Vec<MemberId> =
            lab.engine.snapshot(lab.now).groups[0].addresses.iter().map(|address| address.home).collect();
        prop_assert_eq!(lab.places(), homes);
    }
    for member in members {
        lab.vanish(member);
    }
    lab.run(secs(20));
    prop_assert_eq!((lab.armed(), lab.engine.poll_timeout()), (0, None), "something is left behind");
    Ok(())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn probed_groups_agree_with_the_model(
        seed: u64, failback: bool, standby: bool, steps in prop::collection::vec(any_step(), 1..25),
    ) {
        let mut setup = Setup::probed(3);
        (setup.seed, setup.failback) = (seed, failback);
        run_story(if standby { setup.standby(MemberId(2)) } else { setup }, &steps)?;
    }

    #[test]
    fn link_only_groups_agree_with_the_model(
        failback: bool, standby: bool, steps in prop::collection::vec(any_step(), 1..25),
    ) {
        let mut setup = Setup::link_only(3);
        setup.failback = failback;
        run_story(if standby { setup.standby(MemberId(2)) } else { setup }, &steps)?;
    }
}
