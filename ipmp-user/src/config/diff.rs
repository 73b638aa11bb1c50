//! What another file would change, in words. One line a difference; none if both mean the same.

use std::{collections::BTreeSet, fmt::Display};

use ipmp_common::engine::config::{DataAddresses, GroupConfig, InterfaceConfig, OnGroupFailure};

use super::{DaemonConfig, FileConfig, Identity};

/// From one configuration to another. A key that cannot be changed while the daemon runs says so, and why.
pub fn differences(old: &FileConfig, new: &FileConfig) -> Vec<String> {
    let mut lines = Vec::new();
    daemon(&old.daemon, &new.daemon, &mut lines);
    let named = |groups: &[GroupConfig], name: &str| groups.iter().find(|group| group.name == name).cloned();
    for group in &old.engine.groups {
        match named(&new.engine.groups, &group.name) {
            Some(other) => group_lines(group, &other, &mut lines),
            None => lines.push(format!("group {}: removed; its addresses stay where they are", group.name)),
        }
    }
    for group in &new.engine.groups {
        if named(&old.engine.groups, &group.name).is_none() {
            let members: Vec<&str> =
                group.interfaces.iter().map(|interface| interface.name.as_str()).collect();
            lines.push(format!("group {}: added, with {}", group.name, members.join(", ")));
        }
    }
    let tied: BTreeSet<&String> = old.identities.keys().chain(new.identities.keys()).collect();
    let of = |config: &FileConfig, name: &String| config.identities.get(name).cloned().unwrap_or_default();
    for name in tied {
        let (from, to) = (of(old, name), of(new, name));
        let keys = [("mac", mac(&from), mac(&to)), ("pci", pci(&from), pci(&to))];
        for (key, from, to) in keys.into_iter().filter(|(_, from, to)| from != to) {
            lines.push(format!("{name}: {key}: {from} → {to}"));
        }
    }
    lines
}

fn mac(identity: &Identity) -> String {
    let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    identity.mac.map_or_else(|| "any".to_owned(), text)
}

fn pci(identity: &Identity) -> String {
    identity.pci.clone().unwrap_or_else(|| "any".to_owned())
}

fn daemon(old: &DaemonConfig, new: &DaemonConfig, lines: &mut Vec<String>) {
    let mut changed = |key: &str, from: String, to: String, remark: &str| {
        if from != to {
            lines.push(format!("{key}: {from} → {to}{remark}"));
        }
    };
    let (from, to) = (old.real_time_priority.to_string(), new.real_time_priority.to_string());
    let why = "; not before ipmpd is restarted: its threads take their priority when they start";
    changed("real-time-priority", from, to, why);
    let group = |config: &DaemonConfig| config.control_group.clone().unwrap_or_else(|| "none".to_owned());
    let why = "; not before ipmpd is restarted: the control socket gets its group when it is made";
    changed("control-group", group(old), group(new), why);
    let tracked = |config: &DaemonConfig| config.track_interfaces_only_with_groups.to_string();
    changed("track-interfaces-only-with-groups", tracked(old), tracked(new), "");
    changed(
        "boot-wait",
        old.boot_wait.to_string(),
        new.boot_wait.to_string(),
        "; counts from the next start on",
    );
}

/// A group's keys.
struct Keys<'l> {
    group: &'l str,
    lines: &'l mut Vec<String>,
}

impl Keys<'_> {
    fn compare<T: PartialEq + Display>(&mut self, key: &str, from: &T, to: &T) {
        if from != to {
            self.lines.push(format!("group {}: {key}: {from} → {to}", self.group));
        }
    }
}

fn group_lines(old: &GroupConfig, new: &GroupConfig, lines: &mut Vec<String>) {
    let policy = |group: &GroupConfig| match group.on_group_failure {
        OnGroupFailure::Keep => "keep",
        OnGroupFailure::Fail => "fail",
    };
    let targets = |group: &GroupConfig| {
        if group.targets.is_empty() { "discovered".to_owned() } else { list(&group.targets) }
    };
    let order = |group: &GroupConfig| {
        group.interfaces.iter().map(|interface| interface.name.clone()).collect::<Vec<_>>().join(", ")
    };
    let mut keys = Keys { group: &new.name, lines };
    keys.compare("failure-detection-time", &old.failure_detection_time, &new.failure_detection_time);
    keys.compare("failback", &old.failback, &new.failback);
    keys.compare("targets", &targets(old), &targets(new));
    keys.compare("on-group-failure", &policy(old), &policy(new));
    keys.compare("quiet-period", &old.quiet_period, &new.quiet_period);
    keys.compare("suspicion", &old.suspicion, &new.suspicion);
    keys.compare("outbound-spreading", &old.outbound_spreading, &new.outbound_spreading);
    let (before, after) = (&old.damping, &new.damping);
    keys.compare("link-down-delay", &before.link_down_delay, &after.link_down_delay);
    keys.compare("link-up-delay", &before.link_up_delay, &after.link_up_delay);
    keys.compare("failback-delay", &before.failback_delay, &after.failback_delay);
    keys.compare("hold-down", &before.hold_down, &after.hold_down);
    keys.compare("hold-down-max", &before.hold_down_max, &after.hold_down_max);
    keys.compare("interfaces", &order(old), &order(new));
    for interface in &new.interfaces {
        if let Some(before) = old.interfaces.iter().find(|before| before.name == interface.name) {
            interface_lines(&new.name, before, interface, lines);
        }
    }
}

fn interface_lines(group: &str, old: &InterfaceConfig, new: &InterfaceConfig, lines: &mut Vec<String>) {
    let data = |interface: &InterfaceConfig| match &interface.data {
        DataAddresses::Adopt => "those found on it".to_owned(),
        DataAddresses::Listed(listed) => list(listed),
    };
    let keys = [
        ("data", data(old), data(new)),
        ("test", list(&old.test), list(&new.test)),
        ("standby", old.standby.to_string(), new.standby.to_string()),
    ];
    for (key, from, to) in keys.into_iter().filter(|(_, from, to)| from != to) {
        lines.push(format!("group {group}: {}: {key}: {from} → {to}", new.name));
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
