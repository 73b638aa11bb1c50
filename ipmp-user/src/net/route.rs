//! One route, in a canonical form that can be compared with what the kernel says and sent back unchanged.

use std::net::IpAddr;

use ipmp_common::engine::ids::Family;
use ipnet::IpNet;
use rtnetlink::{
    packet_core::{Emitable, Nla, Parseable},
    packet_route::{
        AddressFamily,
        route::{
            RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags,
            RouteProtocol, RouteType,
        },
    },
};

mod companion;
mod message;

use self::message::{address, gateway, is_dynamic, key, multipath, set_hops};

/// `RT_TABLE_LOCAL`: kept by the kernel itself. Of its content only the order of broadcast entries is restored.
pub const TABLE_LOCAL: u32 = 255;

/// What makes routes rivals: the kernel keeps those with the same key in a list and uses the first that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    /// Routing table.
    pub table: u32,
    /// Destination.
    pub dst: IpNet,
    /// Source prefix (IPv6 source-specific routing).
    pub src: Option<IpNet>,
    /// Type of service.
    pub tos: u8,
    /// Metric; lower wins.
    pub priority: u32,
}

/// One next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Interface, 0 if none (blackhole).
    pub oif: u32,
    /// Next router; none if the destination is on link. May be of the other family (`RTA_VIA`).
    pub gateway: Option<IpAddr>,
    /// Share among the hops, from 1.
    pub weight: u16,
    /// Whether the gateway is taken to be on link although no route says so.
    pub onlink: bool,
}

/// A route. IPv4 multipath routes are one object with several hops; IPv6 ones are taken apart into their hops,
/// which is how the kernel keeps them (`fib6_siblings`) and how they can be changed one by one.
#[derive(Clone, Debug)]
pub struct Route {
    message: RouteMessage,
    key: RouteKey,
    identity: Vec<u8>,
    dynamic: bool,
    /// Where its nexthop object led when it was read; no part of the route.
    resolved: Vec<Hop>,
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Route {}

impl Route {
    /// Takes a kernel message apart. Cached and undecodable routes give nothing.
    pub fn from_message(message: RouteMessage) -> Vec<Self> {
        if message.header.flags.contains(RouteFlags::Cloned) {
            return Vec::new();
        }
        let v6 = message.header.address_family == AddressFamily::Inet6;
        let hops = message.attributes.iter().find_map(multipath).map(<[RouteNextHop]>::to_vec);
        let by_object = message.attributes.iter().any(|a| matches!(a, RouteAttribute::NhId(_)));
        let Some(hops) = hops.filter(|_| v6 && !by_object) else {
            return Self::canonical(message).into_iter().collect();
        };
        hops.into_iter()
            .filter_map(|hop| {
                let mut single = message.clone();
                set_hops(&mut single, vec![hop]);
                Self::canonical(single)
            })
            .collect()
    }

    fn canonical(mut message: RouteMessage) -> Option<Self> {
        let dynamic = is_dynamic(&message);
        let resolved = without_object_hops(&mut message);
        // Link-down, dead and offload flags are findings of the moment; a request that carries the first two is
        // refused (fib_create_info in net/ipv4/fib_semantics.c).
        message.header.flags &= RouteFlags::Onlink;
        let hops = message.attributes.iter().find_map(multipath).map(<[RouteNextHop]>::to_vec);
        if let Some(hops) = hops {
            set_hops(&mut message, hops);
        }
        message.attributes.retain(|a| !matches!(a, RouteAttribute::CacheInfo(_) | RouteAttribute::Uid(_)));
        message.attributes.sort_by_key(Nla::kind);
        let key = key(&message)?;
        let identity = identity(&message, &key);
        Some(Self { message, key, identity, dynamic, resolved })
    }

    /// A default route by this hop.
    pub fn default_by(hop: &Hop, v6: bool) -> Option<Self> {
        let mut message = RouteMessage::default();
        message.header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Oif(hop.oif));
        message.attributes.extend(hop.gateway.map(|ip| RouteAttribute::Gateway(ip.into())));
        Self::canonical(message)
    }

