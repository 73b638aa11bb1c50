//! Carrier changes faster than rtnetlink tells of them, seen by the tracing programs.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ipmp_common::abi::{CARRIER_BY_TRACING, EVENT_CARRIER_DOWN, EVENT_CARRIER_UP, RingEvent};
use ipmp_tests::{fault::set_device, pace, skip};
use ipmp_user::kernel::{CarrierRung, Kernel, KernelOptions, Sysfs};

use crate::{
    links::Listener,
    rtnl::Held,
    world::{self, Neighbour, World, now_ns, sh, until},
};

/// On both ends of the cable: with different ones the kernel takes the device for a stacked one and reports every change
/// (`linkwatch_urgent_event` in `net/core/link_watch.c`). It also makes the far end's changes look like ours to
/// whoever does not tell namespaces apart.
const INDEX: u32 = 800;
const FLAPS: u64 = 60;

/// `near` here and `far` there, both up, both under the same index.
fn cable(world: &World) -> Neighbour<'_> {
    let neighbour = world.neighbour();
    let there = neighbour.path();
    sh(&format!("ip link add near index {INDEX} type veth peer name far index {INDEX} netns {there}"));
    sh("ip link set near up");
    neighbour.inside(|| sh("ip link set far up"));
    until("both ends are up", || sh("ip -o link show near").contains("LOWER_UP").then_some(()));
    neighbour
}

/// The kernel room with `rung` for the carrier, or why the kernel has it not.
fn with_rung(world: &World, rung: CarrierRung, sysfs: Option<Sysfs>) -> Result<Kernel, String> {
    let options = KernelOptions { carrier: rung, sysfs, ..KernelOptions::new(world.pin_dir()) };
    let mut kernel = world::open(&options);
    let rungs = kernel.attach(INDEX, "near");
    if rungs.carrier == rung {
        return Ok(kernel);
    }
    let refused = rungs.carrier_refused.into_iter().find(|refused| refused.rung == rung.to_string());
    kernel.release();
    Err(refused.map_or_else(|| "it was not tried".to_owned(), |refused| refused.reason))
}

/// All events that wait.
fn drain(kernel: &mut Kernel) -> Vec<RingEvent> {
    std::iter::from_fn(|| kernel.next_event()).collect()
}

/// Pulls the cable and plugs it in again, time after time; the moments between which each change happened.
fn flap(neighbour: &Neighbour<'_>) -> Vec<(u64, u64, u32)> {
    neighbour.inside(|| {
        let mut changes = Vec::new();
        for _ in 0..FLAPS {
            for (up, kind) in [(false, EVENT_CARRIER_DOWN), (true, EVENT_CARRIER_UP)] {
                let before_ns = set_device("far", up).expect("far");
                changes.push((before_ns, now_ns(), kind));
            }
        }
        changes
    })
}

fn every_flap_is_in_the_map(rung: CarrierRung) {
    world::run(move |world| {
        let neighbour = cable(world);
        let mut kernel = match with_rung(world, rung, None) {
            Ok(kernel) => kernel,
            Err(reason) => return skip::say(&format!("this kernel has no {rung}: {reason}")),
        };
        let listener = Listener::open().expect("a netlink socket");
        drain(&mut kernel);
        let changes = flap(&neighbour);

        let events = drain(&mut kernel);
        assert_eq!(events.len(), changes.len(), "one event for each change, none of the far end's");
        for (event, (before_ns, after_ns, kind)) in events.iter().zip(&changes) {
            assert_eq!((event.kind, event.subject), (*kind, INDEX));
            assert!((*before_ns..=*after_ns).contains(&event.at_ns), "{before_ns} {event:?} {after_ns}");
            assert_eq!(event.detail, kernel.netns_cookie());
        }
        let history = kernel.carrier(INDEX).expect("armed");
        assert_eq!((history.downs, history.ups, history.up), (FLAPS, FLAPS, 1));
        assert_eq!(history.source, CARRIER_BY_TRACING);
        let last = |kind| events.iter().rfind(|event| event.kind == kind).map(|event| event.at_ns);
        assert_eq!(Some(history.last_down_ns), last(EVENT_CARRIER_DOWN));
        assert_eq!(Some(history.last_up_ns), last(EVENT_CARRIER_UP));

        let told = listener.changes_of(INDEX).expect("netlink");
        eprintln!("{rung}: {} of {} carrier changes seen, by netlink {told}", events.len(), changes.len());
        assert!(told < changes.len(), "netlink told of all: the cable's ends were not under one index");
        kernel.release();
    });
}

#[test]
fn every_flap_that_netlink_withholds_is_in_the_map_by_fentry() {
    every_flap_is_in_the_map(CarrierRung::Fentry);
}

#[test]
fn every_flap_that_netlink_withholds_is_in_the_map_by_kprobe() {
    every_flap_is_in_the_map(CarrierRung::Kprobe);
}

