//! `handle` is total, and the same facts give the same decisions.

use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::harness::{Lab, Loss, Setup, a, b, c, secs};
use crate::engine::{
    Engine,
    action::Action,
    errors::Errors,
    event::{Applied, CarrierSource, Command, Event, Hardware, NotSent, Presence},
    ids::{Family, GroupId, MemberId, SessionId},
    time::{Nanos, Timestamp},
};

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(0), Just(u64::MAX), Just(u64::MAX - 1), 0..10_000_000_000u64, any::<u64>()]
        .prop_map(Timestamp)
}

/// Members and sessions that exist, and some that do not.
fn any_number(known: u32) -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..known, 1 => Just(known), 1 => Just(u32::MAX)]
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn any_cause() -> impl Strategy<Value = NotSent> {
    prop_oneof![
        Just(NotSent::Unresolved),
        Just(NotSent::Resolving),
        Just(NotSent::NeverLeft),
        any::<i32>().prop_map(|errno| NotSent::Local { errno }),
    ]
}

fn of_probes() -> impl Strategy<Value = Event> {
    let probe = || (any_number(6).prop_map(SessionId), prop_oneof![1..40u64, any::<u64>()]);
    prop_oneof![
        (probe(), any_time()).prop_map(|((session, seq), at)| Event::ProbeSent { session, seq, at }),
        (probe(), any_cause()).prop_map(|((session, seq), cause)| Event::ProbeNotSent {
            session,
            seq,
            cause
        }),
        (probe(), any_time()).prop_map(|((session, seq), received_at)| Event::Reply {
            session,
            seq,
            received_at
        }),
    ]
}

fn any_mac() -> impl Strategy<Value = Option<[u8; 6]>> {
    prop_oneof![Just(None), (0..3u8).prop_map(|last| Some([2, 0, 0, 0, 0, last]))]
}

