use super::{
    super::driver::Drivers,
    polling::{FAST_FOR_NS, FAST_INTERVAL_NS, INTERVAL_NS, Schedule},
    *,
};

#[test]
fn polls_every_ten_milliseconds_and_every_millisecond_after_a_link_event() {
    let mut schedule = Schedule::default();
    schedule.polled(0, 2);
    assert_eq!(schedule.next_ns, INTERVAL_NS);

    schedule.link_event(1_000);
    assert_eq!(schedule.next_ns, 1_000, "the others at once");
    schedule.polled(FAST_FOR_NS, 2);
    assert_eq!(schedule.next_ns, FAST_FOR_NS + FAST_INTERVAL_NS, "the last fast poll");
    schedule.polled(FAST_FOR_NS + 1_000, 2);
    assert_eq!(schedule.next_ns, FAST_FOR_NS + 1_000 + INTERVAL_NS);
}

#[test]
fn many_members_are_polled_less_often() {
    let mut schedule = Schedule::default();
    schedule.link_event(0);
    schedule.polled(0, 1_000);
    assert_eq!(schedule.next_ns, 100_000_000, "1,000 members at 10,000 polls a second");
}

#[test]
fn nothing_to_poll_needs_no_thread() {
    let mut poller = Poller::new(0);
    poller.link_event();
    assert_eq!(poller.take(), []);
    assert!(poller.thread.is_none());
}

#[test]
fn what_was_seen_before_an_interface_was_added_is_no_news() {
    let mut poller = Poller::new(0);
    let up = Drivers::new().and_then(|drivers| drivers.link_up("lo")).expect("ETHTOOL_GLINK on lo");
    // Taken to be otherwise than it is: that is seen at once.
    poller.add(1, "lo", !up).expect("a thread");
    let seen = loop {
        match poller.take().as_slice() {
            [] => std::thread::yield_now(),
            [change] => break *change,
            more => panic!("{more:?}"),
        }
    };
    assert_eq!((seen.ifindex, seen.up), (1, up));
    poller.add(1, "lo", !up).expect("a thread");
    poller.add(1, "lo", up).expect("a thread");
    poller.link_event();
    assert_eq!(poller.take(), [], "of the order before");
    poller.remove(1);
    poller.link_event();
    assert_eq!(poller.take(), []);
}

#[test]
fn who_is_not_there_has_no_link_to_tell() {
    let drivers = Drivers::new().expect("a socket");
    assert!(drivers.link_up("no-such-interface").is_err());
    assert!(drivers.link_up("a-name-longer-than-the-kernel-has").is_err());
}
