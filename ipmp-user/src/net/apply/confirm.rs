//! Waits until added IPv6 addresses really serve.
//!
//! The kernel acknowledges `RTM_NEWADDR` before the address has its local route: `addrconf_dad_work` installs it, from
//! a work queue, also without duplicate address detection, and notifies just before (`__ipv6_ifa_notify` in
//! net/ipv6/addrconf.c). Deleting the old address earlier would leave a moment in which no interface accepts packets
//! for it.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use ipmp_common::engine::ids::Family;
use nix::sys::{
    socket::{setsockopt, sockopt},
    time::{TimeVal, TimeValLike as _},
};
use rtnetlink::{MulticastGroup, packet_route::RouteNetlinkMessage, sys};

use crate::net::{
    address::Address,
    plan::Op,
    socket::{Frames, receive, tune},
};

/// The work queue needs microseconds; if it is stuck, moving on is better than keeping the address on a failed
/// interface.
const PATIENCE: Duration = Duration::from_millis(100);

/// Listens from before the additions until they are confirmed.
pub(super) struct Confirmation {
    socket: sys::Socket,
    expected: BTreeSet<(u32, IpAddr)>,
}

impl Confirmation {
    /// To be called before the additions are sent. None if nothing needs to be waited for, or cannot be.
    pub(super) fn expect(additions: &[Op]) -> Option<Self> {
        let v6 = additions.iter().filter_map(|op| match op {
            Op::AddAddress(address) if address.family() == Family::V6 => {
                Some((address.ifindex(), address.ip()))
            }
            Op::AddAddress(_)
            | Op::SetAddressFlags(_)
            | Op::DelAddress(_)
            | Op::AddRoute(_)
            | Op::DelRoute(_)
            | Op::AddNeighbour(_)
            | Op::DelNeighbour(_) => None,
        });
        let expected: BTreeSet<(u32, IpAddr)> = v6.collect();
        if expected.is_empty() {
            return None;
        }
        let mut socket = sys::Socket::new(sys::protocols::NETLINK_ROUTE).ok()?;
        socket.bind_auto().ok()?;
        tune(&socket);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(PATIENCE.as_millis() as i64))
            .ok()?;
        socket.add_membership(MulticastGroup::Ipv6Ifaddr as u32).ok()?;
        Some(Self { socket, expected })
    }

    /// Returns when every address but the failed ones serves, or patience ends.
    pub(super) fn wait(mut self, failed: &BTreeSet<(u32, IpAddr)>) {
        self.expected.retain(|pair| !failed.contains(pair));
        let end = Instant::now() + PATIENCE;
        let mut buffer = Vec::with_capacity(4096);
        while !self.expected.is_empty() && Instant::now() < end {
            if receive(&self.socket, &mut buffer, 0).is_err() {
                return;
            }
            for frame in Frames(&buffer) {
                if let Some(RouteNetlinkMessage::NewAddress(message)) = frame.decode()
                    && let Some(address) = Address::from_message(message)
                {
                    self.expected.remove(&(address.ifindex(), address.ip()));
                }
            }
        }
    }
}
