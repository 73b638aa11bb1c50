use std::sync::Arc;

use ipmp_common::engine::{
    event::CarrierSource,
    ids::{Family, GroupId, MemberId},
    reason::{Kind, Reason, Record},
    time::{Nanos, Timestamp},
};
use serde_json::json;
use tracing::Level;

use super::{CAPACITY, Event, INBOX, Journal, Names, message};
use crate::config;

fn names() -> Names {
    let text = "[group.ipmp0.interface.eth0]\n[group.ipmp0.interface.eth1]\n[group.other.interface.eth2]\n";
    Names::of(&config::parse("f", text.as_bytes()).unwrap().engine)
}

fn record(t_ns: u64, kind: Kind, member: Option<u32>, reason: Reason) -> Record {
    Record {
        at: Timestamp(t_ns),
        kind,
        group: Some(GroupId(0)),
        member: member.map(MemberId),
        address: None,
        reason,
        evidence_at: None,
        decided_at: None,
        applied_at: None,
        announced_at: None,
    }
}

fn link_down(t_ns: u64) -> Record {
    let reason = Reason::LinkDown { source: CarrierSource::Poll, downs: 1 };
    record(t_ns, Kind::LinkDown, Some(0), reason)
}

fn filled(count: u64) -> Arc<Journal> {
    let journal = Journal::new();
    for t_ns in 0..count {
        journal.publish(&link_down(t_ns), &names());
        journal.flush();
    }
    journal
}

#[test]
fn an_event_has_names_numbers_and_the_times_that_are_known() {
    let mut moved = record(9, Kind::Moved, Some(1), Reason::Failover { from: MemberId(0) });
    moved.address = Some("192.168.10.10/24".parse().unwrap());
    moved.evidence_at = Some(Timestamp(5));
    moved.decided_at = Some(Timestamp(6));
    let event = Event::new(&moved, &names());
    let wanted = json!({
        "t_ns": 9, "kind": "moved", "group": "ipmp0", "interface": "eth1", "address": "192.168.10.10/24",
        "reason": "failover from eth0", "why": {"why": "failover", "from": "eth0"},
        "evidence_ns": 5, "decided_ns": 6,
    });
    assert_eq!(serde_json::to_value(&event).unwrap(), wanted);
    assert_eq!(serde_json::from_value::<Event>(wanted).unwrap(), event);
}

#[test]
fn log_lines_are_in_mpathds() {
    let text = |record: &Record| message::text(record, &names(), false);
    assert_eq!(text(&link_down(0)), "The link has gone down on eth0: carrier lost (poll)");
    let lost = record(0, Kind::Failed, Some(1), Reason::LinkDown { source: CarrierSource::Fentry, downs: 3 });
    assert_eq!(
        text(&lost),
        "IP interface failure detected on eth1 of group ipmp0: carrier lost 3 times (fentry)"
    );
    let back = record(0, Kind::Repaired, Some(1), Reason::LinkRestored);
    assert!(text(&back).starts_with("IP interface repair detected on eth1 of group ipmp0: "));
    let no_test = record(0, Kind::Probing, Some(0), Reason::NoTestAddress);
    assert_eq!(
        text(&no_test),
        "No test address configured on interface eth0; disabling probe-based failure detection on it"
    );
    let flaps = Reason::LinkFlaps { ups: 3, retry_in: Nanos::from_secs(60) };
    assert!(text(&record(0, Kind::Flapping, Some(0), flaps)).starts_with(
        "The link has come up on eth0 more than 2 times in the last minute; disabling repair until it stabilizes"
    ));
}

#[test]
fn log_lines_about_hardware_and_detection_time_are_in_mpathds() {
    let line = |kind, reason| message::text(&record(0, kind, Some(1), reason), &names(), false);
    let (mac, address) = ("02:00:00:00:00:01".to_owned(), "192.168.10.110".parse().unwrap());
    let ms = Nanos::from_millis;
    let target = "192.168.10.1".parse().unwrap();
    let (family, bound, configured) = (Family::V4, ms(50), ms(100));
    let lines = [
        (
            line(Kind::Offline, Reason::DuplicateMac { mac: mac.clone(), other: MemberId(0) }),
            "IP interface eth1 has a hardware address which is not unique in group ipmp0; offlining",
        ),
        (
            line(Kind::Online, Reason::UniqueMac { mac }),
            "IP interface eth1 now has a unique hardware address in group ipmp0; onlining",
        ),
        (
            line(Kind::Probing, Reason::DuplicateTestAddress { address }),
            "Test address 192.168.10.110 is not unique in group; disabling probe-based failure detection on eth1",
        ),
        (
            line(Kind::Probing, Reason::UniqueTestAddress { address }),
            "Test address now configured on interface eth1; enabling probe-based failure detection on it",
        ),
        (
            line(Kind::Inconsistent, Reason::FamilyMissing { family: Family::V6 }),
            "IP interface eth1 in group ipmp0 is not plumbed for IPv6, affecting IPv6 connectivity",
        ),
        (
            line(Kind::Inconsistent, Reason::MtuDiffers { mtu: 9000, expected: 1500 }),
            "IP interface eth1 does not fit group ipmp0: its MTU is 9000, that of the first member 1500",
        ),
        (
            line(Kind::Consistent, Reason::FitsGroup),
            "IP interface eth1 is now consistent with group ipmp0  and connectivity is restored",
        ),
        (
            line(
                Kind::DetectionTime,
                Reason::SlowRoundTrip { family, target, bound, configured, fdt: ms(700) },
            ),
            "Cannot meet requested failure detection time of 100 ms on (inet eth1) new failure detection time for group \"ipmp0\" is 700 ms",
        ),
        (
            line(
                Kind::DetectionTime,
                Reason::QuickRoundTrip { family, target, bound, configured, fdt: ms(350) },
            ),
            "Improved failure detection time 350 ms on (inet eth1) for group \"ipmp0\"",
        ),
        (line(Kind::Absent, Reason::InterfaceRemoved), "IP interface eth1 has been removed from kernel"),
    ];
    for (line, wanted) in lines {
        assert_eq!(line, wanted);
    }
}

