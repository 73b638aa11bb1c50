//! Data addresses on interfaces that are members no longer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::Base;
use crate::net::{inventory::Inventory, plan::Wanted};

impl Base {
    /// Where we put data addresses on interfaces that are no members now: left out of the configuration, or renamed.
    /// Nobody else can have put one of them there, so they are ours to remove.
    pub fn strays(&self, inventory: &Inventory, wanted: &Wanted) -> BTreeSet<(IpAddr, u32)> {
        let mut former: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for name in self.placement.values() {
            former.entry(name).or_insert_with(|| {
                let by_name = inventory.link_by_name(name).map(|link| link.ifindex);
                let mut known: Vec<u32> = by_name.into_iter().chain(self.ifindex_of(name)).collect();
                known.retain(|ifindex| wanted.members.iter().all(|member| member.ifindex != *ifindex));
                known
            });
        }
        former.retain(|_, known| !known.is_empty());
        if former.is_empty() {
            return BTreeSet::new();
        }
        let hosts = inventory.hosts();
        let ours = wanted.data.iter().map(|placed| placed.address.addr());
        ours.filter_map(|ip| Some((ip, former.get(self.placement.get(&ip)?.as_str())?)))
            .flat_map(|(ip, known)| known.iter().map(move |ifindex| (ip, *ifindex)))
            .filter(|place| hosts.contains(place))
            .collect()
    }
}
