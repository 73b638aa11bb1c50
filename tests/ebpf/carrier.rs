//! Carrier changes on real devices.

use ipmp_common::abi::{CARRIER_BY_POLL, CARRIER_BY_TRACING, EVENT_CARRIER_DOWN, EVENT_CARRIER_UP};
use ipmp_user::kernel::{CarrierRung, Kernel};

use crate::{
    veth::Wire,
    world::{self, sh, until},
};

/// The next carrier change of an interface, from whichever rung is in use.
fn next_change(kernel: &mut Kernel, ifindex: u32) -> bool {
    until("a carrier change", || {
        let polled = kernel.carrier_poll().into_iter().find(|change| change.ifindex == ifindex);
        if let Some(change) = polled {
            return Some(change.up);
        }
        let event = kernel.next_event()?;
        assert_eq!(event.subject, ifindex);
        match event.kind {
            EVENT_CARRIER_UP => Some(true),
            EVENT_CARRIER_DOWN => Some(false),
            other => panic!("unexpected event {other}"),
        }
    })
}

#[test]
fn every_carrier_change_is_seen_once_and_recorded() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut kernel = world.kernel();
        let rungs = kernel.attach(wire.ifindex, "near");
        eprintln!("carrier evidence: {} (refused: {:?})", rungs.carrier, rungs.carrier_refused);
        assert!(
            matches!(rungs.carrier, CarrierRung::Fentry | CarrierRung::Kprobe | CarrierRung::Poll),
            "a veth pair tells its link"
        );
        assert_eq!(kernel.link_up("near"), Some(true));
        // Within one second, where netlink would be throttled.
        for _ in 0..3 {
            wire.far(|| sh("ip link set far down"));
            assert!(!next_change(&mut kernel, wire.ifindex), "down");
            wire.far(|| sh("ip link set far up"));
            assert!(next_change(&mut kernel, wire.ifindex), "up");
        }
        let history = kernel.carrier(wire.ifindex).expect("armed");
        assert_eq!((history.downs, history.ups, history.up), (3, 3, 1));
        assert!(history.last_up_ns > history.last_down_ns && history.last_down_ns > 0);
        let source = if rungs.carrier == CarrierRung::Poll { CARRIER_BY_POLL } else { CARRIER_BY_TRACING };
        assert_eq!(history.source, source);
        kernel.release();
    });
}

#[test]
fn status_tells_why_the_better_carrier_evidence_is_not_in_use() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut kernel = world.kernel();
        let rungs = kernel.attach(wire.ifindex, "near");
        let better = [CarrierRung::Fentry, CarrierRung::Kprobe, CarrierRung::Poll, CarrierRung::Netlink]
            .into_iter()
            .take_while(|rung| *rung != rungs.carrier)
            .map(|rung| rung.to_string());
        assert!(rungs.carrier_refused.iter().map(|refused| refused.rung.clone()).eq(better));
        assert!(rungs.carrier_refused.iter().all(|refused| !refused.reason.is_empty()));
        kernel.release();
    });
}
