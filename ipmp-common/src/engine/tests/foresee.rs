//! What is foreseen is what is then ordered.

use alloc::{collections::BTreeMap, vec::Vec};
use core::cell::{Cell, RefCell};

use proptest::{prelude::*, test_runner::TestRunner};

use super::harness::{GROUP, Interface, Lab, Setup, a, b, c, secs};
use crate::engine::{
    Engine,
    action::{Action, Placement},
    config::{Damping, OnGroupFailure},
    event::{Command, Event, Hardware, Presence},
    ids::MemberId,
    reason::Reason,
    snapshot::ShownState::{self, Failed, Ok as Works},
    time::Nanos,
};

/// What was asked for since then, as it is foreseen.
fn ordered(lab: &Lab, since: usize) -> Vec<Placement> {
    let orders = lab.actions[since..].iter().filter_map(|(_, action)| {
        if let Action::SetPlacement(placement) = action { Some(placement) } else { None }
    });
    orders.map(|placement| Placement { epoch: 0, ..placement.clone() }).collect()
}

/// Pulls a cable or plugs it in; returns what was ordered, which must have been foreseen.
fn turn_carrier(lab: &mut Lab, member: MemberId, up: bool) -> Placement {
    let (foreseen, since) = (lab.engine.foreseen(lab.now, GROUP), lab.actions.len());
    lab.set_carrier(member, up);
    lab.turn();
    let ordered = ordered(lab, since).pop().expect("a placement");
    assert!(foreseen.contains(&ordered), "{foreseen:?}");
    ordered
}

fn hosts(placement: &Placement) -> Vec<MemberId> {
    placement.data.iter().map(|placed| placed.on).collect()
}

#[test]
fn a46_that_a_standby_will_cover_is_foreseen_and_that_it_will_rest_again() {
    let mut lab = Lab::settled(Setup::link_only(2).standby(b()));
    assert_eq!(hosts(&turn_carrier(&mut lab, a(), false)), [b()]);
    assert_eq!(hosts(&turn_carrier(&mut lab, a(), true)), [a()]);
}

#[test]
fn a63_of_a_standby_that_fails_only_that_is_foreseen() {
    let mut lab = Lab::settled(Setup::link_only(2).standby(b()));
    let placement = turn_carrier(&mut lab, b(), false);
    assert_eq!((hosts(&placement), placement.failed), ([a()].to_vec(), [b()].to_vec()));
}

#[test]
fn a58_the_return_is_foreseen_and_without_failback_that_there_is_none() {
    for (failback, place) in [(true, a()), (false, c())] {
        let mut lab = Lab::settled(Setup { failback, ..Setup::link_only(3).standby(c()) });
        assert_eq!(hosts(&turn_carrier(&mut lab, a(), false)), [c(), b()]);
        assert_eq!(hosts(&turn_carrier(&mut lab, a(), true)), [place, b()]);
    }
}

#[test]
fn b29_the_members_for_outbound_flows_are_foreseen() {
    let setup = Setup { outbound_spreading: true, ..Setup::link_only(3).addresses(b(), 0).standby(c()) };
    let mut lab = Lab::settled(setup);
    assert_eq!(turn_carrier(&mut lab, b(), false).outbound, [a(), c()]);
    assert_eq!(turn_carrier(&mut lab, b(), true).outbound, [a(), b()]);
}

#[test]
fn that_addresses_will_be_withdrawn_is_foreseen_and_that_they_will_return() {
    let mut lab = Lab::settled(Setup { on_group_failure: OnGroupFailure::Fail, ..Setup::link_only(2) });
    assert!(!turn_carrier(&mut lab, a(), false).withdrawn);
    assert!(turn_carrier(&mut lab, b(), false).withdrawn);
    assert!(!turn_carrier(&mut lab, a(), true).withdrawn);
}

