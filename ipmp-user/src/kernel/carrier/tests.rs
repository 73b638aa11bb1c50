use super::{
    super::driver::Drivers,
    polling::{FAST_FOR_NS, FAST_INTERVAL_NS, INTERVAL_NS, Schedule},
    *,
};

#[test]
fn polls_every_five_milliseconds_and_every_millisecond_after_a_link_event() {
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
    let mut poller = Poller::new(0, None);
    poller.link_event();
    assert_eq!(poller.take(), []);
    assert!(poller.thread.is_none());
}

#[test]
fn what_was_seen_before_an_interface_was_added_is_no_news() {
    let mut poller = Poller::new(0, None);
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

#[test]
fn where_no_sysfs_can_be_had_the_driver_is_asked() {
    let mut poller = Poller::new(0, None);
    poller.add(1, "lo", true).expect("a thread");
    assert!(poller.members.values().all(|member| member.counter.is_none()));
    poller.link_event();
    assert!(poller.asked, "its answer is waited for");
    assert_eq!(poller.take(), []);
    assert!(!poller.asked);
}

#[test]
fn a_change_of_the_counts_is_told_once_by_whoever_sees_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let count = |changes: u32, downs: u32| {
        for (attribute, count) in [("carrier_changes", changes), ("carrier_down_count", downs)] {
            let path = directory.path().join("class/net/eth0").join(attribute);
            std::fs::write(path, format!("{count}\n")).expect("written");
        }
    };
    std::fs::create_dir_all(directory.path().join("class/net/eth0")).expect("made");
    count(2, 1);
    let sysfs = Sysfs::at(std::fs::File::open(directory.path()).expect("opened").into());
    let mut poller = Poller::new(0, Some(sysfs));
    poller.add(7, "eth0", true).expect("a thread");
    assert_eq!(poller.take(), [], "as it was");

    count(3, 2);
    poller.link_event();
    assert!(!poller.asked, "nobody is waited for");
    let seen = poller.take();
    assert!(matches!(seen.as_slice(), [CarrierChange { ifindex: 7, up: false, .. }]), "{seen:?}");
    assert_eq!(poller.take(), [], "it has been told");

    count(4, 2);
    let seen = poller.take();
    assert!(matches!(seen.as_slice(), [CarrierChange { ifindex: 7, up: true, .. }]), "in any turn: {seen:?}");
    poller.remove(7);
    count(5, 3);
    poller.link_event();
    assert_eq!(poller.take(), []);
}

#[test]
fn many_counts_are_looked_at_when_the_thread_saw_a_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |attribute: &str| directory.path().join("class/net/eth0").join(attribute);
    std::fs::create_dir_all(path("")).expect("made");
    for attribute in ["carrier_changes", "carrier_down_count"] {
        std::fs::write(path(attribute), "1\n").expect("written");
    }
    let sysfs = Sysfs::at(std::fs::File::open(directory.path()).expect("opened").into());
    let mut poller = Poller::new(0, Some(sysfs));
    let members = EACH_TURN as u32 + 1;
    for ifindex in 0..members {
        poller.add(ifindex, "eth0", false).expect("a thread");
    }
    assert_eq!(poller.take(), []);
    std::fs::write(path("carrier_changes"), "2\n").expect("written");
    let seen = loop {
        match poller.take() {
            none if none.is_empty() => std::thread::yield_now(),
            some => break some,
        }
    };
    assert!(seen.iter().all(|change| change.up) && seen.len() == members as usize, "{seen:?}");
}