/// The kernel room that polls: counts, or what drivers say.
fn polling(world: &World, sysfs: Option<Sysfs>) -> Kernel {
    with_rung(world, CarrierRung::Poll, sysfs)
        .unwrap_or_else(|reason| panic!("a veth pair tells its link: {reason}"))
}

/// The second loss within a second, which netlink withholds, is found by polling within that second.
fn a_second_loss_within_a_second_is_found(sysfs: fn() -> Option<Sysfs>) {
    world::run(move |world| {
        let neighbour = cable(world);
        let mut kernel = polling(world, sysfs());
        for up in [false, true, false] {
            let before_ns = neighbour.inside(|| set_device("far", up)).expect("far");
            let seen = until("the change is polled", || {
                kernel.carrier_poll().into_iter().find(|change| change.ifindex == INDEX)
            });
            assert_eq!(seen.up, up);
            let took = Duration::from_nanos(seen.at_ns - before_ns);
            assert!(took < pace::stretched(Duration::from_secs(1)), "{took:?}");
        }
        let history = kernel.carrier(INDEX).expect("armed");
        assert_eq!((history.downs, history.ups, history.up), (2, 1, 0));
        kernel.release();
    });
}

/// sysfs of the test's network namespace; `/sys` is of another.
fn sysfs() -> Sysfs {
    Sysfs::of_namespace().expect("sysfs of this namespace")
}

#[test]
fn a_second_loss_within_a_second_is_found_by_polling_counts() {
    a_second_loss_within_a_second_is_found(|| Some(sysfs()));
}

#[test]
fn a_second_loss_within_a_second_is_found_by_polling_drivers() {
    a_second_loss_within_a_second_is_found(|| None);
}

/// Whoever works on routes or devices keeps the RTNL lock, linkwatch among them before it tells of a loss.
#[test]
fn a_loss_is_found_while_somebody_keeps_the_rtnl_lock() {
    const PATIENCE: Duration = Duration::from_secs(2);
    world::run(|world| {
        let neighbour = cable(world);
        let mut kernel = polling(world, Some(sysfs()));
        neighbour.inside(|| set_device("far", false)).expect("far");
        let held = match Held::take() {
            Ok(held) => held,
            Err(error) => return skip::say(&format!("nobody can keep the lock: no userfaultfd(2): {error}")),
        };
        let held_ns = now_ns();
        let end = Instant::now() + pace::stretched(PATIENCE);
        let seen = loop {
            kernel.note_link_event();
            match kernel.carrier_poll().as_slice() {
                [] => assert!(Instant::now() < end, "the answer waits for the lock"),
                [change] => break *change,
                more => panic!("{more:?}"),
            }
        };
        drop(held);
        assert_eq!((seen.ifindex, seen.up), (INDEX, false));
        assert!(seen.at_ns >= held_ns, "it was seen before: {seen:?}");
        kernel.release();
    });
}

/// Links fail in company: who hears of one looks at all, without having to wait for the thread that polls.
#[test]
fn after_one_loss_the_others_are_known_at_once() {
    world::run(|world| {
        let neighbour = cable(world);
        let there = neighbour.path();
        sh(&format!("ip link add near2 type veth peer name far2 netns {there}"));
        sh("ip link set near2 up");
        neighbour.inside(|| sh("ip link set far2 up"));
        until("its ends are up", || sh("ip -o link show near2").contains("LOWER_UP").then_some(()));
        let second = nix::net::if_::if_nametoindex("near2").expect("near2");
        let mut kernel = polling(world, Some(sysfs()));
        kernel.attach(second, "near2");
        neighbour.inside(|| {
            for far in ["far", "far2"] {
                set_device(far, false).expect(far);
            }
        });
        kernel.note_link_event();
        let seen: BTreeMap<u32, bool> =
            kernel.carrier_poll().iter().map(|change| (change.ifindex, change.up)).collect();
        assert_eq!(seen, BTreeMap::from([(INDEX, false), (second, false)]));
        kernel.release();
    });
}

/// Each rung that is asked for is used or refused with a reason, and so are all above it.
#[test]
fn the_ladder_is_climbed_down_rung_by_rung() {
    const LADDER: [CarrierRung; 4] =
        [CarrierRung::Fentry, CarrierRung::Kprobe, CarrierRung::Poll, CarrierRung::Netlink];
    world::run(|world| {
        let _far = cable(world);
        for best in LADDER {
            let options = KernelOptions { carrier: best, ..KernelOptions::new(world.pin_dir()) };
            let mut kernel = world::open(&options);
            let rungs = kernel.attach(INDEX, "near");
            assert!(rungs.carrier >= best, "{} although {best} was asked for", rungs.carrier);
            let above = LADDER.into_iter().take_while(|rung| *rung < rungs.carrier);
            let refused = rungs.carrier_refused.iter().map(|refused| refused.rung.clone());
            assert!(refused.eq(above.map(|rung| rung.to_string())), "{:?}", rungs.carrier_refused);
            assert!(rungs.carrier_refused.iter().all(|refused| !refused.reason.is_empty()));
            eprintln!("{best} was asked for: {}", rungs.carrier);
            kernel.release();
        }
    });
}
