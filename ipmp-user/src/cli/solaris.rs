//! `ipmp status --solaris`: interfaces as Solaris 10's ifconfig(1M) showed them.
//!
//! Kept: the flag words and their values, logical interfaces, the group's name. Left out: the null addresses that
//! Solaris put on an interface without data address (here `-`) and its MTU 0, which Linux does not have.

#[cfg(test)]
mod tests;

use std::{fmt::Write as _, net::IpAddr};

use ipmp_common::engine::snapshot::ShownState;
use ipnet::IpNet;

use crate::control::status::{DeviceInfo, GroupStatus, InterfaceStatus, Link, Status};

/// `IFF_*` of Solaris's <net/if.h>, in the order in which ifconfig prints them.
const UP: (u64, &str) = (0x1, "UP");
const BROADCAST: (u64, &str) = (0x2, "BROADCAST");
const RUNNING: (u64, &str) = (0x40, "RUNNING");
const MULTICAST: (u64, &str) = (0x800, "MULTICAST");
const DEPRECATED: (u64, &str) = (0x4_0000, "DEPRECATED");
const IPV4: (u64, &str) = (0x100_0000, "IPv4");
const IPV6: (u64, &str) = (0x200_0000, "IPv6");
const NOFAILOVER: (u64, &str) = (0x800_0000, "NOFAILOVER");
const FAILED: (u64, &str) = (0x1000_0000, "FAILED");
const STANDBY: (u64, &str) = (0x2000_0000, "STANDBY");
const INACTIVE: (u64, &str) = (0x4000_0000, "INACTIVE");
const OFFLINE: (u64, &str) = (0x8000_0000, "OFFLINE");
const ALL: [(u64, &str); 12] = [
    UP, BROADCAST, RUNNING, MULTICAST, DEPRECATED, IPV4, IPV6, NOFAILOVER, FAILED, STANDBY, INACTIVE, OFFLINE,
];

/// What stands on a logical interface.
#[derive(Clone, Copy)]
enum Holds {
    Data(IpNet),
    Test(IpAddr),
    /// The data address is elsewhere, or there never was one.
    Nothing,
}

/// All interfaces that exist, as `ifconfig -a`.
pub(super) fn text(status: &Status) -> String {
    let mut text = String::new();
    for group in &status.groups {
        for interface in group.interfaces.iter().filter(|known| known.state != ShownState::Absent) {
            for ipv6 in [false, true] {
                family(group, interface, ipv6, &mut text);
            }
        }
    }
    text
}

/// The logical interfaces of a family: addresses at home here, test addresses, then those of other interfaces.
fn family(group: &GroupStatus, interface: &InterfaceStatus, ipv6: bool, text: &mut String) {
    let of_family = |ip: IpAddr| ip.is_ipv6() == ipv6;
    let data = || group.addresses.iter().filter(|data| of_family(data.address.addr()));
    let here = |home: bool| {
        data()
            .filter(move |data| {
                data.on.as_ref() == Some(&interface.name) && (data.home == interface.name) == home
            })
            .map(|data| Holds::Data(data.address))
    };
    let probing =
        interface.device.iter().flat_map(|device| &device.test).filter(|test| of_family(test.address));
    let has_home = data().any(|data| data.home == interface.name);
    let mut logicals: Vec<Holds> = here(true).collect();
    // The first logical interface is kept for a data address that is away.
    if logicals.is_empty() && has_home {
        logicals.push(Holds::Nothing);
    }
    logicals.extend(probing.map(|test| Holds::Test(test.address)));
    logicals.extend(here(false));
    if logicals.is_empty() && !ipv6 {
        logicals.push(Holds::Nothing);
    }
    for (number, holds) in logicals.into_iter().enumerate() {
        logical(group, interface, number, holds, ipv6, text);
    }
}

fn logical(
    group: &GroupStatus,
    interface: &InterfaceStatus,
    number: usize,
    holds: Holds,
    ipv6: bool,
    text: &mut String,
) {
    let name = if number == 0 { interface.name.clone() } else { format!("{}:{number}", interface.name) };
    let flags = flags(interface, number == 0, holds, ipv6);
    let words: Vec<&str> = ALL.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word).collect();
    let mtu = interface.device.as_ref().map_or_else(|| "-".to_owned(), |device| device.mtu.to_string());
    // Writing to a String cannot fail.
    let _ =
        writeln!(text, "{name}: flags={flags:x}<{}> mtu {mtu} index {}", words.join(","), interface.ifindex);
    let _ = writeln!(text, "\t{}", address(holds, ipv6));
    if number == 0 {
        if !group.name.is_empty() {
            let _ = writeln!(text, "\tgroupname {}", group.name);
        }
        if let Some(mac) = interface.device.as_ref().and_then(ether) {
            let _ = writeln!(text, "\tether {mac}");
        }
    }
}

/// As on Solaris, the state of the interface shows only on its first logical one.
fn flags(interface: &InterfaceStatus, first: bool, holds: Holds, ipv6: bool) -> u64 {
    let (failed, offline) = (interface.state == ShownState::Failed, interface.state == ShownState::Offline);
    let inactive = !interface.active && !failed && !offline;
    let idle = matches!(holds, Holds::Nothing) && (failed || offline || inactive);
    let set = [
        (UP, !idle),
        (BROADCAST, !ipv6),
        (RUNNING, interface.link != Link::Down),
        (MULTICAST, true),
        (DEPRECATED, matches!(holds, Holds::Test(_))),
        (IPV4, !ipv6),
        (IPV6, ipv6),
        (NOFAILOVER, idle || matches!(holds, Holds::Test(_))),
        (FAILED, first && failed),
        (STANDBY, first && interface.standby),
        (INACTIVE, first && inactive),
        (OFFLINE, first && offline),
    ];
    set.iter().filter(|(_, set)| *set).fold(0, |flags, ((bit, _), _)| flags | bit)
}

fn address(holds: Holds, ipv6: bool) -> String {
    match holds {
        Holds::Data(IpNet::V4(net)) => {
            let mask = u32::from(net.netmask());
            format!("inet {} netmask {mask:x} broadcast {}", net.addr(), net.broadcast())
        }
        Holds::Data(IpNet::V6(net)) => format!("inet6 {net}"),
        Holds::Test(IpAddr::V4(ip)) => format!("inet {ip} netmask ffffffff"),
        Holds::Test(IpAddr::V6(ip)) => format!("inet6 {ip}"),
        Holds::Nothing if ipv6 => "inet6 -".to_owned(),
        Holds::Nothing => "inet -".to_owned(),
    }
}

/// Without leading zeros, as Solaris.
fn ether(device: &DeviceInfo) -> Option<String> {
    let mac = device.mac.as_deref()?;
    let short =
        |byte: &str| byte.strip_prefix('0').filter(|rest| !rest.is_empty()).unwrap_or(byte).to_owned();
    Some(mac.split(':').map(short).collect::<Vec<_>>().join(":"))
}
