//! More members than there are probe sessions: 13 groups of 64 with five targets each.

use alloc::{collections::BTreeSet, format, vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};

use super::harness::secs;
use crate::{
    abi::MAX_SESSIONS,
    engine::{
        Engine,
        action::Action,
        config::{
            Announcements, Config, Damping, DataAddresses, GroupConfig, InterfaceConfig, MAX_MEMBERS,
            OnGroupFailure,
        },
        event::{CarrierSource, Event, Presence},
        ids::{Family, MemberId},
        snapshot::{ProbeState, ShownState},
        time::{Nanos, Timestamp},
    },
};

const GROUPS: usize = 13;

fn test_address(member: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + member))
}

fn crowd() -> Engine {
    let interface = |number: usize| InterfaceConfig {
        name: format!("eth{number}"),
        standby: false,
        data: DataAddresses::Listed(vec![]),
        test: vec![test_address(number as u32)],
    };
    let group = |number: usize| GroupConfig {
        name: format!("ipmp{number}"),
        failure_detection_time: secs(1),
        failback: true,
        targets: (1..=5).map(|host| IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))).collect(),
        on_group_failure: OnGroupFailure::Keep,
        quiet_period: Nanos(0),
        damping: Damping::default(),
        announcements: Announcements::default(),
        suspicion: false,
        outbound_spreading: false,
        interfaces: (number * MAX_MEMBERS..(number + 1) * MAX_MEMBERS).map(interface).collect(),
    };
    Engine::new(Config { seed: 1, groups: (0..GROUPS).map(group).collect() })
}

fn drain(engine: &mut Engine) -> Vec<Action> {
    core::iter::from_fn(|| engine.poll_action()).collect()
}

#[test]
fn members_without_a_session_are_judged_by_their_links() {
    let (mut engine, now) = (crowd(), Timestamp(1_000_000_000));
    for number in 0..(GROUPS * MAX_MEMBERS) as u32 {
        let member = MemberId(number);
        let presence =
            Presence { member, ifindex: number + 1, link_up: Some(true), adopted: vec![], displaced: false };
        engine.handle(now, Event::InterfacePresent(presence));
        let address = Some(test_address(number));
        engine.handle(now, Event::TestAddress { member, family: Family::V4, address });
    }
    engine.handle(now, Event::Judge);
    let armed: Vec<u32> = drain(&mut engine)
        .iter()
        .filter_map(|action| if let Action::ArmSession(session) = action { Some(session) } else { None })
        .map(|session| session.session.0)
        .collect();
    assert_eq!(armed.len(), MAX_SESSIONS as usize);
    assert_eq!(armed.iter().copied().collect::<BTreeSet<_>>().len(), armed.len());
    let snapshot = engine.snapshot(now);
    let last = snapshot.groups.iter().flat_map(|group| &group.members).next_back().expect("members");
    assert_eq!((last.state, last.probe), (ShownState::Unknown, ProbeState::Unknown));

    let (member, source) = (last.member, CarrierSource::Netlink);
    engine.handle(now, Event::Carrier { member, up: false, at: now, source, downs: 1 });
    engine.handle(now, Event::Judge);
    let snapshot = engine.snapshot(now);
    let last = snapshot.groups.iter().flat_map(|group| &group.members).next_back().expect("members");
    assert_eq!(last.state, ShownState::Failed);
}
