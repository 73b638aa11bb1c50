//! How long an address lives on.
//!
//! The kernel counts the seconds of a lifetime in jiffies (`inet_fill_ifaddr` in net/ipv4/devinet.c, `inet6_fill_ifaddr` in
//! net/ipv6/addrconf.c). These stand still while the host sleeps, as `CLOCK_MONOTONIC` does and `CLOCK_BOOTTIME` does not,
//! so what is left of a life is reckoned by that clock, also across restarts of the daemon.

use ipmp_common::engine::time::Timestamp;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, CacheInfo};

use super::Address;

/// `INFINITY_LIFE_TIME` in include/net/addrconf.h.
const FOREVER: u32 = u32::MAX;
/// The kernel rounds what is left up to whole seconds, and so do we what has passed down: two accounts of the same life
/// differ by less.
const TOLERANCE_S: u32 = 2;

/// What is left in seconds (`IFA_CACHEINFO`); `u32::MAX` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// As a source of new connections; 0 = deprecated (RFC 4862 section 5.5.4).
    pub preferred: u32,
    /// At all; 0 = over.
    pub valid: u32,
}

impl Lifetimes {
    /// What is left after some time.
    #[must_use]
    pub fn later(self, since: Timestamp, now: Timestamp) -> Self {
        let passed = u32::try_from(now.0.saturating_sub(since.0) / 1_000_000_000).unwrap_or(FOREVER);
        let rest = |seconds: u32| if seconds == FOREVER { FOREVER } else { seconds.saturating_sub(passed) };
        Self { preferred: rest(self.preferred), valid: rest(self.valid) }
    }

    /// Whether two accounts of one moment tell of the same life.
    pub const fn agrees(self, other: Self) -> bool {
        const fn near(one: u32, other: u32) -> bool {
            (one == FOREVER) == (other == FOREVER) && one.abs_diff(other) <= TOLERANCE_S
        }
        near(self.preferred, other.preferred) && near(self.valid, other.valid)
    }

    /// Whether time changes them.
    pub const fn run_out(self) -> bool {
        self.valid != FOREVER || (self.preferred != FOREVER && self.preferred != 0)
    }
}

impl Address {
    /// What was left of its life when the kernel was asked. A deprecated IPv4 address without end has, as the kernel tells
    /// it, a preferred lifetime without end as well; only its flag says otherwise.
    pub fn lifetimes(&self) -> Lifetimes {
        let told = self.message.attributes.iter().find_map(|attribute| {
            let AddressAttribute::CacheInfo(info) = attribute else { return None };
            Some(Lifetimes { preferred: info.ifa_preferred, valid: info.ifa_valid })
        });
        let told = told.unwrap_or(Lifetimes { preferred: FOREVER, valid: FOREVER });
        let deprecated = self.flags().contains(AddressFlags::Deprecated);
        Lifetimes { preferred: if deprecated { 0 } else { told.preferred }, ..told }
    }

    /// The same address with these lifetimes.
    #[must_use]
    pub fn living(mut self, lifetimes: Lifetimes) -> Self {
        let mut info = CacheInfo::default();
        info.ifa_preferred = lifetimes.preferred;
        info.ifa_valid = lifetimes.valid;
        self.set_flags(self.flags() - AddressFlags::Deprecated);
        self.message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::CacheInfo(_)));
        self.message.attributes.push(AddressAttribute::CacheInfo(info));
        self
    }
}

#[cfg(test)]
mod tests;
