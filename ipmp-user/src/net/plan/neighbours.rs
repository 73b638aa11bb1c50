//! Hardware addresses that move along, so that traffic does not wait for a resolution on its new interface.
//!
//! All members of a group are on one link, so what one of them knows of a neighbour holds for the others. An entry being
//! resolved holds packets back, up to a second if an answer was lost while the interface was failed (`neigh_timer_handler`
//! in net/core/neighbour.c); an entry given in state stale is used at once and verified meanwhile (RFC 4861 section
//! 7.3.3).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::{Op, Wanted};
use crate::net::{
    address::{destination, family},
    inventory::Neighbour,
    route::Hop,
};

/// Entries that one move copies, and as many that it deletes, at most. The kernel starts to evict entries at 512 in a
/// table (`gc_thresh2` in arp(7)), for all interfaces together.
pub const NEIGHBOURS_MAX: usize = 256;

/// What the members know of their neighbours.
pub type Neighbours = BTreeMap<(u32, IpAddr), Neighbour>;

/// A neighbour on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourEntry {
    /// The interface.
    pub ifindex: u32,
    /// The neighbour.
    pub ip: IpAddr,
    /// Its hardware address; none when it is to be deleted.
    pub mac: Option<[u8; 6]>,
    /// Whether it is a router (`NTF_ROUTER`).
    pub router: bool,
}

impl NeighbourEntry {
    /// The message to add or delete it.
    pub fn request(&self) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = family(self.ip);
        message.header.ifindex = self.ifindex;
        message.header.state = NeighbourState::Stale;
        if self.router {
            message.header.flags = NeighbourFlags::Router;
        }
        message.attributes.push(destination(self.ip));
        message.attributes.extend(self.mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.to_vec())));
        message
    }
}

/// A move as far as neighbours are concerned.
#[derive(Debug)]
pub struct Moving<'a> {
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// What the members knew when the placement was ordered.
    pub known: &'a Neighbours,
    /// Addresses that change their interface: the old one where there is one, the new one, the address.
    pub moved: &'a [(Option<u32>, u32, IpNet)],
    /// The routes that go with them.
    pub routes: &'a [Op],
}

impl Moving<'_> {
    /// Entries that the traffic will need on its new interface: gateways first, then the neighbours in the subnets that
    /// moved. An entry that is good already stays as it is.
    pub fn copies(&self) -> Vec<Op> {
        let mut places: BTreeSet<(u32, IpAddr)> = BTreeSet::new();
        let mut ops = Vec::new();
        let gateways = self.added_hops().filter_map(|(hop, _)| Some((hop.oif, hop.gateway?)));
        for (on, ip) in gateways.chain(self.in_moved_subnets()) {
            if ops.len() == NEIGHBOURS_MAX {
                break;
            }
            if places.insert((on, ip)) {
                ops.extend(self.copy(on, ip));
            }
        }
        ops
    }

    /// Entries of failed members for traffic that has left them. When it comes back they could be out of date, and would
    /// mislead until the kernel gives them up. What somebody keeps up (our probe targets) or has set stays.
    pub fn deletions(&self) -> Vec<Op> {
        let failed: BTreeSet<u32> =
            self.wanted.unusable.iter().filter_map(|member| self.wanted.ifindex(*member)).collect();
        let left: Vec<(u32, IpNet)> =
            self.moved.iter().filter_map(|(from, _, net)| Some(((*from)?, net.trunc()))).collect();
        let left: BTreeSet<(u32, IpNet)> =
            left.into_iter().filter(|(from, _)| failed.contains(from)).collect();
        let misleads =
            |ifindex: u32, ip: IpAddr| left.iter().any(|(from, net)| *from == ifindex && net.contains(&ip));
        let entries = self.known.iter().filter(|((ifindex, ip), neighbour)| {
            neighbour.state != NeighbourState::None
                && neighbour.state != NeighbourState::Permanent
                && neighbour.state != NeighbourState::Noarp
                && !neighbour.kept
                && misleads(*ifindex, *ip)
        });
        let delete = |(ifindex, ip): (u32, IpAddr)| {
            Op::DelNeighbour(NeighbourEntry { ifindex, ip, mac: None, router: false })
        };
        entries.map(|(place, _)| delete(*place)).take(NEIGHBOURS_MAX).collect()
    }

    /// Hops of routes that are added, and where the route leads.
    fn added_hops(&self) -> impl Iterator<Item = (Hop, IpNet)> + '_ {
        let added = self.routes.iter().filter_map(|op| match op {
            Op::AddRoute(route) | Op::ReplaceRoute { new: route, .. } => Some(route),
            Op::AddAddress(_)
            | Op::SetAddress(_)
            | Op::DelAddress(_)
            | Op::DelRoute(_)
            | Op::SetNexthop(_)
            | Op::AddNeighbour(_)
            | Op::DelNeighbour(_) => None,
        });
        added.flat_map(|route| route.hops().into_iter().map(|hop| (hop, route.key().dst)))
    }

    /// Everything that any member knows in the subnets of the addresses and connected routes that move.
    fn in_moved_subnets(&self) -> impl Iterator<Item = (u32, IpAddr)> + '_ {
        let connected = self
            .added_hops()
            .filter(|(hop, dst)| {
                hop.gateway.is_none() && dst.prefix_len() > 0 && dst.prefix_len() < dst.max_prefix_len()
            })
            .map(|(hop, dst)| (hop.oif, dst));
        let subnets: BTreeSet<(u32, IpNet)> =
            self.moved.iter().map(|(_, on, net)| (*on, net.trunc())).chain(connected).collect();
        let known: BTreeSet<IpAddr> = self.known.keys().map(|(_, ip)| *ip).collect();
        subnets.into_iter().flat_map(move |(on, net)| {
            let inside: Vec<IpAddr> = known.iter().copied().filter(|ip| net.contains(ip)).collect();
            inside.into_iter().map(move |ip| (on, ip))
        })
    }

    /// From the interface that carried the traffic, else from another member of the group.
    fn copy(&self, on: u32, ip: IpAddr) -> Option<Op> {
        if self.known.get(&(on, ip)).is_some_and(Neighbour::is_valid) {
            return None;
        }
        let group = self.wanted.members.iter().find(|member| member.ifindex == on)?.group;
        let carried = self.moved.iter().filter(|(_, to, _)| *to == on).filter_map(|(from, _, _)| *from);
        let siblings = self.wanted.members.iter().filter(|m| m.group == group).map(|m| m.ifindex);
        let good = |from: u32| {
            // An entry without resolution (broadcast, multicast) is the kernel's to make.
            let usable = |n: &&Neighbour| n.is_valid() && n.state != NeighbourState::Noarp;
            let neighbour = self.known.get(&(from, ip)).filter(usable)?;
            Some((neighbour.mac?, neighbour.router))
        };
        let (mac, router) = carried.take(1).chain(siblings).filter(|from| *from != on).find_map(good)?;
        Some(Op::AddNeighbour(NeighbourEntry { ifindex: on, ip, mac: Some(mac), router }))
    }
}

#[cfg(test)]
mod tests;
