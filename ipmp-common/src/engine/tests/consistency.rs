//! What members must not, or should, have in common: section 5.7 of the behaviour, requirement A51.

use super::harness::{Lab, Setup, a, b, c, secs};
use crate::engine::{
    Refusal,
    event::{Command, Event, Hardware},
    ids::{Family, MemberId},
    reason::{Kind, Reason},
    snapshot::ShownState,
};

const SAME: [u8; 6] = [2, 0, 0, 0, 0, 9];
const FITTING: Hardware = Hardware { mac: None, mtu: 1500, link_type: 1, ipv4: true, ipv6: true };

fn with_mac(member: MemberId, mac: [u8; 6]) -> Event {
    Event::Hardware { member, hardware: Hardware { mac: Some(mac), ..FITTING } }
}

fn own_mac(member: MemberId) -> [u8; 6] {
    [2, 0, 0, 0, 1, member.0 as u8]
}

/// A lab in which every member has a hardware address of its own.
fn lab(setup: Setup) -> Lab {
    let mut lab = Lab::settled(setup);
    for member in 0..lab.setup.members.len() as u32 {
        lab.tell(with_mac(MemberId(member), own_mac(MemberId(member))));
    }
    lab.run(secs(1));
    lab.forget_history();
    lab
}

fn shown(lab: &Lab) -> alloc::vec::Vec<ShownState> {
    (0..lab.setup.members.len() as u32).map(|member| lab.state(MemberId(member))).collect()
}

#[test]
fn a51_a_duplicate_hardware_address_holds_the_newcomer_offline() {
    for setup in [Setup::probed(3), Setup::link_only(3)] {
        let mut lab = lab(setup);
        lab.tell(with_mac(a(), own_mac(b())));
        lab.turn();
        assert_eq!(shown(&lab), [ShownState::Offline, ShownState::Ok, ShownState::Ok]);
        let held = &lab.records(Kind::Offline)[0];
        let duplicate = Reason::DuplicateMac { mac: "02:00:00:00:01:01".into(), other: b() };
        assert_eq!(
            (held.member, &held.reason, lab.member(a()).reason),
            (Some(a()), &duplicate, duplicate.clone())
        );
        assert!(!lab.places().contains(&a()));
        assert_eq!(
            lab.engine.check(&Command::Online { member: a() }),
            Err(Refusal::DuplicateHardwareAddress)
        );
        lab.run(secs(5));
        assert_eq!(lab.records(Kind::Offline).len(), 1, "told once");

        lab.tell(with_mac(a(), own_mac(a())));
        lab.run(secs(5));
        assert_eq!((lab.state(a()), lab.places()[0]), (ShownState::Ok, a()));
        assert_eq!(
            lab.records(Kind::Online)[0].reason,
            Reason::UniqueMac { mac: "02:00:00:00:01:00".into() }
        );
    }
}

#[test]
fn a51_all_but_one_are_held_and_the_next_follows_when_the_owner_leaves() {
    let mut lab = lab(Setup::probed(3));
    for member in [a(), b(), c()] {
        lab.tell(with_mac(member, SAME));
        lab.turn();
    }
    assert_eq!(shown(&lab), [ShownState::Ok, ShownState::Offline, ShownState::Offline]);
    lab.command(Command::Offline { member: a(), force: true });
    lab.turn();
    assert_eq!(shown(&lab), [ShownState::Offline, ShownState::Ok, ShownState::Offline]);
    assert_eq!(lab.engine.check(&Command::Online { member: a() }), Err(Refusal::DuplicateHardwareAddress));
    lab.vanish(b());
    lab.turn();
    assert_eq!(shown(&lab), [ShownState::Offline, ShownState::Absent, ShownState::Ok]);
    assert_eq!(lab.places(), [c(), c(), c()]);
    lab.vanish(c());
    lab.turn();
    assert_eq!(lab.engine.check(&Command::Online { member: a() }), Ok(()));
}