    /// Reads back what [`Self::to_bytes`] gave; none if it is no route.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        RouteMessage::parse(bytes).ok().and_then(Self::canonical)
    }

    /// The canonical message as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        emit(&self.message)
    }

    /// Equal exactly if the routes are.
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// The message to send.
    pub fn request(&self) -> RouteMessage {
        self.message.clone()
    }

    /// The message that deletes it. A protocol in it must match (`ip6_route_del`), and that of an IPv6 hop is not known.
    pub fn deletion(&self) -> RouteMessage {
        let mut message = self.message.clone();
        if self.family() == Family::V6 {
            message.header.protocol = RouteProtocol::Unspec;
        }
        message
    }

    /// What it competes under.
    pub const fn key(&self) -> RouteKey {
        self.key
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.key.dst.addr())
    }

    /// Who made it.
    pub const fn protocol(&self) -> RouteProtocol {
        self.message.header.protocol
    }

    /// Preferred source address, if set.
    pub fn prefsrc(&self) -> Option<IpAddr> {
        self.find(|a| if let RouteAttribute::PrefSource(ip) = a { address(ip) } else { None })
    }

    /// Nexthop object it refers to, if any.
    pub fn nexthop_id(&self) -> Option<u32> {
        self.find(|a| if let RouteAttribute::NhId(id) = a { Some(*id) } else { None })
    }

    /// Its hops; empty for a route to nowhere.
    pub fn hops(&self) -> Vec<Hop> {
        if let Some(hops) = self.message.attributes.iter().find_map(multipath) {
            return hops
                .iter()
                .map(|hop| Hop {
                    oif: hop.interface_index,
                    gateway: gateway(&hop.attributes),
                    weight: u16::from(hop.hops) + 1,
                    onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
                })
                .collect();
        }
        let oif = self.find(|a| if let RouteAttribute::Oif(oif) = a { Some(*oif) } else { None });
        oif.map(|oif| Hop {
            oif,
            gateway: gateway(&self.message.attributes),
            weight: 1,
            onlink: self.message.header.flags.contains(RouteFlags::Onlink),
        })
        .into_iter()
        .collect()
    }

    /// Its hops, or those of its nexthop object when it was read.
    pub fn resolved_hops(&self) -> Vec<Hop> {
        if self.resolved.is_empty() { self.hops() } else { self.resolved.clone() }
    }

    /// Whether it is an entry that the kernel made for the broadcast address of a subnet (`fib_add_ifaddr` in
    /// `net/ipv4/fib_frontend.c`).
    pub fn is_broadcast(&self) -> bool {
        self.key.table == TABLE_LOCAL && matches!(self.message.header.kind, RouteType::Broadcast)
    }

    /// Whether a lookup that finds it goes on with the next rule (`RTN_THROW`).
    pub fn is_throw(&self) -> bool {
        matches!(self.message.header.kind, RouteType::Throw)
    }

    /// Whether a hop leaves by this interface.
    pub fn uses(&self, ifindex: u32) -> bool {
        self.resolved_hops().iter().any(|hop| hop.oif == ifindex)
    }

    /// Whether somebody else renews it, or it is not an object of its own: router advertisements, DHCP, routes
    /// with a lifetime, link-local and multicast, the local table. Never moved.
    pub fn is_left_alone(&self) -> bool {
        let dst = self.key.dst;
        let reserved = match dst {
            IpNet::V4(_) => false,
            IpNet::V6(net) => {
                (net.prefix_len() >= 10 && net.addr().is_unicast_link_local())
                    || (net.prefix_len() >= 8 && net.addr().is_multicast())
            }
        };
        reserved
            || self.dynamic
            || self.key.table == TABLE_LOCAL
            || matches!(
                self.protocol(),
                RouteProtocol::Ra | RouteProtocol::Dhcp | RouteProtocol::IcmpRedirect
            )
            || !matches!(self.message.header.kind, RouteType::Unicast)
    }

    /// The route with another preferred source address, or none.
    #[must_use]
    pub fn sourced(&self, source: Option<IpAddr>) -> Self {
        let mut message = self.message.clone();
        message.attributes.retain(|a| !matches!(a, RouteAttribute::PrefSource(_)));
        message.attributes.extend(source.map(|ip| RouteAttribute::PrefSource(ip.into())));
        Self::canonical(message).map_or_else(|| self.clone(), |route| Self { dynamic: self.dynamic, ..route })
    }

    /// Whether it has an end of its own.
    pub(super) const fn ends(&self) -> bool {
        self.dynamic
    }

    /// The same route as one without an end of its own: it has that of the address it came with.
    #[must_use]
    pub(super) fn without_end(self) -> Self {
        Self { dynamic: false, ..self }
    }

    /// The route with every interface replaced; hops that become equal are merged.
    #[must_use]
    pub fn rerouted(&self, mut to: impl FnMut(&Hop) -> u32) -> Self {
        let targets: Vec<u32> = self.hops().iter().map(&mut to).collect();
        let mut message = self.message.clone();
        if let Some(hops) = message.attributes.iter().find_map(multipath).map(<[RouteNextHop]>::to_vec) {
            let mut merged: Vec<RouteNextHop> = Vec::with_capacity(hops.len());
            for (mut hop, oif) in hops.into_iter().zip(targets) {
                hop.interface_index = oif;
                let same = |h: &&mut RouteNextHop| h.interface_index == oif && h.attributes == hop.attributes;
                if merged.iter_mut().find(same).is_none() {
                    merged.push(hop);
                }
            }
            set_hops(&mut message, merged);
        } else {
            for attribute in &mut message.attributes {
                if let (RouteAttribute::Oif(oif), Some(target)) = (attribute, targets.first()) {
                    *oif = *target;
                }
            }
        }
        Self::canonical(message).map_or_else(|| self.clone(), |route| Self { dynamic: self.dynamic, ..route })
    }

    /// Whether the kernel would call `other` a duplicate. IPv6 compares interface and gateway only
    /// (`rt6_duplicate_nexthop`), IPv4 everything (`fib_find_info`).
    pub fn clashes(&self, other: &Self) -> bool {
        match self.family() {
            Family::V4 => self == other,
            Family::V6 => {
                let hop = |r: &Self| (r.nexthop_id(), r.hops().first().map(|h| (h.oif, h.gateway)));
                self.key == other.key && hop(self) == hop(other)
            }
        }
    }

    fn find<T>(&self, f: impl FnMut(&RouteAttribute) -> Option<T>) -> Option<T> {
        self.message.attributes.iter().find_map(f)
    }
}

