//! When probes leave: section 6 of the behaviour.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::harness::{Lab, Setup, a, ms, secs};
use crate::engine::{
    action::Action,
    config::{Announcements, DEFAULT_FAILURE_DETECTION_TIME, DEFAULT_QUIET_PERIOD},
    detector::{LOSSES_TO_FAIL, MAX_ACTIVE_TARGETS, REPLIES_TO_REPAIR, SLOTS_PER_FDT},
    time::Timestamp,
};

fn departures(lab: &Lab) -> Vec<Timestamp> {
    let probes = lab.actions.iter().filter(|(_, action)| matches!(action, Action::SendProbe { .. }));
    probes.map(|(at, _)| *at).collect()
}

#[test]
fn the_constants_are_in_mpathds() {
    assert_eq!((DEFAULT_FAILURE_DETECTION_TIME, DEFAULT_QUIET_PERIOD), (secs(10), secs(40)));
    assert_eq!((LOSSES_TO_FAIL, REPLIES_TO_REPAIR, SLOTS_PER_FDT, MAX_ACTIVE_TARGETS), (5, 10, 7, 5));
    assert_eq!(Announcements::default(), Announcements { ipv4: 5, ipv6: 3, interval: secs(2) });
    assert_eq!(DEFAULT_FAILURE_DETECTION_TIME.divided(SLOTS_PER_FDT).0 / 1_000_000, 1428, "milliseconds");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The base advances by exactly a slot, however the probes are placed: they never drift, and each stands somewhere
    /// in the second half of its slot.
    #[test]
    fn each_slot_has_one_probe_in_its_second_half(seed: u64, suspicion: bool) {
        let mut setup = Setup::probed(1);
        (setup.seed, setup.suspicion) = (seed, suspicion);
        let slot = setup.slot().0;
        let mut lab = Lab::settled(setup);
        lab.forget_history();
        lab.run(secs(100));
        let times = departures(&lab);
        prop_assert!((999..=1001).contains(&times.len()), "{} probes in 1000 slots", times.len());
        // How far each is behind the grid that begins with the first one.
        let ahead: Vec<i64> =
            (0..).zip(&times).map(|(k, at)| at.since(times[0]).0 as i64 - k * slot as i64).collect();
        let spread = ahead.iter().max().zip(ahead.iter().min()).map(|(most, least)| most - least);
        prop_assert!(spread <= Some(slot as i64 / 2), "{spread:?} of {slot}");
        prop_assert!(spread >= Some(slot as i64 * 4 / 10), "placed at random: {spread:?} of {slot}");
    }

    #[test]
    fn a_link_up_starts_the_schedule_at_a_random_phase(seed: u64) {
        let mut setup = Setup::probed(2);
        setup.seed = seed;
        let mut lab = Lab::settled(setup);
        let mut times = Vec::new();
        for _ in 0..8 {
            lab.set_carrier(a(), false);
            lab.run(ms(300));
            lab.set_carrier(a(), true);
            let (up, sent) = (lab.now, lab.member(a()).targets[0].sent);
            prop_assert!(lab.run_until(ms(200), |lab| lab.member(a()).targets[0].sent > sent));
            times.push(lab.now.since(up));
        }
        prop_assert!(times.iter().all(|time| *time <= ms(100)), "{times:?}");
        prop_assert!(times.iter().any(|time| *time != times[0]), "{times:?}");
    }
}

#[test]
fn the_rate_does_not_depend_on_the_number_of_targets() {
    let sent = |count: u8| {
        let mut setup = Setup::probed(1);
        setup.targets = (1..=count).map(|host| [192, 0, 2, host].into()).collect();
        let mut lab = Lab::settled(setup);
        lab.forget_history();
        lab.run(secs(10));
        departures(&lab).len()
    };
    for count in [1, 3, 5, 9] {
        assert!((99..=101).contains(&sent(count)), "{count} targets: {}", sent(count));
    }
}