#[test]
fn a_working_newcomer_is_not_held_for_a_failed_owner() {
    let mut lab = lab(Setup::link_only(2));
    lab.set_carrier(a(), false);
    lab.run(secs(1));
    lab.tell(with_mac(b(), own_mac(a())));
    lab.turn();
    assert_eq!(shown(&lab), [ShownState::Offline, ShownState::Ok]);
    assert_eq!(lab.places(), [b(), b()]);
    lab.set_carrier(a(), true);
    lab.run(secs(1));
    assert!(
        matches!(lab.member(a()).reason, Reason::DuplicateMac { .. }),
        "its repair is not why it is offline: {}",
        lab.member(a()).reason
    );
}

#[test]
fn a_held_member_that_returns_serves_even_without_failback() {
    let mut lab = lab(Setup::probed(2).without_failback());
    lab.tell(with_mac(a(), own_mac(b())));
    lab.run(secs(1));
    assert_eq!(lab.places(), [b(), b()]);
    lab.tell(with_mac(a(), SAME));
    lab.run(secs(2));
    assert_eq!(lab.places(), [a(), b()]);
}

#[test]
fn a_duplicate_test_address_is_probed_from_by_the_first_member_only() {
    let mut lab = Lab::settled(Setup::probed(2));
    let own = lab.setup.config().groups[0].interfaces[0].test[0];
    lab.forget_history();
    let from = |address| Event::TestAddress { member: b(), family: Family::V4, address: Some(address) };
    lab.tell(from(own));
    lab.run(secs(5));
    assert_eq!((lab.armed(), lab.state(a()), lab.count(Kind::Failed, b())), (1, ShownState::Ok, 0));
    let told = lab.records(Kind::Probing);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (told[0].member, &told[0].reason),
        (Some(b()), &Reason::DuplicateTestAddress { address: own })
    );
    lab.vanish(a());
    lab.run(secs(5));
    assert_eq!((lab.armed(), lab.state(b())), (1, ShownState::Ok));
    assert!(
        lab.records(Kind::Probing)
            .iter()
            .any(|record| record.reason == Reason::UniqueTestAddress { address: own })
    );
}

#[test]
fn misfits_are_told_once_and_so_is_their_end() {
    let cases = [
        (Hardware { ipv6: false, ..FITTING }, Reason::FamilyMissing { family: Family::V6 }),
        (Hardware { link_type: 32, ..FITTING }, Reason::LinkTypeDiffers { link_type: 32, expected: 1 }),
        (Hardware { mtu: 9000, ..FITTING }, Reason::MtuDiffers { mtu: 9000, expected: 1500 }),
    ];
    for (hardware, reason) in cases {
        let mut lab = Lab::settled(Setup::dual_stack(2));
        lab.tell(Event::Hardware { member: a(), hardware: FITTING });
        lab.tell(Event::Hardware { member: b(), hardware });
        lab.run(secs(5));
        let told = lab.records(Kind::Inconsistent);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].member, &told[0].reason), (Some(b()), &reason));
        assert_eq!((lab.state(b()), lab.records(Kind::Consistent).len()), (ShownState::Ok, 0));
        lab.tell(Event::Hardware { member: b(), hardware: FITTING });
        lab.run(secs(5));
        assert_eq!(lab.count(Kind::Consistent, b()), 1);
    }
}

#[test]
fn a_family_that_the_group_does_not_use_may_be_missing() {
    let mut lab = Lab::settled(Setup::probed(2));
    for member in [a(), b()] {
        lab.tell(Event::Hardware { member, hardware: Hardware { ipv6: false, ..FITTING } });
    }
    lab.turn();
    assert_eq!(lab.records(Kind::Inconsistent).len(), 0);
}

#[test]
fn the_member_that_ends_a_group_failure_is_named() {
    let mut lab = Lab::settled(Setup::link_only(2));
    lab.set_carrier(a(), false);
    lab.set_carrier(b(), false);
    lab.run(secs(1));
    lab.forget_history();
    lab.set_carrier(b(), true);
    lab.turn();
    assert_eq!(lab.records(Kind::GroupState)[0].member, Some(b()));
}
