//! What must stand before neighbours are told, and what may come after.
//!
//! A host takes packets for an address that stands on any of its interfaces, whichever they arrive by (the weak model of
//! RFC 1122 section 3.3.4.2, which Linux has for both families). So traffic does not
//! need an address on the interface that it is led to, as long as the address stands elsewhere on the host; only those who
//! ask for its hardware address do. Where there are few addresses that makes no difference, and all of them go with the routes
//! in one exchange. Where there are many the routes go first, then the announcement, then the addresses, because the kernel
//! takes its time for them.
//!
//! For IPv6 this is long: each `RTM_NEWADDR` runs twice through all multicast groups of the interface (`ipv6_find_idev`
//! calls `ipv6_mc_up`, net/ipv6/addrconf.c and mcast.c) and starts a timer for each, and each address with a solicited-node
//! group of its own adds one. 1,000 addresses take 0.25 s, five times as long if groups that were left have still to be
//! reported (`mld_del_delrec` searches those, too), and 40 ms if all share one group. Joining the groups beforehand only makes
//! the list long from the beginning: 1.1 s. Which order the addresses come in makes no difference.

use std::{collections::BTreeSet, net::IpAddr};

use ipmp_common::engine::ids::Family;
use ipnet::IpNet;

use super::{AddressPlan, Op, up_link};
use crate::net::inventory::Inventory;

/// More additions than these do not go with the routes in one exchange. They take the kernel about a millisecond.
pub const AT_ONCE: usize = 100;

impl AddressPlan {
    /// The additions before the announcement, and those after it.
    ///
    /// Before it come those of addresses that stand nowhere now, and those that bring the kernel's connected route. The order
    /// within a family stays: an address that must come first takes those before it along.
    pub fn stages(&self, inventory: &Inventory) -> (Vec<Op>, Vec<Op>) {
        if self.add.len() <= AT_ONCE {
            return (self.add.clone(), Vec::new());
        }
        let stand: BTreeSet<IpAddr> = self
            .moved
            .iter()
            .filter(|(from, ..)| up_link(inventory, *from).is_some())
            .map(|(.., net)| net.addr())
            .collect();
        let mut connected: BTreeSet<(u32, IpNet)> = BTreeSet::new();
        let (mut v4, mut v6) = (0, 0);
        for (at, op) in self.add.iter().enumerate() {
            let Op::AddAddress(address) = op else { continue };
            let brings_route =
                address.has_prefix_route() && connected.insert((address.ifindex(), address.net().trunc()));
            if brings_route || !stand.contains(&address.ip()) {
                *(if address.family() == Family::V4 { &mut v4 } else { &mut v6 }) = at + 1;
            }
        }
        let is_first = |at: usize, op: &Op| match op {
            Op::AddAddress(address) | Op::SetAddress(address) | Op::DelAddress(address) => {
                at < if address.family() == Family::V4 { v4 } else { v6 }
            }
            Op::AddRoute(_)
            | Op::DelRoute(_)
            | Op::ReplaceRoute { .. }
            | Op::SetNexthop(_)
            | Op::AddNeighbour(_)
            | Op::DelNeighbour(_) => true,
        };
        let numbered = self.add.iter().cloned().enumerate();
        let (first, later): (Vec<_>, Vec<_>) = numbered.partition(|(at, op)| is_first(*at, op));
        let ops = |stage: Vec<(usize, Op)>| stage.into_iter().map(|(_, op)| op).collect();
        (ops(first), ops(later))
    }

    /// The addresses that changed their interface, with the new one.
    pub fn arrived(&self, failed: &BTreeSet<(u32, IpAddr)>) -> Vec<(u32, IpAddr)> {
        let arrived = self.moved.iter().map(|(_, on, net)| (*on, net.addr()));
        arrived.filter(|place| !failed.contains(place)).collect()
    }

    /// Where each address that changes its interface is in the end: on the new one, or where it was if that failed.
    pub fn places(&self, failed: &BTreeSet<(u32, IpAddr)>) -> Vec<(u32, IpAddr)> {
        let place = |(from, on, net): &(Option<u32>, u32, IpNet)| {
            let ip = net.addr();
            let on = if failed.contains(&(*on, ip)) { (*from)? } else { *on };
            Some((on, ip))
        };
        self.moved.iter().filter_map(place).collect()
    }
}

#[cfg(test)]
mod tests;
