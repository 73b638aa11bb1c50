use super::*;

#[test]
fn polls_every_ten_milliseconds_and_every_millisecond_after_a_link_event() {
    let mut schedule = Schedule::default();
    assert!(schedule.due(0));
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
fn nothing_to_poll_needs_no_wake_up() {
    let mut poller = Poller::default();
    assert_eq!(poller.next_ns(), None);
    assert_eq!(poller.poll(1), []);
}

#[test]
fn the_loopback_interface_tells_its_link() {
    let mut poller = Poller::default();
    match poller.add(1, "lo") {
        Ok(_) => assert_eq!(poller.next_ns(), Some(0)),
        Err(error) => panic!("ETHTOOL_GLINK on lo: {error}"),
    }
    assert!(poller.add(2, "no-such-interface").is_err());
    assert!(poller.add(2, "a-name-longer-than-the-kernel-has").is_err());
}