impl std::fmt::Display for Route {
    /// As `ip route` would print its essentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.key.dst)?;
        if let Some(id) = self.nexthop_id() {
            write!(f, " nhid {id}")?;
        }
        for hop in self.hops() {
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            write!(f, " ifindex {}", hop.oif)?;
        }
        write!(f, " table {} metric {}", self.key.table, self.key.priority)?;
        self.prefsrc().map_or(Ok(()), |src| write!(f, " src {src}"))
    }
}

/// A route by a nexthop object is shown with that object's hops, and refused with them. Takes them off and returns them.
fn without_object_hops(message: &mut RouteMessage) -> Vec<Hop> {
    if !message.attributes.iter().any(|a| matches!(a, RouteAttribute::NhId(_))) {
        return Vec::new();
    }
    let mut shown = message.clone();
    shown.attributes.retain(|a| !matches!(a, RouteAttribute::NhId(_)));
    message.header.flags = RouteFlags::empty();
    message.attributes.retain(|a| {
        !matches!(
            a,
            RouteAttribute::Oif(_)
                | RouteAttribute::Gateway(_)
                | RouteAttribute::Via(_)
                | RouteAttribute::MultiPath(_)
        )
    });
    Route::canonical(shown).map_or_else(Vec::new, |shown| shown.hops())
}

fn emit(message: &RouteMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// Of an IPv6 multipath route the kernel shows only the first hop's protocol, so the protocol of a hop changes with its
/// neighbours and says nothing.
fn identity(message: &RouteMessage, key: &RouteKey) -> Vec<u8> {
    let mut copy = message.clone();
    if key.dst.addr().is_ipv6() && gateway(&message.attributes).is_some() {
        copy.header.protocol = RouteProtocol::Unspec;
    }
    emit(&copy)
}

#[cfg(test)]
mod tests;
