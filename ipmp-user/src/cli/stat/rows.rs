//! The status as rows: `-a`, `-g`, `-i`, `-t`.

use std::net::IpAddr;

use ipmp_common::engine::snapshot::{ProbeState, ShownState};

use super::fields::Cell;
use crate::{
    cli::output::word,
    control::status::{GroupStatus, InterfaceStatus, Status},
    import::Hosts,
};

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

/// `-a`. OUTBOUND names the active interfaces that hold a data address: routes follow the addresses.
pub(super) fn addresses(status: &Status, show: &Addresses) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for group in &status.groups {
        let using = |name: &str| group.interfaces.iter().find(|known| known.name == name).map(usage);
        let carrying: Vec<&str> = group
            .interfaces
            .iter()
            .filter(|known| {
                usage(known) == Use::Active && group.addresses.iter().any(|data| data.on == known.name)
            })
            .map(|known| known.name.as_str())
            .collect();
        for data in &group.addresses {
            let present = group
                .interfaces
                .iter()
                .any(|known| known.name == data.on && known.state != ShownState::Absent);
            let inbound = if using(&data.on) == Some(Use::Active) { data.on.as_str() } else { "" };
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
            && !group.addresses.iter().any(|data| data.on == interface.name));
    let flag = |set: bool, letter: char| if set { letter } else { '-' };
    let flags = [flag(inactive, 'i'), flag(interface.standby, 's'), '-', '-', '-', flag(down, 'd'), '-'];
    flags.iter().collect()
}

/// `-t`: a row for each family that is probed; one row if none is.
pub(super) fn targets(status: &Status, show: &Addresses) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for interface in status.groups.iter().flat_map(|group| &group.interfaces) {
        let before = rows.len();
        for ipv6 in [false, true] {
            let sources = interface.device.iter().flat_map(|device| &device.test);
            let probed = interface.targets.iter().filter(|target| target.source.is_ipv6() == ipv6);
            let source =
                probed.clone().map(|target| &target.source).chain(sources).find(|ip| ip.is_ipv6() == ipv6);
            let Some(source) = source.filter(|_| interface.probe != ProbeState::Disabled) else { continue };
            let targets: Vec<String> = probed.map(|target| show.show(target.address)).collect();
            rows.push(vec![
                Cell::value(&interface.name),
                // Without any, in.mpathd would ask the link's multicast address.
                Cell::value(if targets.is_empty() { "multicast" } else { "routes" }),
                Cell::value(show.show(*source)),
                Cell::value(targets.join(" ")),
            ]);
        }
        if rows.len() == before {
            let mode =
                if interface.probe == ProbeState::Disabled { Cell::value("disabled") } else { Cell::Unknown };
            rows.push(vec![Cell::value(&interface.name), mode, Cell::value(""), Cell::value("")]);
        }
    }
    rows
}
