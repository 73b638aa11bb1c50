//! Log lines. Where in.mpathd has a text for the case, it is that text, so that existing log watchers go on
//! working; the reason with its numbers follows.

use tracing::Level;

use ipmp_common::engine::{
    ids::Family,
    reason::{Kind, Reason, Record},
    time::Nanos,
};

use super::{Names, event::reason_text};

/// How many members of a group are usable, if the record says so.
pub(super) fn usable_members(record: &Record) -> Option<u32> {
    if record.kind != Kind::GroupState {
        return None;
    }
    if let Reason::MembersUsable { usable, .. } = &record.reason {
        return Some(*usable);
    }
    matches!(record.reason, Reason::GroupFailure { .. }).then_some(0)
}

/// Writes the log line of a record. `was_failed`: the group's failure was logged before.
pub(super) fn log(record: &Record, names: &Names, was_failed: bool) {
    let text = text(record, names, was_failed);
    match level(record, was_failed) {
        Level::ERROR => tracing::error!("{text}"),
        Level::WARN => tracing::warn!("{text}"),
        Level::DEBUG | Level::TRACE => tracing::debug!("{text}"),
        Level::INFO => tracing::info!("{text}"),
    }
}

/// in.mpathd's levels for its own lines: everything that concerns reachability is an error, its end as well, so
/// that whoever is woken by the one learns of the other.
pub(super) fn level(record: &Record, was_failed: bool) -> Level {
    let hardware = matches!(record.reason, Reason::DuplicateMac { .. } | Reason::UniqueMac { .. });
    let test_address =
        matches!(record.reason, Reason::DuplicateTestAddress { .. } | Reason::UniqueTestAddress { .. });
    match record.kind {
        Kind::Failed
        | Kind::Repaired
        | Kind::LinkDown
        | Kind::LinkUp
        | Kind::Flapping
        | Kind::Inconsistent
        | Kind::Consistent
        | Kind::ActionFailed => Level::ERROR,
        Kind::GroupState if was_failed || usable_members(record) == Some(0) => Level::ERROR,
        Kind::Offline | Kind::Online if hardware => Level::ERROR,
        Kind::Probing if test_address => Level::ERROR,
        Kind::Absent if record.reason != Reason::InterfaceRemoved => Level::WARN,
        Kind::Withdrawn | Kind::Missing | Kind::PutBack | Kind::Errors | Kind::Renamed | Kind::LeftAlone => {
            Level::WARN
        }
        Kind::Absent
        | Kind::Activity
        | Kind::Moved
        | Kind::GroupState
        | Kind::Offline
        | Kind::Online
        | Kind::Present
        | Kind::Probing
        | Kind::Stalled
        | Kind::Mute
        | Kind::Deferred
        | Kind::DetectionTime
        | Kind::Reconfigured
        | Kind::Target
        | Kind::TargetSlow => Level::INFO,
        Kind::Announced => Level::DEBUG,
    }
}

/// The log line's text.
pub(super) fn text(record: &Record, names: &Names, was_failed: bool) -> String {
    let interface = record.member.map_or_else(String::new, |member| names.member(member));
    let group = record.group.map_or_else(String::new, |group| names.group(group));
    let of_group = if group.is_empty() { String::new() } else { format!(" of group {group}") };
    let address = record.address.map_or_else(String::new, |address| address.to_string());
    if let Some(line) = whole_line(record, &interface, &group) {
        return line;
    }
    let what = match record.kind {
        Kind::LinkDown => format!("The link has gone down on {interface}"),
        Kind::LinkUp => format!("The link has come up on {interface}"),
        Kind::Failed => format!("IP interface failure detected on {interface}{of_group}"),
        Kind::Repaired => format!("IP interface repair detected on {interface}{of_group}"),
        Kind::Activity => format!("IP interface {interface}{of_group} {}", activity(&record.reason)),
        Kind::Moved => format!("Data address {address}{of_group} is now on {interface}"),
        Kind::Announced if address.is_empty() => format!("Data addresses{of_group} announced on {interface}"),
        Kind::Announced => format!("Data address {address}{of_group} announced on {interface}"),
        Kind::GroupState => group_state(record, &interface, &group, was_failed),
        Kind::Consistent | Kind::Inconsistent => {
            format!("IP interface {interface} does not fit group {group}")
        }
        Kind::Offline => format!("IP interface {interface}{of_group} is now offline"),
        Kind::Online => format!("IP interface {interface}{of_group} is now online"),
        Kind::Absent => format!("IP interface {interface}{of_group} is not in the kernel"),
        Kind::Present => format!("IP interface {interface}{of_group} is in the kernel"),
        Kind::Stalled => "The daemon ran late; nothing was judged by that time".to_owned(),
        Kind::Mute => format!("Probes of interface {interface}{of_group}"),
        Kind::Probing => return probing(record, names, &interface),
        Kind::Target if interface.is_empty() => format!("Probe targets{of_group}"),
        Kind::Target => format!("Probe target of interface {interface}{of_group}"),
        Kind::Withdrawn => format!("Data addresses{of_group}"),
        Kind::Errors => format!("IP interface {interface}{of_group} has counted errors"),
        Kind::PutBack => format!("Addresses or routes{of_group} were put back"),
        Kind::ActionFailed if interface.is_empty() => format!("An action failed{of_group}"),
        Kind::ActionFailed => format!("An action failed on {interface}{of_group}"),
        Kind::Flapping => flapping(&record.reason, &interface),
        Kind::DetectionTime => return detection_time(record, &interface, &group),
        Kind::TargetSlow => format!("A probe target of {interface} is slow"),
        Kind::Reconfigured if interface.is_empty() => format!("Group {group}"),
        Kind::Reconfigured => format!("Data address {address}{of_group} on {interface}"),
        Kind::Missing => return missing(&record.reason, names),
        Kind::LeftAlone => format!("Address {address} stays on {interface}{of_group}"),
        Kind::Renamed => format!("IP interface {interface}{of_group} has another name"),
        Kind::Deferred => format!("IP interface {interface}{of_group} waits"),
    };
    format!("{what}: {}", reason_text(&record.reason, names))
}

