//! What `ipmpd --check` prints: the file as it was understood, defaults filled in.

use std::fmt::Write as _;

use ipmp_common::engine::{
    config::{Announcements, Damping, DataAddresses, GroupConfig, InterfaceConfig, OnGroupFailure},
    time::Nanos,
};

use super::FileConfig;

/// One line a group and a line for each of its interfaces.
pub fn summary(config: &FileConfig) -> String {
    let mut text = String::new();
    for group in &config.engine.groups {
        group_lines(group, &mut text);
    }
    let daemon = &config.daemon;
    // Writing to a String cannot fail.
    let _ = match daemon.real_time_priority {
        0 => write!(text, "daemon: ordinary scheduling"),
        priority => write!(text, "daemon: real-time priority {priority}"),
    };
    let _ = match &daemon.control_group {
        Some(group) => write!(text, ", control socket readable by group {group}"),
        None => write!(text, ", control socket readable by root"),
    };
    text.push('\n');
    if !daemon.track_interfaces_only_with_groups {
        text.push_str("interfaces in no group: tracked by their carrier, without failover\n");
    }
    text
}

fn group_lines(group: &GroupConfig, text: &mut String) {
    let policy = match group.on_group_failure {
        OnGroupFailure::Keep => "keep",
        OnGroupFailure::Fail => "fail",
    };
    let targets = if group.targets.is_empty() { "discovered".to_owned() } else { list(&group.targets) };
    let _ = writeln!(
        text,
        "group {}: failure detection time {}, failback {}, on group failure {policy}, quiet period {}, suspicion {}, outbound spreading {}, targets {targets}",
        group.name,
        group.failure_detection_time,
        if group.failback { "yes" } else { "no" },
        group.quiet_period,
        if group.suspicion { "on" } else { "off" },
        if group.outbound_spreading { "on" } else { "off" },
    );
    if group.announcements != Announcements::default() {
        let Announcements { ipv4, ipv6, interval } = group.announcements;
        let _ = writeln!(
            text,
            "  announcements: {ipv4} of an IPv4 address, {ipv6} of an IPv6 address, {interval} apart"
        );
    }
    if let Some(line) = damping_line(&group.damping) {
        let _ = writeln!(text, "  damping: {line}");
    }
    for interface in &group.interfaces {
        let _ = writeln!(text, "  {}", interface_line(interface));
    }
}

/// The delays that are not zero; none is in.mpathd's behaviour, and no line.
fn damping_line(damping: &Damping) -> Option<String> {
    let Damping { link_down_delay, link_up_delay, failback_delay, hold_down, hold_down_max } = *damping;
    let delays = [("link down", link_down_delay), ("link up", link_up_delay), ("failback", failback_delay)];
    let mut parts: Vec<String> = delays
        .iter()
        .filter(|(_, delay)| *delay > Nanos(0))
        .map(|(what, delay)| format!("{what} delayed for {delay}"))
        .collect();
    if hold_down > Nanos(0) {
        parts.push(format!("hold-down {hold_down}, doubling up to {hold_down_max}"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn interface_line(interface: &InterfaceConfig) -> String {
    let data = match &interface.data {
        DataAddresses::Adopt => "those found on it".to_owned(),
        DataAddresses::Listed(listed) if listed.is_empty() => "none".to_owned(),
        DataAddresses::Listed(listed) => list(listed),
    };
    let test = if interface.test.is_empty() { "none".to_owned() } else { list(&interface.test) };
    let standby = if interface.standby { ", standby" } else { "" };
    format!("{}: data {data}; test {test}{standby}", interface.name)
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