/// Seen through the delay before the repair, and again while it lasts.
#[test]
fn a_failback_is_foreseen_whatever_its_delay() {
    let damping = Damping { failback_delay: secs(5), ..Damping::default() };
    let mut lab = Lab::settled(Setup { damping, ..Setup::link_only(2) });
    turn_carrier(&mut lab, a(), false);
    let failed = lab.engine.foreseen(lab.now, GROUP);
    lab.set_carrier(a(), true);
    lab.run(secs(1));
    assert_eq!(lab.places(), [b(), b()]);
    let (waiting, since) = (lab.engine.foreseen(lab.now, GROUP), lab.actions.len());
    lab.run(secs(5));
    let returned = ordered(&lab, since);
    assert_eq!(hosts(&returned[0]), [a(), b()]);
    assert!(failed.contains(&returned[0]) && waiting.contains(&returned[0]));
}

/// It counts as functioning while its carrier is waited for, but is no proof that the network works.
#[test]
fn who_is_awaited_and_has_no_link_fails_with_the_last_that_had_one() {
    let mut lab = Lab::start(Setup { boot_wait: secs(60), ..Setup::link_only(2).absent(b()) });
    lab.set_carrier(b(), false);
    lab.appear(b());
    lab.turn();
    assert_eq!(turn_carrier(&mut lab, a(), false).failed, [a(), b()]);
}

/// An earlier run had found it dead, and it has no link yet: once it has one it serves, and is awaited no more.
#[test]
fn the_repair_of_one_that_is_awaited_is_foreseen_without_the_wait() {
    let mut lab = Lab::start(Setup { boot_wait: secs(60), ..Setup::link_only(3).absent(b()).standby(c()) });
    lab.set_carrier(b(), false);
    let link_up = Some(false);
    let adopted = Vec::new();
    let dead = Presence { member: b(), ifindex: 100, link_up, adopted, displaced: true };
    lab.tell(Event::InterfacePresent(dead));
    lab.turn();
    assert_eq!(hosts(&turn_carrier(&mut lab, a(), false)), [c(), b()]);
    assert_eq!(hosts(&turn_carrier(&mut lab, b(), true)), [c(), b()]);
}

#[test]
fn each_group_is_foreseen_for_itself() {
    let lab = Lab::settled(Setup { groups: 2, ..Setup::link_only(2) });
    let groups = [0, 1].map(crate::engine::ids::GroupId);
    let foreseen: Vec<Placement> =
        groups.iter().flat_map(|group| lab.engine.foreseen(lab.now, *group)).collect();
    let of: Vec<_> = foreseen.iter().map(|placement| (placement.group.0, placement.failed.clone())).collect();
    let failing =
        [(0, 0), (0, 1), (1, 2), (1, 3)].map(|(group, member)| (group, [MemberId(member)].to_vec()));
    assert_eq!(of, failing);
}

#[test]
fn nothing_is_foreseen_of_interfaces_in_no_group_of_large_groups_and_before_the_first_placement() {
    let foreseen = |lab: &Lab| lab.engine.foreseen(lab.now, GROUP).len();
    assert_eq!(foreseen(&Lab::settled(Setup { name: "", ..Setup::link_only(2) })), 0);
    let of_size = |count| foreseen(&Lab::settled(Setup::link_only(count)));
    assert_eq!((of_size(16), of_size(17)), (16, 0));
    let lab = Lab::settled(Setup::link_only(2));
    assert_eq!(Engine::new(lab.setup.config()).foreseen(lab.now, GROUP), []);
}

/// How a member stood or stands, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties")]
struct Shown {
    state: ShownState,
    active: bool,
    standby: bool,
    awaited: bool,
    /// For its failback.
    waits: bool,
}

