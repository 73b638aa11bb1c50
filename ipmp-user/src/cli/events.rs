//! `ipmp events`.

use std::fmt::Write as _;

use ipmp_common::engine::time::Nanos;

use super::{
    args::{EventsArgs, Since},
    exit::Failure,
    output::{Clock, end_with_reader, print, print_json, word},
};
use crate::{
    control::client::{Client, Told},
    journal::Event,
};

pub(super) fn run(client: &mut Client, wanted: &EventsArgs, json: bool) -> Result<u8, Failure> {
    let since_ns = wanted.since.map(|since| match since {
        Since::Ago(ago) => Clock::read().now_ns.saturating_sub(ago),
        Since::At(t_ns) => t_ns,
    });
    if wanted.follow {
        end_with_reader();
    }
    let mut outcome = Ok(true);
    client.events(since_ns, wanted.follow, |told| {
        outcome = match told {
            Told::Event(event) if json => print_json(&event),
            Told::Event(event) => {
                // Read anew: while one follows, the time of day may be set.
                print(&format!("{}\n", line(&event, &Clock::read())))
            }
            Told::Dropped(dropped) if json => {
                print_json(&serde_json::json!({"kind": "dropped", "dropped": dropped}))
            }
            Told::Dropped(dropped) => {
                print(&format!("({dropped} events were forgotten before they could be read)\n"))
            }
        };
        matches!(outcome, Ok(true))
    })?;
    outcome.map(|_| 0)
}

/// `2026-11-21T20:50:18.123Z failed ipmp0 eth0: carrier lost (poll) [evidence → decided 0.21 ms]`.
pub(super) fn line(event: &Event, clock: &Clock) -> String {
    let mut text = format!("{} {:<13}", clock.day(event.t_ns), word(&event.kind));
    let address = event.address.map(|address| address.to_string());
    for part in [&event.group, &event.interface, &address].into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = write!(text, " {part}");
    }
    let _ = write!(text, ": {}", event.reason);
    if let Some(delays) = delays(event) {
        let _ = write!(text, " [{delays}]");
    }
    text.replace(char::is_control, "?")
}

/// `after the evidence: decided 212 us`, …: each step's distance from the kernel's time of the evidence. Where that is not
/// known (polling and netlink tell what is, not since when), the evidence counts from when it was seen, which was in the
/// turn of the verdict: a distance of nothing, which would mislead.
fn delays(event: &Event) -> Option<String> {
    let evidence = event.evidence_ns?;
    let steps =
        [("decided", event.decided_ns), ("applied", event.applied_ns), ("announced", event.announced_ns)];
    let timed = event.decided_ns != Some(evidence);
    let known = steps.into_iter().filter(|(step, _)| timed || *step != "decided");
    let known: Vec<String> = known
        .filter_map(|(step, at)| Some(format!("{step} {}", Nanos(at?.checked_sub(evidence)?))))
        .collect();
    match (timed, known.is_empty()) {
        (true, true) => None,
        (true, false) => Some(format!("after the evidence: {}", known.join(", "))),
        (false, true) => Some("since when is not known".to_owned()),
        (false, false) => Some(format!("since when is not known; after the verdict: {}", known.join(", "))),
    }
}
