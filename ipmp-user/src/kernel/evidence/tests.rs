use ipmp_common::wire::mapped;

use super::*;

const SESSION: Session = Session {
    token: 0x1122_3344_5566_7788,
    late_after_ns: 1_000,
    ifindex: 3,
    icmp_id: 9,
    family: 4,
    flags: 0,
    target: mapped(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))),
    source: mapped(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9))),
};

fn reply(seq: u64) -> Probe {
    Probe {
        family: 4,
        source: SESSION.target,
        destination: SESSION.source,
        icmp_id: SESSION.icmp_id,
        session: 5,
        token: SESSION.token,
        seq,
    }
}

fn table() -> Table {
    let mut table = Table::default();
    table.arm(5, SESSION);
    table
}

#[test]
fn sent_and_received_are_paired_by_sequence() {
    let mut table = table();
    table.sent(5, 1, 100);
    assert!(table.reply(&reply(1), 3, 150));
    assert_eq!(
        table.stamp(5, 1),
        Some(Stamp {
            seq: 1,
            sent_ns: 100,
            received_ns: 150
        })
    );
    assert_eq!(table.stamp(5, 2), None);
    assert_eq!(
        table.totals(5),
        Totals {
            sent: 1,
            replies: 1,
            last_received_ns: 150
        }
    );
}

#[test]
fn a_reply_drained_before_the_send_call_was_noted_still_counts_once() {
    let mut table = table();
    assert!(table.reply(&reply(1), 3, 150));
    table.sent(5, 1, 160);
    assert_eq!(
        table.stamp(5, 1),
        Some(Stamp {
            seq: 1,
            sent_ns: 160,
            received_ns: 150
        })
    );
    assert!(!table.reply(&reply(1), 3, 170), "duplicate");
    assert_eq!(table.totals(5).replies, 1);
}

#[test]
fn foreign_late_and_unarmed_replies_change_nothing() {
    let mut table = table();
    table.sent(5, 65, 100);
    assert!(!table.reply(&reply(1), 3, 150), "slot overwritten");
    assert!(!table.reply(&reply(65), 4, 150), "other interface");
    assert!(
        !table.reply(
            &Probe {
                token: 1,
                ..reply(65)
            },
            3,
            150
        ),
        "other token"
    );
    table.disarm(5);
    assert!(!table.reply(&reply(65), 3, 150), "not armed");
}

#[test]
fn the_kernels_times_win() {
    let kernel = Stamp {
        seq: 7,
        sent_ns: 10,
        received_ns: 0,
    };
    let own = Stamp {
        seq: 7,
        sent_ns: 12,
        received_ns: 20,
    };
    assert_eq!(
        merge(Some(kernel), Some(own)),
        Some(Stamp {
            seq: 7,
            sent_ns: 10,
            received_ns: 20
        })
    );
    assert_eq!(merge(None, Some(own)), Some(own));
    assert_eq!(merge(Some(kernel), None), Some(kernel));
    assert_eq!(merge(None, None), None);
}
