//! Neighbours are told where addresses are.

use std::net::IpAddr;

use ipmp_common::engine::time::Timestamp;

use super::{Applier, Failure, monotonic};
use crate::{announce::Announcement, net::inventory::Inventory};

impl Applier {
    /// Announces addresses from the interfaces they are on; returns when that was handed over, if there was any.
    pub(super) fn announce(
        &mut self,
        inventory: &Inventory,
        places: &[(u32, IpAddr)],
        errors: &mut Vec<Failure>,
    ) -> Option<Timestamp> {
        let announcement = |(ifindex, ip): &(u32, IpAddr)| {
            let mac = inventory.link(*ifindex)?.mac?;
            Some(Announcement { ifindex: *ifindex, mac, ip: *ip })
        };
        let announcements: Vec<Announcement> = places.iter().filter_map(announcement).collect();
        let announcer = self.announcer.as_mut().filter(|_| !announcements.is_empty())?;
        match announcer.send(&announcements) {
            Ok(()) => Some(monotonic()),
            Err(error) => {
                errors.push(Failure::of("announcing", &error));
                None
            }
        }
    }
}
