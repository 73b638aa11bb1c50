//! Reading and rearranging `RTM_NEWROUTE` messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::{
    packet_core::Nla,
    packet_route::{
        AddressFamily,
        route::{
            RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteVia,
        },
    },
};

use super::RouteKey;

pub(super) fn multipath(attribute: &RouteAttribute) -> Option<&[RouteNextHop]> {
    if let RouteAttribute::MultiPath(hops) = attribute { Some(hops) } else { None }
}

/// Puts hops into a message the way the kernel shows them: one hop of weight 1 as attributes of the route itself,
/// anything else as `RTA_MULTIPATH`.
pub(super) fn set_hops(message: &mut RouteMessage, mut hops: Vec<RouteNextHop>) {
    message.attributes.retain(|a| multipath(a).is_none());
    for hop in &mut hops {
        hop.flags &= RouteNextHopFlags::Onlink;
        hop.attributes.sort_by_key(Nla::kind);
    }
    if let [hop] = hops.as_slice()
        && (hop.hops == 0 || message.header.address_family == AddressFamily::Inet)
    {
        message.attributes.push(RouteAttribute::Oif(hop.interface_index));
        message.attributes.extend(hop.attributes.iter().cloned());
        if hop.flags.contains(RouteNextHopFlags::Onlink) {
            message.header.flags |= RouteFlags::Onlink;
        }
    } else {
        message.attributes.push(RouteAttribute::MultiPath(hops));
    }
}

pub(super) fn is_dynamic(message: &RouteMessage) -> bool {
    message.attributes.iter().any(|a| {
        matches!(a, RouteAttribute::Expires(_))
            || matches!(a, RouteAttribute::CacheInfo(info) if info.expires != 0)
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
pub(super) fn key(message: &RouteMessage) -> Option<RouteKey> {
    let header = &message.header;
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut dst = unspecified;
    let mut src = unspecified;
    let mut table = u32::from(header.table);
    let mut priority = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => dst = address(ip)?,
            RouteAttribute::Source(ip) => src = address(ip)?,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(metric) => priority = *metric,
            _ => {}
        }
    }
    let src = (header.source_prefix_length > 0).then(|| IpNet::new(src, header.source_prefix_length).ok());
    Some(RouteKey {
        table,
        dst: IpNet::new(dst, header.destination_prefix_length).ok()?,
        src: src.flatten(),
        tos: header.tos,
        priority,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
pub(super) fn address(ip: &RouteAddress) -> Option<IpAddr> {
    match ip {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
pub(super) fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(ip) => address(ip),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}
