//! Tier 0: every state of a member × every kind of event, as one reviewed table.
//!
//! Read a line as: in this state, this event followed by a judgement leads to that state, with these actions.
//! `.` stands for "nothing changes and nothing is asked for".

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Write as _;

use super::harness::{GROUP, Lab, Setup, V4_TARGET, a, c, ms, secs};
use crate::engine::{
    action::Action,
    event::{Applied, CarrierSource, Command, Event, Hardware, NotSent, Presence},
    ids::{Family, MemberId, SessionId},
    snapshot::ShownState,
};

type Make = fn() -> Lab;

/// How a member comes into each state. The subject is always the first member.
const STATES: [(&str, Make); 9] = [
    ("running", || quiet(Lab::settled(Setup::probed(3)))),
    ("no-targets", || {
        let mut setup = Setup::probed(3);
        setup.targets.clear();
        quiet(Lab::settled(setup))
    }),
    ("failed-link", || {
        let mut lab = Lab::settled(Setup::probed(3));
        lab.set_carrier(a(), false);
        quiet(lab)
    }),
    ("failed-probe", || {
        let mut lab = Lab::settled(Setup::probed(3));
        lab.cut(a());
        quiet(lab)
    }),
    ("failed-by-group", || {
        let mut lab = Lab::settled(Setup::probed(3));
        lab.wire.dead_targets.insert(V4_TARGET);
        quiet(lab)
    }),
    ("inactive-standby", || quiet(Lab::settled(Setup::probed(3).standby(a())))),
    ("inactive-failback-no", || {
        let mut lab = Lab::settled(Setup::probed(3).standby(c()).without_failback());
        lab.cut(a());
        lab.run(secs(2));
        lab.mend(a());
        quiet(lab)
    }),
    ("offline", || {
        let mut lab = Lab::settled(Setup::probed(3));
        lab.command(Command::Offline { member: a(), force: false });
        quiet(lab)
    }),
    ("absent", || quiet(Lab::settled(Setup::probed(3).absent(a())))),
];

/// Until all announcements are made.
fn quiet(mut lab: Lab) -> Lab {
    lab.run(secs(15));
    lab
}

/// Every kind of event, about the subject where it concerns a member.
fn events(lab: &Lab) -> Vec<(&'static str, Event)> {
    let (member, family, at) = (a(), Family::V4, lab.now);
    let own: Vec<SessionId> = lab.member(a()).targets.iter().filter_map(|target| target.session).collect();
    let newest = lab.actions.iter().rev().find_map(|(_, action)| {
        if let Action::SendProbe { session, seq } = action { Some((*session, *seq)) } else { None }
            .filter(|(session, _)| own.contains(session))
    });
    let (session, seq) = newest.unwrap_or((SessionId(0), 1));
    let presence = |ifindex, link_up| {
        Event::InterfacePresent(Presence {
            member,
            ifindex,
            link_up: Some(link_up),
            adopted: vec![],
            displaced: false,
        })
    };
    let hardware =
        Hardware { mac: Some([2, 0, 0, 0, 0, 1]), mtu: 1500, link_type: 1, ipv4: true, ipv6: true };
    let carrier = |up, downs| Event::Carrier { member, up, at, source: CarrierSource::Fentry, downs };
    let not_sent = |cause| Event::ProbeNotSent { session, seq, cause };
    vec![
        ("judge", Event::Judge),
        ("interface-present same", presence(lab.member(a()).ifindex.max(1), true)),
        ("interface-present new", presence(99, true)),
        ("interface-present new, no carrier", presence(99, false)),
        ("hardware", Event::Hardware { member, hardware }),
        ("interface-gone", Event::InterfaceGone { member }),
        ("carrier down", carrier(false, 1)),
        ("carrier up", carrier(true, 0)),
        ("carrier up, hidden flap", carrier(true, 1)),
        ("test-address none", Event::TestAddress { member, family, address: None }),
        ("test-address new", Event::TestAddress { member, family, address: "192.0.2.99".parse().ok() }),
        ("targets none", Event::Targets { group: GROUP, family, targets: vec![] }),
        ("targets known", Event::Targets { group: GROUP, family, targets: vec![V4_TARGET] }),
        ("hosts known", Event::Hosts { group: GROUP, family, hosts: vec![V4_TARGET] }),
        ("probe-sent", Event::ProbeSent { session, seq, at }),
        ("probe-not-sent unresolved", not_sent(NotSent::Unresolved)),
        ("probe-not-sent local", not_sent(NotSent::Local { errno: 1 })),
        ("reply", Event::Reply { session, seq, received_at: at }),
        (
            "applied",
            Event::Applied(Applied {
                group: GROUP,
                epoch: 9,
                applied_at: at,
                announced_at: None,
                changes: 0,
            }),
        ),
        ("apply-failed", Event::ApplyFailed { group: GROUP, epoch: 9, what: "it".into(), errno: 17 }),
        ("put-back", Event::PutBack { group: GROUP, changes: 2, by: vec![] }),
        ("offline", Event::Command(Command::Offline { member, force: false })),
        ("online", Event::Command(Command::Online { member })),
        ("detach", Event::Command(Command::Detach { members: vec![member], force: false })),
        ("reconfigure same", Event::Reconfigure { groups: lab.engine.config().groups }),
        ("interface-awaited", Event::InterfaceAwaited { member, until: lab.now + secs(10) }),
        ("left-alone", Event::LeftAlone { member, address: "192.0.2.9/24".parse().expect("an address") }),
        ("neighbour-moved", Event::NeighbourMoved { member }),
        ("renamed", Event::Renamed { member, name: "eth9".into() }),
    ]
}