fn activity(reason: &Reason) -> &'static str {
    if matches!(reason, Reason::Deactivated { .. }) {
        "is now inactive"
    } else if matches!(reason, Reason::Activated { .. }) {
        "is now active"
    } else {
        "changed its activity"
    }
}

fn group_state(record: &Record, interface: &str, group: &str, was_failed: bool) -> String {
    match (usable_members(record), was_failed) {
        (Some(0), _) => format!("All IP interfaces in group {group} are now unusable"),
        (Some(_), true) if interface.is_empty() => {
            format!("At least 1 IP interface in group {group} is now usable")
        }
        (Some(_), true) => format!("At least 1 IP interface ({interface}) in group {group} is now usable"),
        (Some(usable), false) => {
            let whole = matches!(record.reason, Reason::MembersUsable { members, .. } if members == usable);
            format!("Group {group} is {}", if whole { "ok" } else { "degraded" })
        }
        (None, _) => format!("The state of group {group} has changed"),
    }
}

/// in.mpathd's lines that say all there is to say.
fn whole_line(record: &Record, interface: &str, group: &str) -> Option<String> {
    if matches!(record.reason, Reason::DuplicateMac { .. }) {
        return Some(format!(
            "IP interface {interface} has a hardware address which is not unique in group {group}; offlining"
        ));
    }
    if matches!(record.reason, Reason::UniqueMac { .. }) {
        return Some(format!(
            "IP interface {interface} now has a unique hardware address in group {group}; onlining"
        ));
    }
    if record.reason == Reason::InterfaceRemoved {
        return Some(format!("IP interface {interface} has been removed from kernel"));
    }
    if let Reason::FamilyMissing { family } = record.reason {
        return Some(format!(
            "IP interface {interface} in group {group} is not plumbed for {family}, affecting {family} connectivity"
        ));
    }
    if record.reason == Reason::FitsGroup {
        // Two blanks, as ever.
        return Some(format!(
            "IP interface {interface} is now consistent with group {group}  and connectivity is restored"
        ));
    }
    if let Reason::LateWakeup { late_by, skipped_slots } = record.reason {
        return Some(format!("missed sending {skipped_slots} probes: the daemon woke {late_by} late"));
    }
    None
}

/// in.mpathd's lines about probing name their reason themselves.
fn probing(record: &Record, names: &Names, interface: &str) -> String {
    if record.reason == Reason::NoTestAddress {
        return format!(
            "No test address configured on interface {interface}; disabling probe-based failure detection on it"
        );
    }
    if let Reason::DuplicateTestAddress { address } = record.reason {
        return format!(
            "Test address {address} is not unique in group; disabling probe-based failure detection on {interface}"
        );
    }
    if matches!(record.reason, Reason::UniqueTestAddress { .. }) {
        return format!(
            "Test address now configured on interface {interface}; enabling probe-based failure detection on it"
        );
    }
    if record.reason == Reason::NoTargets {
        return format!(
            "No probe targets for interface {interface}; no probe-based failure detection on it now"
        );
    }
    if let Reason::TargetsKnown { targets } = &record.reason {
        let plural = if *targets == 1 { "" } else { "s" };
        return format!(
            "{targets} probe target{plural} for interface {interface}; enabling probe-based failure detection on it"
        );
    }
    let why = reason_text(&record.reason, names);
    format!("Probe-based failure detection has changed on interface {interface}: {why}")
}

/// in.mpathd's texts, whole milliseconds and all; the numbers behind them are in the event.
fn detection_time(record: &Record, interface: &str, group: &str) -> String {
    let ms = |span: Nanos| span.0.div_ceil(1_000_000);
    let af = |family: Family| match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    };
    if let Reason::SlowRoundTrip { family, configured, fdt, .. } = record.reason {
        return format!(
            "Cannot meet requested failure detection time of {} ms on ({} {interface}) new failure detection time for group \"{group}\" is {} ms",
            ms(configured),
            af(family),
            ms(fdt)
        );
    }
    if let Reason::QuickRoundTrip { family, fdt, .. } = record.reason {
        return format!(
            "Improved failure detection time {} ms on ({} {interface}) for group \"{group}\"",
            ms(fdt),
            af(family)
        );
    }
    format!("The failure detection time of group {group} has changed")
}

/// The words of Solaris's start-up script (`net_include.sh`), punctuation as its guide has it.
pub(super) fn missing(reason: &Reason, names: &Names) -> String {
    let Reason::Missing { family, moved } = reason else { return String::new() };
    let list: Vec<String> = moved
        .iter()
        .map(|(missing, hosts)| {
            let hosts: Vec<String> = hosts.iter().map(|host| names.member(*host)).collect();
            let fate = match hosts.as_slice() {
                [] => "couldn't move; no alternative interface".to_owned(),
                hosts => format!("moved to {}", hosts.join(" ")),
            };
            format!("{} ({fate})", names.member(*missing))
        })
        .collect();
    format!("moving addresses from failed {family} interfaces: {}", list.join(" "))
}

fn flapping(reason: &Reason, interface: &str) -> String {
    // in.mpathd says "more than 2 times" at the third.
    let times = if let Reason::LinkFlaps { ups, .. } = reason { ups.saturating_sub(1) } else { 2 };
    format!(
        "The link has come up on {interface} more than {times} times in the last minute; disabling repair until it stabilizes"
    )
}
