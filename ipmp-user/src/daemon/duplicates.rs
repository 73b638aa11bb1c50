//! IPv6 addresses of members that another host on the link has, too. The kernel keeps such an address and does not use it
//! (RFC 4862, section 5.4.5), nor does it try again: that is told, and is for an administrator to settle.

use std::collections::BTreeSet;

use ipmp_common::engine::{event::Event, time::Timestamp};
use ipnet::IpNet;

use super::Daemon;
use crate::net::address::Address;

/// Those that were told, by interface.
pub(super) type Duplicates = BTreeSet<(u32, IpNet)>;

impl Daemon {
    /// Tells of each once, for as long as it is one.
    pub(super) fn tell_duplicates(&mut self, now: Timestamp) {
        let mut found = Duplicates::new();
        let mut fresh = Vec::new();
        for member in &self.members {
            let Some(link) = member.ifindex.and_then(|ifindex| self.inventory.link(ifindex)) else {
                continue;
            };
            for address in self.inventory.addresses(link.ifindex).iter().filter(|a| Address::is_duplicate(a))
            {
                let place = (link.ifindex, address.net());
                found.insert(place);
                if !self.left_alone.duplicates.contains(&place) {
                    let what = format!(
                        "{} serves nobody on {}: another host on the link has it, too (duplicate address detection); \
                         take it off that one, then delete it here and add it again",
                        address.net(),
                        link.name
                    );
                    fresh.push((member.group, what));
                }
            }
        }
        self.left_alone.duplicates = found;
        for (group, what) in fresh {
            self.engine.handle(now, Event::ApplyFailed { group, epoch: 0, what, errno: libc::EADDRINUSE });
        }
    }
}
