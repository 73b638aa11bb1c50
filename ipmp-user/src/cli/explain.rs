//! `ipmp explain`: the evidence behind an interface's state.

use std::{collections::VecDeque, fmt::Write as _};

use serde::Serialize;

use super::{
    events,
    exit::{self, Failure},
    links,
    output::{Clock, print, print_json, word},
    status::{counters_text, targets_text},
};
use crate::{
    control::{
        client::{Client, Told},
        status::{InterfaceStatus, Status},
    },
    diagnosis::error_text,
    journal::Event,
};

/// Events of the interface that are shown: enough for the last failover and the last repair.
const EVENTS: usize = 10;

/// What `--json` prints.
#[derive(Serialize)]
struct Explanation<'e> {
    version: u32,
    group: &'e str,
    interface: &'e InterfaceStatus,
    events: &'e VecDeque<Event>,
}

pub(super) fn run(client: &mut Client, name: &str, json: bool) -> Result<u8, Failure> {
    let mut status = client.status()?;
    links::diagnose(client.process(), &mut status);
    let (group, interface) = find(&status, name)?;
    let mut last = VecDeque::with_capacity(EVENTS);
    client.events(None, false, |told| {
        match told {
            Told::Event(event) if concerns(&event, name) => {
                if last.len() == EVENTS {
                    last.pop_front();
                }
                last.push_back(*event);
            }
            Told::Event(_) | Told::Dropped(_) => {}
        }
        true
    })?;
    if json {
        print_json(&Explanation { version: 1, group, interface, events: &last })?;
    } else {
        print(&text(group, interface, &last, &Clock::read()))?;
    }
    Ok(0)
}

/// Also what moved away from the interface is its history.
fn concerns(event: &Event, name: &str) -> bool {
    event.interface.as_deref() == Some(name) || event.why.get("from").is_some_and(|from| from == name)
}

fn find<'s>(status: &'s Status, name: &str) -> Result<(&'s str, &'s InterfaceStatus), Failure> {
    let all = || {
        let groups = status.groups.iter();
        groups.flat_map(|group| group.interfaces.iter().map(|interface| (group.name.as_str(), interface)))
    };
    all().find(|(_, interface)| interface.name == name).ok_or_else(|| {
        let known: Vec<&str> = all().map(|(_, interface)| interface.name.as_str()).collect();
        let text = format!("no such interface in any group: {name}: take one of {}", known.join(", "));
        Failure::new(exit::USAGE, text)
    })
}

pub(super) fn text(
    group: &str,
    interface: &InterfaceStatus,
    last: &VecDeque<Event>,
    clock: &Clock,
) -> String {
    let since = match interface.since_ns {
        // It was never in another state.
        0 => String::new(),
        since_ns => format!(" since {} ({} ago)", clock.day(since_ns), clock.ago(since_ns)),
    };
    let of_group = if group.is_empty() { ", in no group,".to_owned() } else { format!(" of group {group}") };
    let mut text = format!(
        "{}{of_group} is {}{since}\n  because: {}\n  link {}, probing {}\n",
        interface.name,
        word(&interface.state),
        interface.reason,
        word(&interface.link),
        word(&interface.probe),
    );
    // Writing to a String cannot fail.
    let counters = interface.diagnosis.as_ref().map(|diagnosis| &diagnosis.link.counters);
    if let Some(errors) = counters.and_then(error_text) {
        let _ = writeln!(text, "  errors counted since the interface exists: {errors}");
    }
    if let Some(deferred) = &interface.deferred {
        let _ = writeln!(text, "  deferred: {deferred}");
    }
    let _ = writeln!(
        text,
        "evidence: replies by {}, carrier by {}",
        word(&interface.reply_evidence),
        word(&interface.carrier_evidence)
    );
    for note in &interface.notes {
        let _ = writeln!(text, "  not better because: {note}");
    }
    let interfaces = std::slice::from_ref(interface);
    for (heading, table) in [
        ("targets", targets_text(interfaces)),
        ("frames", counters_text(interfaces)),
        ("link", links::text(interfaces)),
    ] {
        if !table.is_empty() {
            let _ = write!(text, "{heading}:\n{table}");
        }
    }
    text.push_str("last events:\n");
    if last.is_empty() {
        text.push_str("  none\n");
    }
    for event in last {
        let _ = writeln!(text, "  {}", events::line(event, clock));
    }
    text
}