#[test]
fn levels_are_in_mpathds() {
    let level = |kind, reason, was_failed| message::level(&record(0, kind, Some(1), reason), was_failed);
    let usable = || Reason::MembersUsable { usable: 1, members: 2 };
    assert_eq!(level(Kind::Repaired, Reason::LinkRestored, false), Level::ERROR);
    assert_eq!(level(Kind::GroupState, usable(), true), Level::ERROR);
    assert_eq!(level(Kind::GroupState, usable(), false), Level::INFO);
    assert_eq!(level(Kind::Probing, Reason::NoTestAddress, false), Level::INFO);
    assert_eq!(level(Kind::Absent, Reason::InterfaceRemoved, false), Level::INFO);
    assert_eq!(level(Kind::Absent, Reason::NoInterface, false), Level::WARN);
    assert_eq!(level(Kind::Offline, Reason::Administrator { forced: false }, false), Level::INFO);
    let mac = "02:00:00:00:00:01".to_owned();
    assert_eq!(level(Kind::Online, Reason::UniqueMac { mac }, false), Level::ERROR);
}

#[test]
fn a_reason_names_the_other_member() {
    let reason = Reason::DuplicateMac { mac: "02:00:00:00:00:01".into(), other: MemberId(0) };
    let event = Event::new(&record(0, Kind::Offline, Some(1), reason), &names());
    assert_eq!(event.why, json!({"why": "duplicate-mac", "mac": "02:00:00:00:00:01", "other": "eth0"}));
    assert_eq!(event.reason, "hardware address 02:00:00:00:00:01 is also another member's: eth0");
}

#[test]
fn recovery_of_a_group_has_its_words_only_after_its_failure() {
    let usable = record(1, Kind::GroupState, Some(0), Reason::MembersUsable { usable: 1, members: 2 });
    let failed = record(0, Kind::GroupState, None, Reason::GroupFailure { members: 2 });
    let mut ring = super::Ring::default();
    assert!(!ring.note_group_state(&usable), "nothing had failed");
    assert!(!ring.note_group_state(&failed));
    assert!(ring.note_group_state(&usable));
    assert!(!ring.note_group_state(&usable), "told once");
    assert_eq!(
        message::text(&usable, &names(), true),
        "At least 1 IP interface (eth0) in group ipmp0 is now usable: 1 of 2 members usable"
    );
    let text = |record: &Record| message::text(record, &names(), false);
    assert_eq!(text(&usable), "Group ipmp0 is degraded: 1 of 2 members usable");
    let whole = record(2, Kind::GroupState, None, Reason::MembersUsable { usable: 2, members: 2 });
    assert_eq!(text(&whole), "Group ipmp0 is ok: 2 of 2 members usable");
    assert!(
        message::text(&failed, &names(), false)
            .starts_with("All IP interfaces in group ipmp0 are now unusable: ")
    );
}

#[test]
fn readers_start_where_they_ask_and_go_on_where_they_stopped() {
    let journal = filled(10);
    let mut cursor = journal.cursor(Some(Timestamp(4)));
    let batch = journal.read(&mut cursor, 3);
    assert_eq!(batch.events.iter().map(|e| e.t_ns).collect::<Vec<_>>(), [4, 5, 6]);
    let batch = journal.read(&mut cursor, 100);
    assert_eq!(batch.events.iter().map(|e| e.t_ns).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(batch.dropped, 0);
    assert!(journal.read(&mut cursor, 100).events.is_empty());
    assert!(journal.read(&mut journal.end(), 100).events.is_empty());
}

#[test]
fn a_lagging_reader_learns_how_much_it_missed() {
    let journal = filled(1);
    let mut cursor = journal.cursor(None);
    for t_ns in 1..=(CAPACITY as u64 + 4) {
        journal.publish(&link_down(t_ns), &names());
        journal.flush();
    }
    let batch = journal.read(&mut cursor, CAPACITY * 2);
    assert_eq!(batch.events.len(), CAPACITY, "bounded");
    assert_eq!(batch.dropped, 5);
    assert_eq!(batch.events.last().unwrap().t_ns, CAPACITY as u64 + 4);
}

#[test]
fn a_pump_that_falls_behind_costs_records_not_time() {
    let journal = Journal::new();
    let mut cursor = journal.end();
    for t_ns in 0..(INBOX as u64 + 7) {
        journal.publish(&link_down(t_ns), &names());
    }
    journal.flush();
    let batch = journal.read(&mut cursor, usize::MAX);
    assert_eq!((batch.events.len(), batch.dropped), (INBOX, 7));
}

#[tokio::test(flavor = "current_thread")]
async fn a_follower_wakes_when_something_is_published() {
    let journal = Journal::new();
    let mut cursor = journal.end();
    let follow = async {
        journal.grown(&cursor).await;
    };
    let publish = async {
        tokio::task::yield_now().await;
        journal.publish(&link_down(3), &names());
    };
    tokio::select! {
        () = journal.pump() => panic!("the pump ended"),
        _ = async { tokio::join!(follow, publish) } => {}
    }
    assert_eq!(journal.read(&mut cursor, 10).events[0].t_ns, 3);
    journal.publish(&link_down(4), &names());
    journal.flush();
    assert_eq!(journal.read(&mut cursor, 10).events[0].t_ns, 4, "the pump gave its inbox back");
}
