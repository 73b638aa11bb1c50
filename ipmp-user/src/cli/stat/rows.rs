//! The status as rows: `-a`, `-g`, `-i`, `-t`.

use std::net::IpAddr;

use ipmp_common::engine::snapshot::{ProbeState, ShownState, TargetState};

use super::fields::Cell;
use crate::{
    cli::output::word,
    control::status::{GroupStatus, InterfaceStatus, Link, Status, TargetOrigin, TargetStatus, TestInfo},
    import::Hosts,
};

/// The tag of `Reason::DuplicateMac`.
const DUPLICATE_MAC: &str = "duplicate-mac";

/// How addresses are shown.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Empty with `-n`. From the file only, for this tool is wanted when the network, and with it a name server,
    /// does not answer.
    pub(super) hosts: Hosts,
}

impl Addresses {
    pub(super) fn show(&self, address: IpAddr) -> String {
        self.hosts.name(address).map_or_else(|| address.to_string(), str::to_owned)
    }
}

/// ipmpstat's three classes of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Active,
    Inactive,
    Unusable,
}

const fn usage(interface: &InterfaceStatus) -> Use {
    match interface.state {
        ShownState::Failed | ShownState::Offline | ShownState::Absent => Use::Unusable,
        ShownState::Ok | ShownState::Unknown if interface.active => Use::Active,
        ShownState::Ok | ShownState::Unknown => Use::Inactive,
    }
}

fn names(group: &GroupStatus, wanted: Use) -> String {
    let members = group.interfaces.iter().filter(|interface| usage(interface) == wanted);
    members.map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// `-a`. OUTBOUND names the active interfaces that hold a data address, for routes follow the addresses; and those that
/// outbound flows are spread over.
pub(super) fn addresses(status: &Status, show: &Addresses) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for group in &status.groups {
        let carrying: Vec<&str> = group
            .interfaces
            .iter()
            .filter(|known| usage(known) == Use::Active)
            .filter(|known| {
                group.outbound.contains(&known.name)
                    || group.addresses.iter().any(|data| data.on.as_ref() == Some(&known.name))
            })
            .map(|known| known.name.as_str())
            .collect();
        for data in &group.addresses {
            let on = data.on.as_deref().and_then(|on| group.interfaces.iter().find(|known| known.name == on));
            let present = on.is_some_and(|on| on.state != ShownState::Absent);
            let inbound =
                on.filter(|on| usage(on) == Use::Active).map(|on| on.name.as_str()).unwrap_or_default();
            let outbound = if inbound.is_empty() { String::new() } else { carrying.join(" ") };
            rows.push(vec![
                Cell::value(show.show(data.address.addr())),
                Cell::value(if present { "up" } else { "down" }),
                Cell::value(&group.name),
                Cell::value(inbound),
                Cell::value(outbound),
            ]);
        }
    }
    rows
}

/// `-g`. There is no IPMP interface, so GROUP and GROUPNAME are the same.
pub(super) fn groups(status: &Status) -> Vec<Vec<Cell>> {
    let row = |group: &GroupStatus| {
        let probing = group.interfaces.iter().any(|interface| interface.probe != ProbeState::Disabled);
        let fdt = if probing { format!("{:.2}s", group.fdt_ns as f64 / 1e9) } else { String::new() };
        let (inactive, unusable) = (names(group, Use::Inactive), names(group, Use::Unusable));
        let parts = [
            names(group, Use::Active),
            if inactive.is_empty() { inactive } else { format!("({inactive})") },
            if unusable.is_empty() { unusable } else { format!("[{unusable}]") },
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        vec![
            Cell::value(&group.name),
            Cell::value(&group.name),
            Cell::value(word(&group.state)),
            Cell::value(fdt),
            Cell::value(parts.join(" ")),
        ]
    };
    status.groups.iter().map(row).collect()
}

/// `-i`.
pub(super) fn interfaces(status: &Status) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for group in &status.groups {
        for interface in &group.interfaces {
            let state = match interface.state {
                // ipmpstat has no word for it; what is not there does not work.
                ShownState::Absent => "failed".to_owned(),
                ShownState::Ok | ShownState::Failed | ShownState::Offline | ShownState::Unknown => {
                    word(&interface.state)
                }
            };
            rows.push(vec![
                Cell::value(&interface.name),
                Cell::value(if usage(interface) == Use::Active { "yes" } else { "no" }),
                Cell::value(&group.name),
                Cell::value(flags(group, interface)),
                Cell::value(word(&interface.link)),
                Cell::value(word(&interface.probe)),
                Cell::value(state),
            ]);
        }
    }
    rows
}

