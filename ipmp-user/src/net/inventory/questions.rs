//! Questions about the present.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipmp_common::engine::ids::Family;
use ipnet::IpNet;
use rtnetlink::packet_route::{neighbour::NeighbourState, route::RouteProtocol};

use super::{Inventory, Link, Neighbour};
use crate::net::{
    address::Address,
    route::{Hop, Route},
};

impl Inventory {
    /// The interface with this number.
    pub fn link(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    /// The interface with this name.
    pub fn link_by_name(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// What takes all frames of an interface away from its addresses: the bridge, bond or team that it is a port of. A VRF
    /// does not.
    pub fn swallower(&self, link: &Link) -> Option<&Link> {
        const KINDS: [&str; 4] = ["bridge", "bond", "team", "openvswitch"];
        let master = self.link(link.master?)?;
        master.kind.as_deref().is_some_and(|kind| KINDS.contains(&kind)).then_some(master)
    }

    /// Addresses of an interface. Their order is the kernel's after a dump, that of arrival after a notification.
    pub fn addresses(&self, ifindex: u32) -> &[Address] {
        self.addresses.get(&ifindex).map_or(&[], Vec::as_slice)
    }

    /// An address of an interface.
    pub fn address(&self, ifindex: u32, ip: IpAddr) -> Option<&Address> {
        self.addresses(ifindex).iter().find(|address| address.ip() == ip)
    }

    /// Which interfaces each address is on.
    pub fn hosts(&self) -> BTreeSet<(IpAddr, u32)> {
        self.addresses.values().flatten().map(|address| (address.ip(), address.ifindex())).collect()
    }

    /// Every address of this host.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.values().flatten().map(Address::ip)
    }

    /// Whether somebody keeps an address alive: it has an end, and it is a router's, or a route that DHCP made names it as its
    /// source. An address with an end that bears neither mark may be an administrator's.
    pub fn is_renewed(&self, address: &Address) -> bool {
        let by_dhcp = || {
            let mut routes = self.routes.values().flatten();
            routes.any(|r| r.protocol() == RouteProtocol::Dhcp && r.prefsrc() == Some(address.ip()))
        };
        !address.is_permanent() && (address.is_autoconfigured() || by_dhcp())
    }

    /// Whether a route is the connected one of an IPv6 address with an end, and of no router's: the kernel gives it that end,
    /// but leaves it behind when the address goes earlier (`ipv6_del_addr` in net/ipv6/addrconf.c).
    pub(super) fn came_with_an_address(&self, route: &Route) -> bool {
        if !route.ends() || route.protocol() != RouteProtocol::Kernel || route.family() != Family::V6 {
            return false;
        }
        let [Hop { oif, gateway: None, .. }] = *route.hops() else { return false };
        let of_prefix = || self.addresses(oif).iter().filter(|a| a.net().trunc() == route.key().dst);
        of_prefix().any(|address| !address.is_permanent() && address.has_prefix_route())
            && !of_prefix().any(Address::is_autoconfigured)
    }

    /// Whether an address is this host's.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        self.own_addresses().any(|own| own == ip)
    }

    /// The address a member may probe from: IPv4, the first configured test address that is there; IPv6, a
    /// configured one, else the link-local address. Never a tentative or duplicate one.
    pub fn probe_source(&self, ifindex: u32, family: Family, configured: &[IpAddr]) -> Option<IpAddr> {
        let there = |ip: &IpAddr| self.addresses(ifindex).iter().any(|a| a.ip() == *ip && a.is_usable());
        let chosen = configured.iter().copied().find(|ip| Family::of(*ip) == family && there(ip));
        match family {
            Family::V4 => chosen,
            Family::V6 => chosen.or_else(|| {
                let link_local = |a: &&Address| a.is_link_local_v6() && a.is_permanent() && a.is_usable();
                self.addresses(ifindex).iter().find(link_local).map(Address::ip)
            }),
        }
    }

    /// Neighbours of any of these interfaces whose hardware address is good, own addresses left out. IPv6 ones by their
    /// link-local addresses, as in.mpathd does: those are on the link whatever its prefixes are.
    pub fn neighbouring_hosts(&self, ifindexes: &[u32], family: Family) -> Vec<IpAddr> {
        let own: BTreeSet<IpAddr> = self.own_addresses().collect();
        let (mut seen, mut hosts) = (BTreeSet::new(), Vec::new());
        let ifindexes: BTreeSet<u32> = ifindexes.iter().copied().collect();
        for ((_, ip), neighbour) in ifindexes.into_iter().flat_map(|ifindex| self.neighbours_on(ifindex)) {
            let fits = match ip {
                IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
                IpAddr::V6(ip) => ip.is_unicast_link_local(),
            };
            // Entries that need no resolution (NOARP) are made by the kernel itself.
            let resolved = neighbour.is_valid() && neighbour.state != NeighbourState::Noarp;
            if fits
                && resolved
                && neighbour.mac.is_some()
                && Family::of(ip) == family
                && !own.contains(&ip)
                && seen.insert(ip)
            {
                hosts.push(ip);
            }
        }
        hosts
    }

    /// What is known of the neighbours on an interface.
    pub fn neighbours_on(&self, ifindex: u32) -> impl Iterator<Item = ((u32, IpAddr), Neighbour)> + '_ {
        let first = (ifindex, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let last = (ifindex, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)));
        self.neighbours.range(first..=last).map(|(place, neighbour)| (*place, *neighbour))
    }

    /// What is known of a neighbour.
    pub fn neighbour(&self, ifindex: u32, ip: IpAddr) -> Option<&Neighbour> {
        self.neighbours.get(&(ifindex, ip))
    }

    /// Static global addresses of an interface that are not among `test`: what a member without a configured list
    /// adopts as its data addresses.
    pub fn adoptable(&self, ifindex: u32, test: &[IpAddr]) -> Vec<IpNet> {
        // RT_SCOPE_UNIVERSE: link- and host-scoped addresses mean nothing on another interface.
        self.addresses(ifindex)
            .iter()
            .filter(|a| a.is_permanent() && a.scope() == 0 && !a.is_link_local_v6())
            .filter(|a| !test.contains(&a.ip()))
            .map(Address::net)
            .collect()
    }
}
