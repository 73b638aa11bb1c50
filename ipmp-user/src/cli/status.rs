//! `ipmp status`.

use std::fmt::Write as _;

use ipmp_common::engine::{snapshot::GroupState, time::Nanos};

use super::{
    args::StatusArgs,
    exit::{self, Failure},
    links,
    output::{Clock, Table, print, print_json, span, word},
    solaris,
};
use crate::control::{
    client::Client,
    status::{GroupStatus, InterfaceStatus, Status},
};

pub(super) fn run(client: &mut Client, wanted: &StatusArgs, json: bool) -> Result<u8, Failure> {
    let mut status = only(client.status()?, wanted.group.as_deref())?;
    if wanted.verbose {
        links::diagnose(client.process(), &mut status);
    }
    if json {
        print_json(&status)?;
    } else if wanted.solaris {
        print(&solaris::text(&status))?;
    } else {
        print(&text(&status, wanted.verbose, &Clock::read()))?;
    }
    Ok(code(&status))
}

/// Leaves the other groups out.
pub(super) fn only(mut status: Status, group: Option<&str>) -> Result<Status, Failure> {
    let Some(group) = group else { return Ok(status) };
    let known: Vec<String> = status.groups.iter().map(|group| group.name.clone()).collect();
    status.groups.retain(|candidate| candidate.name == group);
    if status.groups.is_empty() {
        let text = format!("no such group: {group}: take one of {}", known.join(", "));
        return Err(Failure::new(exit::USAGE, text));
    }
    Ok(status)
}

/// The worst group decides.
pub(super) fn code(status: &Status) -> u8 {
    let worst = status.groups.iter().map(|group| group.state).max();
    match worst.unwrap_or(GroupState::Ok) {
        GroupState::Ok => 0,
        GroupState::Degraded => exit::DEGRADED,
        GroupState::Failed => exit::FAILED,
    }
}

/// The page for people.
pub(super) fn text(status: &Status, verbose: bool, clock: &Clock) -> String {
    let pages: Vec<String> = status.groups.iter().map(|group| group_text(group, verbose, clock)).collect();
    let mut text = pages.join("\n");
    if status.stalls > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nthe daemon ran late {}; see `ipmp events`", times(status.stalls));
    }
    text
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn group_text(group: &GroupStatus, verbose: bool, clock: &Clock) -> String {
    let fdt = if group.fdt_ns == group.fdt_configured_ns {
        Nanos(group.fdt_ns).to_string()
    } else {
        format!("{} (configured {})", Nanos(group.fdt_ns), Nanos(group.fdt_configured_ns))
    };
    let mut text = if group.name.is_empty() {
        "interfaces in no group:\n".to_owned()
    } else {
        format!("{}: {}, failure detection time {fdt}\n", group.name, word(&group.state))
    };
    if let (true, Some(detection), Some(repair)) = (verbose, group.detection_worst_ns, group.repair_worst_ns)
    {
        let (detection, repair) = (Nanos(detection), Nanos(repair));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  at worst {detection} to detect a failure, {repair} to detect a repair");
    }
    let mut table = Table::new(&["INTERFACE", "STATE", "ROLE", "LINK", "PROBE", "EVIDENCE", "FOR", "REASON"]);
    for interface in &group.interfaces {
        table.row([
            interface.name.clone(),
            word(&interface.state),
            role(interface).to_owned(),
            word(&interface.link),
            word(&interface.probe),
            evidence(interface),
            clock.ago(interface.since_ns),
            interface.reason.clone(),
        ]);
    }
    text.push_str(&table.text(2));
    text.push_str(&remarks(group));
    if verbose {
        text.push_str(&targets_text(&group.interfaces));
        text.push_str(&counters_text(&group.interfaces));
        text.push_str(&links::text(&group.interfaces));
    }
    if !group.addresses.is_empty() {
        let mut table = Table::new(&["ADDRESS", "HOME", "ON"]);
        for data in &group.addresses {
            let on = match &data.on {
                Some(on) if *on == data.home => on.clone(),
                Some(on) => format!("{on} (away)"),
                None if data.parked => "nowhere (parked)".to_owned(),
                None => "nowhere (withdrawn)".to_owned(),
            };
            table.row([data.address.to_string(), data.home.clone(), on]);
        }
        text.push_str(&table.text(2));
    }
    text
}

/// What the table has no column for.
fn remarks(group: &GroupStatus) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for interface in &group.interfaces {
        let Some(device) = &interface.device else { continue };
        if let Some(section) = &device.section {
            let _ = writeln!(text, "  {} is the hardware of section {section}", interface.name);
        }
        for address in &device.left_alone {
            let name = &interface.name;
            let _ = writeln!(text, "  {address} on {name} is renewed by others (DHCP, router), so not moved");
        }
    }
    if group.put_back > 0 {
        let times = times(group.put_back);
        let _ =
            writeln!(text, "  others changed its addresses or routes, put back {times}; see `ipmp events`");
    }
    if !group.outbound.is_empty() {
        let _ = writeln!(text, "  outbound flows leave by {}", group.outbound.join(", "));
    }
    text
}

fn role(interface: &InterfaceStatus) -> &'static str {
    match (interface.standby, interface.active) {
        (false, true) => "active",
        (false, false) => "inactive",
        (true, true) => "standby, active",
        (true, false) => "standby",
    }
}

/// `xdp-native/fentry`: the rungs in use for replies and for carrier.
fn evidence(interface: &InterfaceStatus) -> String {
    format!("{}/{}", word(&interface.reply_evidence), word(&interface.carrier_evidence))
}

/// Every target through every one of the interfaces.
pub(super) fn targets_text(interfaces: &[InterfaceStatus]) -> String {
    let mut table = Table::new(&[
        "TARGET",
        "STATE",
        "VIA",
        "FROM",
        "RTT",
        "RTT (DAEMON)",
        "SENT",
        "ACKED",
        "LOST",
        "NEVER LEFT",
    ]);
    let mut any = false;
    for interface in interfaces {
        for target in &interface.targets {
            any = true;
            table.row([
                target.address.to_string(),
                word(&target.state),
                interface.name.clone(),
                target.source.to_string(),
                span(target.rtt_kernel_ns),
                span(target.rtt_daemon_ns),
                target.sent.to_string(),
                target.acked.to_string(),
                target.lost.to_string(),
                target.unsent.to_string(),
            ]);
        }
    }
    if any { table.text(2) } else { String::new() }
}

/// What the kernel programs counted on each of the interfaces.
pub(super) fn counters_text(interfaces: &[InterfaceStatus]) -> String {
    let mut table = Table::new(&[
        "FRAMES ON",
        "SEEN",
        "OURS",
        "FOREIGN",
        "MALFORMED",
        "DUPLICATE",
        "LATE",
        "RING FULL",
        "SENT",
    ]);
    let mut any = false;
    for interface in interfaces {
        if let Some(counted) = &interface.counters {
            any = true;
            table.row([
                interface.name.clone(),
                counted.seen.to_string(),
                counted.ours.to_string(),
                counted.foreign_id.to_string(),
                counted.malformed.to_string(),
                counted.duplicate.to_string(),
                counted.late.to_string(),
                counted.ring_full.to_string(),
                counted.sent.to_string(),
            ]);
        }
    }
    if any { table.text(2) } else { String::new() }
}
