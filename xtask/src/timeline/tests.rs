use ipmp_tests::{ping::PingReport, tcp::TcpReport};
use serde_json::json;

use super::*;

fn scene(act: Act) -> Scene {
    let ping = PingReport { sent: 200, lost: 71, longest_gap: Duration::from_micros(72_500) };
    Scene {
        act,
        at_ns: 1_000_000_000,
        until_ns: 1_500_000_000,
        verdict: json!({
            "kind": "failed", "interface": "eth0", "reason": "5 consecutive probes lost",
            "why": {"why": "probes-lost"}, "evidence_ns": 990_000_000, "decided_ns": 1_071_000_000,
        }),
        moves: vec![
            json!({"address": "192.0.2.1/24", "applied_ns": 1_071_200_000, "announced_ns": 1_071_300_000}),
            json!({"address": "2001:db8::1/64", "applied_ns": 1_071_250_000, "announced_ns": 1_071_400_000}),
        ],
        pings: [ping, ping],
        tcp: TcpReport { messages: 40, longest_gap: Duration::from_millis(210) },
    }
}

#[test]
fn tells_each_step_relative_to_the_act() {
    let text = Text(&scene(Act::Cut)).to_string();
    for part in [
        "-10.00 ms  evidence   the newest good reply",
        "+71.00 ms  decided    eth0 failed: 5 consecutive probes lost [71 % of the failure detection time]",
        "+71.25 ms  applied    eth0 → eth1: 192.0.2.1/24, 2001:db8::1/64",
        "+71.40 ms  announced",
        "IPv6 ping: 71 lost of 200, longest gap 72.5 ms",
        "TCP: 40 messages answered, longest pause 210.0 ms",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn steps_are_in_the_order_of_time() {
    let scene = scene(Act::Cut);
    let order: Vec<&str> = steps(&scene).iter().map(|(_, what, _)| *what).collect();
    assert_eq!(order, ["evidence", "act", "decided", "applied", "announced"]);
}

#[test]
fn a_repair_moves_back_and_claims_no_share() {
    let text = Text(&scene(Act::Mend)).to_string();
    assert!(text.contains("eth1 → eth0"), "{text}");
    assert!(!text.contains('%'), "{text}");
}