fn of_interfaces() -> impl Strategy<Value = Event> {
    let member = || any_number(3).prop_map(MemberId);
    let link = prop_oneof![Just(None), any::<bool>().prop_map(Some)];
    prop_oneof![
        (member(), 0..3u32, link).prop_map(|(member, ifindex, link_up)| {
            Event::InterfacePresent(Presence { member, ifindex, link_up, adopted: vec![], displaced: false })
        }),
        member().prop_map(|member| Event::InterfaceGone { member }),
        (member(), any_mac(), 0..3u32, any::<bool>()).prop_map(|(member, mac, mtu, ipv6)| Event::Hardware {
            member,
            hardware: Hardware { mac, mtu, link_type: 1, ipv4: true, ipv6 },
        }),
        (member(), any::<bool>(), any_time(), prop_oneof![0..4u64, any::<u64>()]).prop_map(
            |(member, up, at, downs)| Event::Carrier { member, up, at, source: CarrierSource::Kprobe, downs }
        ),
        (member(), any_family(), prop_oneof![Just(None), (1..9u8).prop_map(Some)]).prop_map(
            |(member, family, host)| Event::TestAddress {
                member,
                family,
                address: host.map(|host| match family {
                    Family::V4 => [192, 0, 2, 100 + host].into(),
                    Family::V6 => [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(host)].into(),
                }),
            }
        ),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let group = || any_number(1).prop_map(GroupId);
    let member = || any_number(3).prop_map(MemberId);
    let targets = prop::collection::vec((1..9u8).prop_map(|host| [192, 0, 2, host].into()), 0..9);
    prop_oneof![
        6 => Just(Event::Judge),
        6 => of_probes(),
        4 => of_interfaces(),
        1 => (group(), any_family(), targets)
            .prop_map(|(group, family, targets)| Event::Targets { group, family, targets }),
        1 => (group(), 0..9u64, any_time(), prop_oneof![Just(None), any_time().prop_map(Some)]).prop_map(
            |(group, epoch, applied_at, announced_at)| {
                Event::Applied(Applied { group, epoch, applied_at, announced_at, changes: 1 })
            }
        ),
        1 => (group(), any::<u64>(), any::<i32>())
            .prop_map(|(group, epoch, errno)| Event::ApplyFailed { group, epoch, what: "it".into(), errno }),
        1 => (group(), any::<u32>())
            .prop_map(|(group, changes)| Event::PutBack { group, changes, by: Vec::new() }),
        1 => (member(), 0..3_u64).prop_map(|(member, rx_errors)| Event::Counted {
            member,
            within: Nanos(1),
            errors: Errors { rx_errors, ..Errors::default() },
        }),
        1 => (member(), any::<bool>())
            .prop_map(|(member, force)| Event::Command(Command::Offline { member, force })),
        1 => member().prop_map(|member| Event::Command(Command::Online { member })),
        1 => member().prop_map(|member| Event::LeftAlone {
            member,
            address: "192.0.2.9/24".parse().expect("an address"),
        }),
        1 => member().prop_map(|member| Event::Renamed { member, name: "eth9".into() }),
    ]
}

fn replay(setup: &Setup, events: &[(Timestamp, Event)]) -> Vec<Action> {
    let mut engine = Engine::new(setup.config());
    let mut actions = Vec::new();
    for (now, event) in events {
        engine.handle(*now, event.clone());
        actions.extend(core::iter::from_fn(|| engine.poll_action()));
        // Both must be total too.
        engine.unanswered().for_each(drop);
        assert_eq!(engine.snapshot(*now).groups.len(), 1);
    }
    actions
}

/// Sessions are armed once, and disarmed once.
fn sessions_are_paired(actions: &[Action]) {
    let mut armed = alloc::collections::BTreeSet::new();
    for action in actions {
        if let Action::ArmSession(session) = action {
            assert!(armed.insert(session.session), "shared: {session:?}");
        } else if let Action::DisarmSession { session } = action {
            assert!(armed.remove(session), "not armed: {session:?}");
        } else if let Action::SendProbe { session, .. } = action {
            assert!(armed.contains(session), "probe without session: {session:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn handle_survives_every_sequence(
        events in prop::collection::vec((any_time(), any_event()), 1..200),
        discovers: bool,
    ) {
        let mut setup = Setup::dual_stack(3).standby(c());
        if discovers {
            setup.targets.clear();
        }
        let actions = replay(&setup, &events);
        sessions_are_paired(&actions);
        prop_assert_eq!(replay(&setup, &events), actions);
    }
}

#[test]
fn a_recorded_day_replays_to_the_same_actions() {
    let setup = Setup::dual_stack(3).standby(c());
    let mut lab = Lab::settled(setup.clone());
    lab.set_loss(a(), Loss::Burst { begins: 100, ends: 300, bad: false });
    lab.run(secs(30));
    lab.set_carrier(b(), false);
    lab.run(secs(10));
    lab.mend(a());
    lab.set_carrier(b(), true);
    lab.vanish(c());
    lab.run(secs(10));
    let recorded: Vec<Action> = lab.actions.iter().map(|(_, action)| action.clone()).collect();
    assert!(recorded.len() > 1000);
    assert_eq!(replay(&setup, &lab.events), recorded);
}

#[test]
fn the_journal_keeps_every_event() {
    let mut lab = Lab::settled(Setup::dual_stack(2));
    lab.set_carrier(a(), false);
    lab.run(secs(1));
    for (_, event) in &lab.events {
        let line = serde_json::to_string(event).expect("an event is plain data");
        assert_eq!(serde_json::from_str::<Event>(&line).expect("what was written"), *event);
    }
}

#[test]
fn time_at_its_end_does_not_hang_the_engine() {
    let mut lab = Lab::settled(Setup::dual_stack(2));
    for now in [u64::MAX, u64::MAX, 0, 1, u64::MAX - 1, u64::MAX] {
        lab.engine.handle(Timestamp(now), Event::Judge);
        while lab.engine.poll_action().is_some() {}
    }
    assert!(lab.engine.poll_timeout().is_some());
}

#[test]
fn an_engine_without_groups_has_nothing_to_do() {
    let mut engine = Engine::new(crate::engine::config::Config { seed: 0, groups: vec![] });
    engine.handle(Timestamp(0), Event::Judge);
    assert_eq!((engine.poll_action(), engine.poll_timeout()), (None, None));
    assert_eq!(engine.snapshot(Timestamp(0) + Nanos(1)).groups, []);
}
