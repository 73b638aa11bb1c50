//! Addresses and routes on members that others renew: a DHCP client, router advertisements. They are theirs alone and never
//! moved (B26), which is said where somebody might wonder.

use std::collections::{BTreeMap, BTreeSet};

use ipmp_common::engine::{
    action::Placement,
    event::Event,
    ids::{GroupId, MemberId},
    time::Timestamp,
};
use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressFlags;

use super::{Daemon, duplicates::Duplicates};
use crate::net::inventory::Inventory;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct LeftAlone {
    /// Addresses that stay on a member that is out of use.
    stay: BTreeSet<(MemberId, IpNet)>,
    /// Those that another host has, too.
    pub(super) duplicates: Duplicates,
    /// What the applier left alone.
    found: BTreeMap<GroupId, Vec<String>>,
}

/// Addresses of an interface that others renew. Privacy addresses (RFC 8981) come and go with the one they are made beside.
pub(super) fn on(inventory: &Inventory, ifindex: u32) -> Vec<IpNet> {
    let renewed = inventory.addresses(ifindex).iter().filter(|address| {
        let temporary = address.ip().is_ipv6() && address.flags().contains(AddressFlags::Secondary);
        !address.is_permanent() && !temporary && address.scope() == 0
    });
    renewed.map(crate::net::address::Address::net).collect()
}

impl Daemon {
    /// A placement is on its way: tells what stays on interfaces that are out of use by it, once.
    pub(super) fn tell_what_stays(&mut self, now: Timestamp, placement: &Placement) {
        let of_group = |id: &MemberId| {
            self.members.iter().any(|member| member.id == *id && member.group == placement.group)
        };
        let mut stay = BTreeSet::new();
        for member in self.members.iter().filter(|member| placement.unusable.contains(&member.id)) {
            let Some(ifindex) = member.ifindex else { continue };
            stay.extend(on(&self.inventory, ifindex).into_iter().map(|address| (member.id, address)));
        }
        let fresh: Vec<_> = stay.difference(&self.left_alone.stay).copied().collect();
        stay.extend(self.left_alone.stay.iter().filter(|(member, _)| !of_group(member)));
        self.left_alone.stay = stay;
        for (member, address) in fresh {
            self.engine.handle(now, Event::LeftAlone { member, address });
        }
    }

    /// What a job found that it does not touch; told when it is something new.
    pub(super) fn note_left_alone(&mut self, group: GroupId, mut found: Vec<String>) {
        found.sort_unstable();
        found.dedup();
        let known = self.left_alone.found.insert(group, found.clone()).unwrap_or_default();
        for line in found.iter().filter(|line| !known.contains(line)) {
            tracing::info!(group = self.names.group(group), "left alone: {line}");
        }
    }
}
