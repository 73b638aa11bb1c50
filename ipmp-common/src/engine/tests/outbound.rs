//! B29: which members outbound flows are spread over.

use alloc::vec::Vec;

use super::harness::{Lab, Setup, a, b, c};
use crate::engine::{action::Action, config::OnGroupFailure, event::Command, ids::MemberId};

fn spreading(setup: Setup) -> Setup {
    Setup { outbound_spreading: true, ..setup }
}

/// As asked for last.
fn outbound(lab: &Lab) -> Vec<MemberId> {
    let last = lab.actions.iter().rev().find_map(|(_, action)| {
        if let Action::SetPlacement(placement) = action { Some(placement.outbound.clone()) } else { None }
    });
    last.expect("a placement")
}

#[test]
fn b29_flows_use_the_active_members() {
    let mut lab = Lab::settled(spreading(Setup::probed(3)));
    assert_eq!(outbound(&lab), [a(), b(), c()]);
    lab.set_carrier(b(), false);
    lab.turn();
    assert_eq!(outbound(&lab), [a(), c()]);
    lab.command(Command::Offline { member: a(), force: false });
    lab.turn();
    assert_eq!(outbound(&lab), [c()]);
    lab.command(Command::Online { member: a() });
    lab.turn();
    assert_eq!(outbound(&lab), [a(), c()]);
}

#[test]
fn b29_nothing_is_spread_unless_asked() {
    assert_eq!(outbound(&Lab::settled(Setup::probed(3))), []);
}

#[test]
fn b29_a_standby_takes_flows_although_no_address_moves() {
    // The second serves without a data address.
    let mut lab = Lab::settled(spreading(Setup::probed(3).addresses(b(), 0).standby(c())));
    assert_eq!(outbound(&lab), [a(), b()]);
    let places = lab.places();
    lab.set_carrier(b(), false);
    lab.turn();
    assert_eq!((lab.places(), outbound(&lab)), (places, [a(), c()].to_vec()));
}

#[test]
fn b29_without_an_active_member_flows_stay_where_they_are() {
    let mut lab = Lab::settled(spreading(Setup::link_only(2)));
    for member in [a(), b()] {
        lab.set_carrier(member, false);
        lab.turn();
    }
    assert_eq!(outbound(&lab), [b()], "as the addresses do");
}

#[test]
fn b29_withdrawn_addresses_leave_no_flows() {
    let withdraws = Setup { on_group_failure: OnGroupFailure::Fail, ..Setup::link_only(2) };
    let mut lab = Lab::settled(spreading(withdraws));
    for member in [a(), b()] {
        lab.set_carrier(member, false);
        lab.turn();
    }
    assert_eq!(outbound(&lab), []);
}