fn name(member: MemberId) -> &'static str {
    ["A", "B", "C"][member.0 as usize]
}

fn state(lab: &Lab) -> String {
    let member = lab.member(a());
    let shown = match member.state {
        ShownState::Ok => "ok",
        ShownState::Failed => "failed",
        ShownState::Offline => "offline",
        ShownState::Unknown => "unknown",
        ShownState::Absent => "absent",
    };
    let hosts: Vec<&str> = lab.places().into_iter().map(name).collect();
    format!("{shown}{} [{}]", if member.active { "" } else { " idle" }, hosts.join(""))
}

fn words(action: &Action) -> String {
    match action {
        Action::SendProbe { .. } => "probe".into(),
        Action::ArmSession(session) => format!("arm {}", name(session.member)),
        Action::SetLateAfter { late_after, .. } => format!("late after {late_after}"),
        Action::DisarmSession { .. } => "disarm".into(),
        Action::SetPlacement(placement) => {
            let unusable: Vec<&str> = placement.unusable.iter().copied().map(name).collect();
            format!("place (unusable {})", unusable.join(""))
        }
        Action::Discover { member, .. } => format!("search on {}", name(*member)),
        Action::Release { addresses, .. } => format!("release {addresses:?}"),
        Action::Announce { member, .. } => format!("announce on {}", name(*member)),
        Action::Publish(record) => {
            let member = record.member.map_or("group", name);
            format!("tell {member} {:?}: {}", record.kind, record.reason)
        }
    }
}

fn line(make: Make, index: usize) -> (String, String) {
    let mut lab = make();
    // Between two probes, so that no slot falls into the judgement.
    lab.run(ms(1));

    let before = state(&lab);
    let (label, event) = events(&lab).swap_remove(index);
    let first = lab.actions.len();
    lab.handle(event);
    lab.turn();
    let after = state(&lab);
    let told: Vec<String> = lab.actions[first..].iter().map(|(_, action)| words(action)).collect();
    let outcome = if before == after && told.is_empty() { ".".into() } else { after };
    (before, [label, "→", &outcome].join(" ") + &told.iter().fold(String::new(), |all, one| all + "; " + one))
}

#[test]
fn every_state_and_every_event() {
    let mut table = String::new();
    for (name, make) in STATES {
        let count = events(&make()).len();
        for index in 0..count {
            let (before, text) = line(make, index);
            if index == 0 {
                writeln!(table, "{name}: {before}").expect("a string takes everything");
            }
            writeln!(table, "  {text}").expect("a string takes everything");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_state_is_what_its_name_says() {
    let shown: Vec<(&str, ShownState, bool)> = STATES
        .iter()
        .map(|(name, make)| {
            let member = make().member(a());
            (*name, member.state, member.active)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("running", ShownState::Ok, true),
            ("no-targets", ShownState::Unknown, true),
            ("failed-link", ShownState::Failed, false),
            ("failed-probe", ShownState::Failed, false),
            ("failed-by-group", ShownState::Failed, false),
            ("inactive-standby", ShownState::Ok, false),
            ("inactive-failback-no", ShownState::Ok, false),
            ("offline", ShownState::Offline, false),
            ("absent", ShownState::Absent, false),
        ]
    );
}