fn shown(lab: &Lab) -> Vec<Shown> {
    let members = lab.engine.snapshot(lab.now).groups.swap_remove(0).members;
    let shown = members.iter().map(|member| Shown {
        state: member.state,
        active: member.active,
        standby: member.standby,
        awaited: matches!(member.deferred, Some(Reason::Awaited { .. })),
        waits: matches!(member.deferred, Some(Reason::FailbackDelayed { .. })),
    });
    shown.collect()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pull(u32),
    Plug(u32),
    Vanish(u32),
    Appear(u32),
    Offline(u32),
    Online(u32),
    Families(u32, bool),
    Run(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let member = || 0..4u32;
    prop_oneof![
        6 => member().prop_map(Step::Pull),
        6 => member().prop_map(Step::Plug),
        1 => member().prop_map(Step::Vanish),
        2 => member().prop_map(Step::Appear),
        2 => member().prop_map(Step::Offline),
        2 => member().prop_map(Step::Online),
        1 => (member(), any::<bool>()).prop_map(|(member, ipv6)| Step::Families(member, ipv6)),
        4 => (0..3_000_000_000u64).prop_map(Step::Run),
        4 => (0..70_000_000_000u64).prop_map(Step::Run),
    ]
}

fn any_setup() -> impl Strategy<Value = Setup> {
    let member = (prop::bool::weighted(0.3), 0..4usize, prop::bool::weighted(0.8));
    let member = member.prop_map(|(standby, addresses, present)| Interface {
        standby,
        v4: false,
        v6: false,
        addresses,
        present,
    });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (prop::collection::vec(member, 2..=4), flags).prop_map(|(members, flags)| {
        let (failback, withdraws, outbound_spreading, waits, delayed) = flags;
        let mut damping = Damping::default();
        if delayed {
            damping.failback_delay = secs(20);
        }
        Setup {
            members,
            failback,
            outbound_spreading,
            damping,
            on_group_failure: if withdraws { OnGroupFailure::Fail } else { OnGroupFailure::Keep },
            boot_wait: if waits { secs(300) } else { Nanos(0) },
            ..Setup::link_only(2)
        }
    })
}

fn take(lab: &mut Lab, step: Step) {
    let id = |member: u32| MemberId(member % lab.setup.members.len() as u32);
    match step {
        Step::Pull(member) => lab.set_carrier(id(member), false),
        Step::Plug(member) => lab.set_carrier(id(member), true),
        Step::Vanish(member) => lab.vanish(id(member)),
        Step::Appear(member) if lab.is_present(id(member)) => {}
        Step::Appear(member) => lab.appear(id(member)),
        Step::Offline(member) => lab.command(Command::Offline { member: id(member), force: true }),
        Step::Online(member) => lab.command(Command::Online { member: id(member) }),
        Step::Families(member, ipv6) => {
            let hardware = Hardware { mac: None, mtu: 1500, link_type: 1, ipv4: true, ipv6 };
            lab.tell(Event::Hardware { member: id(member), hardware });
        }
        Step::Run(_) => {}
    }
}

/// How often what was foreseen was compared with what was ordered, by what there was to get wrong.
#[derive(Debug, Default)]
struct Tally(RefCell<BTreeMap<&'static str, u32>>);

/// What a turn did to the members.
struct Changes {
    failed: usize,
    repaired: usize,
    /// Their failback delay is over.
    returned: usize,
    /// That is not to be foreseen, or only its end.
    else_happened: bool,
}

fn changes(before: &[Shown], after: &[Shown]) -> Changes {
    let count = |which: &dyn Fn(&Shown, &Shown) -> bool| {
        before.iter().zip(after).filter(|(old, new)| which(old, new)).count()
    };
    let went = |from, to| count(&|old, new| (old.state, new.state) == (from, to));
    let (failed, repaired) = (went(Works, Failed), went(Failed, Works));
    let others = count(&|old, new| old.state != new.state) - failed - repaired;
    let awaited = count(&|old, new| old.state == new.state && old.awaited != new.awaited);
    let delayed = count(&|old, new| !old.waits && new.waits);
    let returned = count(&|old, new| old.waits && !new.waits && new.state == Works);
    Changes { failed, repaired, returned, else_happened: others + awaited + delayed > 0 }
}

impl Tally {
    fn count(&self, what: &'static str, applies: bool) {
        *self.0.borrow_mut().entry(what).or_default() += u32::from(applies);
    }

    /// What might have been foreseen wrongly.
    fn note(&self, lab: &Lab, before: &[Shown], after: &[Shown], placement: &Placement) {
        let all = || before.iter().zip(after);
        let first = lab.engine.snapshot(lab.now).groups.swap_remove(0);
        self.count("a standby is called", all().any(|(old, new)| new.standby && !old.active && new.active));
        self.count(
            "a standby is retired",
            all().any(|(old, new)| new.standby && old.active && new.state == Works && !new.active),
        );
        self.count("standbys only", before.iter().all(|old| old.standby));
        self.count("without failback", !lab.setup.failback);
        self.count(
            "rests although repaired",
            all().any(|(old, new)| !new.standby && old.state == Failed && new.state == Works && !new.active),
        );
        self.count("withdrawn", placement.withdrawn);
        self.count("nobody left", after.iter().all(|new| !new.active));
        self.count("outbound", !placement.outbound.is_empty());
        self.count("awaited", after.iter().any(|new| new.awaited));
        self.count("offline", after.iter().any(|new| new.state == ShownState::Offline));
        self.count("waits for its failback", after.iter().any(|new| new.waits));
        let v6_stays = first.addresses.iter().any(|placed| {
            placed.address.addr().is_ipv6()
                && placed.on != placed.home
                && after[placed.home.0 as usize].active
        });
        self.count("family not carried", v6_stays);
    }

    /// Lets something happen; if it is one change of those that are to be foreseen, what was ordered must have been.
    fn watch(&self, lab: &mut Lab, by_hand: bool, act: impl FnOnce(&mut Lab)) -> Result<(), TestCaseError> {
        let (before, since) = (shown(lab), lab.actions.len());
        let foreseen = lab.engine.foreseen(lab.now, GROUP);
        act(lab);
        let (after, ordered) = (shown(lab), ordered(lab, since));
        let Changes { failed, repaired, returned, else_happened } = changes(&before, &after);
        // Several timers may run out at once; who pulls one cable may fail more than that one.
        let one = failed + repaired + returned == 1 || by_hand;
        if else_happened || !one || failed + repaired + returned == 0 {
            return Ok(());
        }
        prop_assert!(failed + repaired == 0 || ordered.len() == 1, "{:?}", ordered);
        for placement in &ordered {
            prop_assert!(foreseen.contains(placement), "{placement:#?} was not foreseen: {foreseen:#?}");
            self.note(lab, &before, &after, placement);
        }
        if !ordered.is_empty() {
            self.count("failed", failed > 0);
            self.count("repaired", repaired > 0);
            self.count("failback delay over", returned > 0);
        }
        Ok(())
    }
}

/// What is foreseen is never what is so already, and nothing twice.
fn is_news(lab: &Lab) -> Result<(), TestCaseError> {
    let foreseen = lab.engine.foreseen(lab.now, GROUP);
    let last = ordered(lab, 0).pop();
    for (position, placement) in foreseen.iter().enumerate() {
        prop_assert!(placement.epoch == 0 && placement.group == GROUP);
        prop_assert_ne!(Some(placement), last.as_ref());
        prop_assert!(!foreseen[..position].contains(placement), "twice: {placement:?}");
    }
    Ok(())
}

fn run_story(tally: &Tally, setup: Setup, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut lab = Lab::start(setup);
    // An address whose family nobody carries stays where it is, which the lab would take for stranded.
    lab.lean = true;
    for step in steps {
        if let Step::Run(span) = step {
            let end = lab.now + Nanos(*span);
            while lab.now < end {
                let woken = Cell::new(false);
                let once = |lab: &mut Lab| {
                    lab.run_until(end.since(lab.now), |_| woken.replace(true));
                };
                tally.watch(&mut lab, false, once)?;
            }
        } else {
            tally.watch(&mut lab, true, |lab| {
                take(lab, *step);
                lab.turn();
            })?;
        }
        is_news(&lab)?;
    }
    Ok(())
}

#[test]
fn what_is_ordered_when_one_fails_or_is_repaired_was_foreseen() {
    let tally = Tally::default();
    let config = ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() };
    let stories = (any_setup(), prop::collection::vec(any_step(), 1..40));
    let outcome = TestRunner::new(config).run(&stories, |(setup, steps)| run_story(&tally, setup, &steps));
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let counted = tally.0.into_inner();
    assert!(counted["failed"] >= 1000 && counted["repaired"] >= 500, "{counted:#?}");
    assert!(counted.values().all(|count| *count >= 5), "{counted:#?}");
}
