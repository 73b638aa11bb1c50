//! One link: its modes, its counters, and whose it is.

use std::io;

use rtnetlink::{
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp, Stats64},
    },
    sys::protocols::NETLINK_ROUTE,
};
use serde::{Deserialize, Serialize};

use super::{
    ethtool::{Ethtool, Modes},
    netlink::Asker,
};

/// Frames and errors since the interface exists (`struct rtnl_link_stats64`, `include/uapi/linux/if_link.h`; what each
/// counts, Documentation/networking/statistics.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCounters {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bad frames received, of any kind.
    pub rx_errors: u64,
    /// Of these, with a wrong checksum (FCS).
    pub rx_crc_errors: u64,
    /// Of these, with a broken last byte.
    pub rx_frame_errors: u64,
    /// Frames lost because nobody fetched them from the NIC in time.
    pub rx_missed_errors: u64,
    /// Frames that could not be sent, for any reason.
    pub tx_errors: u64,
    /// Of these, because the carrier went.
    pub tx_carrier_errors: u64,
    /// Of these, because of a collision after the first 512 bits: the sign of a duplex mismatch.
    pub tx_window_errors: u64,
    /// Collisions: half duplex only.
    pub collisions: u64,
    /// How often the carrier was lost.
    pub carrier_losses: u64,
}

/// What is known of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReport {
    /// The interface.
    pub name: String,
    /// Its number.
    pub ifindex: u32,
    /// Its hardware address, as `ip link` writes it; null if it has none.
    pub mac: Option<String>,
    /// Whether frames can pass.
    pub running: bool,
    /// What the driver says of it.
    #[serde(flatten)]
    pub modes: Modes,
    /// Frames and errors.
    pub counters: ErrorCounters,
    /// Identifiers of XDP programs on it, ours included.
    pub xdp_programs: Vec<u32>,
    /// Of what kind it is (`bridge`, `vlan`); null for a NIC.
    pub kind: Option<String>,
    /// The interface that it is a port or slave of.
    pub controller: Option<u32>,
}

/// All links in the network namespace of the calling thread, in the order of their numbers. The driver is asked about
/// those that `wanted` names.
///
/// # Errors
/// When the kernel does not tell of its links. What a driver does not tell is left open.
pub fn read(wanted: impl Fn(&str) -> bool) -> io::Result<Vec<LinkReport>> {
    let mut asker = Asker::open(NETLINK_ROUTE)?;
    let dumped = asker.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let mut links: Vec<LinkReport> = dumped.iter().filter_map(report).collect();
    links.sort_by_key(|link| link.ifindex);
    // A kernel older than 5.6 has no such interface: then nothing is known of modes.
    if let Ok(mut ethtool) = Ethtool::open() {
        for link in links.iter_mut().filter(|link| wanted(&link.name)) {
            link.modes = ethtool.modes(link.ifindex).unwrap_or_default();
        }
    }
    Ok(links)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
fn report(message: &RouteNetlinkMessage) -> Option<LinkReport> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let running = message.header.flags.contains(LinkFlags::Running | LinkFlags::LowerUp);
    let mut link = LinkReport { ifindex: message.header.index, running, ..LinkReport::default() };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => {
                let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                link.mac = (!bytes.is_empty()).then(|| bytes.join(":"));
            }
            LinkAttribute::Stats64(stats) => {
                let carrier_losses = link.counters.carrier_losses;
                link.counters = ErrorCounters { carrier_losses, ..counters(stats) };
            }
            LinkAttribute::CarrierDownCount(count) => link.counters.carrier_losses = u64::from(*count),
            LinkAttribute::Xdp(attached) => link.xdp_programs = programs(attached),
            LinkAttribute::Controller(ifindex) => link.controller = Some(*ifindex),
            LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind),
            _ => {}
        }
    }
    Some(link)
}

fn kind(info: &rtnetlink::packet_route::link::LinkInfo) -> Option<String> {
    use rtnetlink::packet_route::link::{InfoKind, LinkInfo};
    if let LinkInfo::Kind(kind) = info { Some(InfoKind::to_string(kind)) } else { None }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
fn programs(attached: &[LinkXdp]) -> Vec<u32> {
    let mut programs: Vec<u32> = attached
        .iter()
        .filter_map(|attribute| match attribute {
            LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
                Some(*id)
            }
            _ => None,
        })
        .collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}

fn counters(stats: &Stats64) -> ErrorCounters {
    ErrorCounters {
        rx_packets: stats.rx_packets,
        tx_packets: stats.tx_packets,
        rx_errors: stats.rx_errors,
        rx_crc_errors: stats.rx_crc_errors,
        rx_frame_errors: stats.rx_frame_errors,
        rx_missed_errors: stats.rx_missed_errors,
        tx_errors: stats.tx_errors,
        tx_carrier_errors: stats.tx_carrier_errors,
        tx_window_errors: stats.tx_window_errors,
        collisions: stats.collisions,
        carrier_losses: 0,
    }
}
