//! `track-interfaces-only-with-groups = false`: interfaces that no group names are watched as IPMP's anonymous group.

use ipmp_common::engine::config::{
    Announcements, Config, DEFAULT_FAILURE_DETECTION_TIME, DEFAULT_QUIET_PERIOD, Damping, GroupConfig,
    InterfaceConfig, MAX_MEMBERS, OnGroupFailure,
};
use rtnetlink::packet_route::link::LinkFlags;

use super::members::bare;
use crate::{
    config::DaemonConfig,
    net::inventory::{Inventory, Link},
};

/// Devices without a wire of their own: their carrier says nothing, or repeats what another one says.
const VIRTUAL: [&str; 17] = [
    "bond",
    "bridge",
    "dummy",
    "geneve",
    "gretap",
    "ifb",
    "ip6gretap",
    "ipvlan",
    "ipvtap",
    "macvlan",
    "macvtap",
    "nlmon",
    "team",
    "tun",
    "vrf",
    "vxlan",
    "wireguard",
];

/// A configuration with the anonymous group, if interfaces in no group are to be watched.
pub(super) fn complete(config: &mut Config, daemon: &DaemonConfig, inventory: &Inventory) {
    if !daemon.track_interfaces_only_with_groups {
        config.groups.extend(group(inventory, config));
    }
}

/// The anonymous group of a host; `None` if every interface is in a group. Asked for again when an interface appears.
pub(super) fn group(inventory: &Inventory, config: &Config) -> Option<GroupConfig> {
    let named: Vec<&str> = config
        .groups
        .iter()
        .flat_map(|group| &group.interfaces)
        .map(|interface| interface.name.as_str())
        .collect();
    let interfaces: Vec<InterfaceConfig> = inventory
        .links
        .values()
        .filter(|link| is_tracked(link) && !named.contains(&link.name.as_str()))
        .take(MAX_MEMBERS)
        .map(|link| bare(&link.name))
        .collect();
    (!interfaces.is_empty()).then(|| GroupConfig {
        name: String::new(),
        failure_detection_time: DEFAULT_FAILURE_DETECTION_TIME,
        failback: true,
        targets: Vec::new(),
        on_group_failure: OnGroupFailure::Keep,
        quiet_period: DEFAULT_QUIET_PERIOD,
        suspicion: false,
        outbound_spreading: false,
        damping: Damping::default(),
        announcements: Announcements::default(),
        interfaces,
    })
}

/// In use, Ethernet-like, with multicast, neither loopback nor point-to-point nor virtual.
fn is_tracked(link: &Link) -> bool {
    link.admin_up()
        && link.mac.is_some()
        && link.flags.contains(LinkFlags::Multicast)
        && !link.flags.intersects(LinkFlags::Loopback | LinkFlags::Pointopoint)
        && !link.kind.as_deref().is_some_and(|kind| VIRTUAL.contains(&kind))
}
