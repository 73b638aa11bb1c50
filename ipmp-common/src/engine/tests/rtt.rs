//! The round-trip estimator: section 6 of the behaviour.

use super::harness::{Lab, Setup, V4_TARGET, a, ms, secs};
use crate::engine::{rtt::RttEstimate, time::Nanos};

/// RFC 6298, section 2, with in.mpathd's start: the deviation is half the first sample.
#[test]
fn the_round_trip_is_estimated_as_by_jacobson() {
    let mut estimate = RttEstimate::unknown();
    assert_eq!(estimate.bound(), None);
    let samples = [41_000, 43_000, 39_000, 90_000, 41_500, 40_900, 300_000, 41_000];
    let (mut mean, mut deviation) = (0.0_f64, 0.0_f64);
    for (number, sample) in samples.into_iter().enumerate() {
        estimate.sample(Nanos(sample), ms(100));
        let rtt = sample as f64;
        if number == 0 {
            (mean, deviation) = (rtt, rtt / 2.0);
        } else {
            let error = rtt - mean;
            mean += error / 8.0;
            deviation += (error.abs() - deviation) / 4.0;
        }
        let bound = estimate.bound().expect("a sample was taken").0 as f64;
        let exact = mean + 4.0 * deviation;
        assert!((bound - exact).abs() < 20.0, "sample {number}: {bound} ns against {exact} ns");
    }
}

/// in.mpathd's whole milliseconds make it 0, which means unknown, and it waits a whole slot for each reply.
#[test]
fn a_round_trip_below_a_millisecond_is_known() {
    let mut setup = Setup::probed(2);
    setup.rtt = Nanos(40_000);
    let lab = Lab::settled(setup);
    let target = &lab.member(a()).targets[0];
    assert_eq!((target.address, target.rtt_kernel), (V4_TARGET, Some(Nanos(40_000))));
    let bounds = lab.engine.bounds(super::harness::GROUP).expect("a probed group");
    assert_eq!(bounds.detection, ms(600), "five and a half slots, and half a one to wait");
    let mut setup = Setup::probed(2);
    setup.targets = alloc::vec![V4_TARGET];
    let mut lab = Lab::start(setup);
    lab.wire.dead_targets.insert(V4_TARGET);
    lab.run(secs(1));
    let unknown = lab.engine.bounds(super::harness::GROUP).expect("a probed group");
    assert_eq!(unknown.detection, ms(650), "a whole slot while it is unknown");
}
