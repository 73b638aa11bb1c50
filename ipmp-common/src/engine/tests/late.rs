//! B27, as a property: whoever was missing at start, and whenever and in whichever order they come, places and states end as
//! after a start with all of them.

use alloc::{collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use super::harness::{Lab, Setup, ms, secs};
use crate::engine::{
    ids::MemberId,
    reason::Kind,
    snapshot::{ProbeState, ShownState},
    time::Nanos,
};

const MEMBERS: usize = 4;

/// Longer than any wait of these groups, repair included.
const REST: Nanos = secs(60);

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    /// No probes, one family, both.
    families: usize,
    /// A standby is home to no address.
    standbys: [bool; MEMBERS],
    addresses: [usize; MEMBERS],
    wait: Nanos,
    /// When each member comes, after the start; whoever is not named is there.
    late: BTreeMap<u32, Nanos>,
}

fn cases() -> impl Strategy<Value = Case> {
    let late = prop::collection::btree_map(0..MEMBERS as u32, (0..30_000u64).prop_map(ms), 1..=MEMBERS);
    let wait = prop_oneof![Just(Nanos(0)), (1..20u64).prop_map(secs)];
    let members = (any::<[bool; MEMBERS]>(), prop::array::uniform4(0..4usize));
    (any::<u64>(), 0..3usize, members, wait, late).prop_map(
        |(seed, families, (mut standbys, addresses), wait, late)| {
            // One at least is in use where all are well.
            standbys[0] = false;
            Case { seed, families, standbys, addresses, wait, late }
        },
    )
}

fn setup(case: &Case) -> Setup {
    let mut setup = match case.families {
        0 => Setup::link_only(MEMBERS),
        1 => Setup::probed(MEMBERS),
        _ => Setup::dual_stack(MEMBERS),
    };
    (setup.seed, setup.boot_wait) = (case.seed, case.wait);
    for id in (0..).map(MemberId).take(MEMBERS) {
        let number = id.0 as usize;
        setup = setup.addresses(id, case.addresses[number]);
        setup = if case.standbys[number] { setup.standby(id) } else { setup };
    }
    setup
}

/// Where each address is, and what each member is.
fn picture(lab: &Lab) -> (Vec<MemberId>, Vec<(ShownState, bool, ProbeState)>) {
    let members = (0..).map(MemberId).take(MEMBERS).map(|id| lab.member(id));
    (lab.places(), members.map(|member| (member.state, member.active, member.probe)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b27_a_later_appearance_ends_in_the_state_of_a_complete_start(case in cases()) {
        let mut complete = Lab::start(setup(&case));
        complete.run(REST);

        let missing = case.late.keys().fold(setup(&case), |setup, number| setup.absent(MemberId(*number)));
        let mut lab = Lab::start(missing);
        let mut order: Vec<(Nanos, u32)> = case.late.iter().map(|(number, at)| (*at, *number)).collect();
        order.sort_unstable();
        let mut passed = Nanos(0);
        for (at, number) in order {
            lab.run(Nanos(at.0 - passed.0));
            passed = at;
            lab.appear(MemberId(number));
        }
        lab.run(REST);
        prop_assert_eq!(picture(&lab), picture(&complete));
    }
}

/// Found by the property: each round put the first standby into service and retired it again, for two may still come.
#[test]
fn b23_a_standby_serves_while_several_others_may_still_come() {
    let mut setup = Setup::link_only(MEMBERS).standby(MemberId(1)).standby(MemberId(2));
    setup.boot_wait = secs(10);
    let mut lab = Lab::start(setup.absent(MemberId(0)).absent(MemberId(3)));
    lab.run(secs(5));
    let active = (0..).map(MemberId).take(MEMBERS).filter(|id| lab.member(*id).active);
    assert_eq!(active.collect::<Vec<_>>(), [MemberId(1)]);
    assert_eq!(lab.records(Kind::Activity).len(), 1, "nobody is put into service to be retired at once");
}
