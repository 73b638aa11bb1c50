//! Multicast groups follow the traffic: what programs joined on a member that must not carry any is joined on its stand-in,
//! too, as long as that lasts.
//!
//! A program's own membership stays with the interface that it named (ip(7), `IP_ADD_MEMBERSHIP`), and nobody else can move
//! it. But the interface that takes over hears a group as soon as anybody has joined it there, and tells switches and routers
//! (IGMP, MLD); the program gets what comes in, for by default a socket does whatever interface a group was joined on
//! (`IP_MULTICAST_ALL`; `ip_mc_sf_allow` in net/ipv4/igmp.c, `inet6_mc_check` in net/ipv6/mcast.c).
//!
//! Each membership is a socket without a port, which receives nothing. They end with the daemon; the next one joins anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

use super::{apply::Failure, plan::Wanted};

/// Each takes a descriptor. A host that is in more groups is a multicast router, whose daemon knows of interfaces.
const MAX_HELD: usize = 256;
/// Of the network namespace of the calling thread.
const TABLES: [&str; 2] = ["/proc/thread-self/net/igmp", "/proc/thread-self/net/igmp6"];
/// Bytes that most of them fit in.
const TABLE_ROOM: usize = 16 << 10;

/// Which groups are joined by which interface.
type Joined = BTreeSet<(u32, IpAddr)>;

/// Those that are held for others.
#[derive(Debug, Default)]
pub struct Memberships {
    held: BTreeMap<(u32, IpAddr), Socket>,
}

impl Memberships {
    /// Joins and leaves what the state that is wanted asks for; returns what the kernel refused.
    pub fn follow(&mut self, wanted: &Wanted) -> Vec<Failure> {
        let pairs = stand_ins(wanted);
        if pairs.is_empty() {
            self.held.clear();
            return Vec::new();
        }
        let joined = match read() {
            Ok(joined) => joined,
            Err(error) => return vec![failure("reading the multicast groups of members", &error)],
        };
        let held: Joined = self.held.keys().copied().collect();
        let desired = desired(&joined, &held, &pairs);
        self.held.retain(|place, _| desired.contains(place));
        let mut refused = Vec::new();
        for (ifindex, group) in desired.into_iter().take(MAX_HELD) {
            if self.held.contains_key(&(ifindex, group)) {
                continue;
            }
            match join(ifindex, group) {
                Ok(socket) => {
                    tracing::debug!(ifindex, %group, "joined for a program that did so on a member not in use");
                    self.held.insert((ifindex, group), socket);
                }
                Err(error) => {
                    refused
                        .push(failure(&format!("join multicast group {group} on ifindex {ifindex}"), &error));
                }
            }
        }
        refused
    }
}

fn failure(what: &str, error: &io::Error) -> Failure {
    Failure { what: format!("{what}: {error}"), errno: error.raw_os_error().unwrap_or_default() }
}

/// Interfaces that must not carry traffic, each with those that have its data addresses, or else a usable one.
fn stand_ins(wanted: &Wanted) -> BTreeSet<(u32, u32)> {
    let link = |id| wanted.members.iter().find(|link| link.member == id);
    let usable = |id| !wanted.unusable.contains(&id) && !wanted.withdrawn.contains(&id);
    let mut pairs = BTreeSet::new();
    for from in wanted.members.iter().filter(|link| !usable(link.member)) {
        let away = wanted.data.iter().filter(|data| data.home == from.member && usable(data.on));
        let mut to: Vec<u32> = away.filter_map(|data| Some(link(data.on)?.ifindex)).collect();
        if to.is_empty() {
            let mut others =
                wanted.members.iter().filter(|link| link.group == from.group && usable(link.member));
            to.extend(others.next().map(|link| link.ifindex));
        }
        pairs.extend(to.into_iter().map(|to| (from.ifindex, to)));
    }
    pairs
}

/// What is to be joined: what programs joined there and not here.
fn desired(joined: &Joined, held: &Joined, pairs: &BTreeSet<(u32, u32)>) -> Joined {
    let by_programs: Joined = joined.difference(held).copied().collect();
    let wanted = pairs.iter().flat_map(|(from, to)| {
        let there =
            by_programs.iter().filter(move |(ifindex, group)| ifindex == from && !is_automatic(*group));
        there.map(|(_, group)| (*to, *group))
    });
    wanted.filter(|place| !by_programs.contains(place)).collect()
}

/// Groups that the kernel joins by itself on each interface, for itself or for its addresses: all hosts, all routers, solicited
/// nodes (RFC 4291, 2.7.1), and whatever stays on the host.
fn is_automatic(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group == Ipv4Addr::new(224, 0, 0, 1),
        IpAddr::V6(group) => match group.segments() {
            [0xff01, ..] | [0xff02 | 0xff05, 0, 0, 0, 0, 0, 0, 1 | 2] => true,
            [0xff02, 0, 0, 0, 0, 1, last, _] => last >> 8 == 0xff,
            _ => false,
        },
    }
}

fn read() -> io::Result<Joined> {
    let [v4, v6] = TABLES.map(read_table);
    let mut joined = parse_v4(&v4?);
    match v6 {
        Ok(text) => joined.extend(text.lines().filter_map(parse_v6)),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(joined)
}

/// With room from the start: the kernel does not say how long it is, and reading it bit by bit takes longer than all the rest.
fn read_table(path: &str) -> io::Result<String> {
    let mut text = String::with_capacity(TABLE_ROOM);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// A line for each interface, which begins with its number, and below it an indented one for each group, in hexadecimal as it
/// lies in memory (`igmp_mc_seq_show` in net/ipv4/igmp.c).
fn parse_v4(text: &str) -> Joined {
    let mut joined = Joined::new();
    let mut ifindex = None;
    for line in text.lines().skip(1) {
        let Some(first) = line.split_whitespace().next() else { continue };
        if line.starts_with(char::is_whitespace) {
            let group = u32::from_str_radix(first, 16).map(|group| Ipv4Addr::from(group.to_ne_bytes()));
            joined.extend(ifindex.zip(group.ok()).map(|(ifindex, group)| (ifindex, group.into())));
        } else {
            ifindex = first.parse().ok();
        }
    }
    joined
}

/// Number and name of the interface, and the group (`igmp6_mc_seq_show` in net/ipv6/mcast.c).
fn parse_v6(line: &str) -> Option<(u32, IpAddr)> {
    let mut fields = line.split_whitespace();
    let ifindex = fields.next()?.parse().ok()?;
    let group = u128::from_str_radix(fields.nth(1)?, 16).ok()?;
    Some((ifindex, Ipv6Addr::from(group).into()))
}

fn join(ifindex: u32, group: IpAddr) -> io::Result<Socket> {
    match group {
        IpAddr::V4(group) => {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(ifindex))?;
            Ok(socket)
        }
        IpAddr::V6(group) => {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
            socket.join_multicast_v6(&group, ifindex)?;
            Ok(socket)
        }
    }
}

#[cfg(test)]
mod tests;