/// `ismbMdh`. No interface is nominated for broadcast and multicast (`m`, `b`, `M`): each receives its own.
fn flags(group: &GroupStatus, interface: &InterfaceStatus) -> String {
    let inactive = usage(interface) == Use::Inactive;
    // As far as it is known: an interface that is gone, or administratively down, or that if_mpadm emptied.
    let down = interface.state == ShownState::Absent
        || interface.device.as_ref().is_some_and(|device| !device.up)
        || (interface.state == ShownState::Offline
            && !group.addresses.iter().any(|data| data.on.as_ref() == Some(&interface.name)));
    let flag = |set: bool, letter: char| if set { letter } else { '-' };
    let duplicate = interface.state == ShownState::Offline
        && interface.why.get("why").is_some_and(|why| why == DUPLICATE_MAC);
    let flags = [
        flag(inactive, 'i'),
        flag(interface.standby, 's'),
        '-',
        '-',
        '-',
        flag(down, 'd'),
        flag(duplicate, 'h'),
    ];
    flags.iter().collect()
}

/// `-t`: a row for each family that is probed; one row if none is. A family in which there is nobody to probe, nor is
/// anybody looked for, is not.
pub(super) fn targets(status: &Status, show: &Addresses) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for interface in status.groups.iter().flat_map(|group| &group.interfaces) {
        let name = || Cell::value(&interface.name);
        let sources = interface.device.iter().flat_map(|device| &device.test);
        let before = rows.len();
        let asked = |test: &TestInfo| {
            test.targets == TargetOrigin::Neighbours
                || interface.targets.is_empty()
                || interface.targets.iter().any(|target| target.source == test.address)
        };
        for test in sources.filter(|test| interface.probe != ProbeState::Disabled && asked(test)) {
            let probed =
                interface.targets.iter().filter(|target| target.source == test.address && is_probed(target));
            let targets: Vec<String> = probed.map(|target| show.show(target.address)).collect();
            let mode = match test.targets {
                TargetOrigin::Routes => "routes",
                // Ours finds them without multicast, but it is the same mode.
                TargetOrigin::Neighbours => "multicast",
            };
            let address = show.show(test.address);
            rows.push(vec![name(), Cell::value(mode), Cell::value(address), Cell::value(targets.join(" "))]);
        }
        if rows.len() == before {
            let probed = interface.device.is_some() && interface.probe != ProbeState::Disabled;
            let mode = if probed { Cell::Unknown } else { Cell::value("disabled") };
            rows.push(vec![name(), mode, Cell::value(""), Cell::value("")]);
        }
    }
    rows
}

/// Whether probes leave through it.
pub(super) fn is_being_probed(interface: &InterfaceStatus) -> bool {
    let usable = match interface.state {
        ShownState::Absent | ShownState::Offline => false,
        ShownState::Ok | ShownState::Failed | ShownState::Unknown => interface.link != Link::Down,
    };
    usable && interface.targets.iter().any(is_probed)
}

/// Spares, and targets set aside, are not listed.
const fn is_probed(target: &TargetStatus) -> bool {
    match target.state {
        TargetState::Active | TargetState::Trial => true,
        TargetState::Unused | TargetState::Slow | TargetState::Dead => false,
    }
}
