//! What others changed since the applier looked last: whether it must look again, and what it must not misunderstand.
//!
//! The kernel queues a notification before the call that made a change returns, so a socket that has nothing to say proves
//! that a picture is still true. What we change ourselves does not count: the picture is renewed after each job, when
//! nobody waits for it.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use nix::sys::{
    socket::{setsockopt, sockopt},
    time::{TimeVal, TimeValLike as _},
};
use rtnetlink::{
    MulticastGroup,
    packet_route::{RouteNetlinkMessage, link::LinkFlags},
    sys,
};

use crate::net::{
    NetError,
    address::Address,
    inventory::{Inventory, Link},
    route::{Route, RouteKey},
    socket::{Frame, Frames, receive, tune},
};

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Nexthop,
];
/// Receive buffer in bytes: a thousand IPv6 addresses make several thousand notifications, each of which takes about
/// 1 KiB of it. Memory is only taken by what waits.
const RECEIVE_BUFFER: usize = 16 << 20;
/// The work queue needs microseconds; if it is stuck, moving on is better than keeping the address on a failed
/// interface.
const PATIENCE: Duration = Duration::from_secs(1);

/// What others did that explains why something is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Interfaces that lost an address: with it the kernel deletes routes that nobody wanted to go.
    pub robbed: BTreeSet<u32>,
    /// Lists from which somebody removed a route.
    pub removed: BTreeSet<RouteKey>,
    /// Notifications were lost: anything may have happened.
    pub lost: bool,
}

/// The socket.
#[derive(Debug)]
pub(super) struct Watch {
    socket: sys::Socket,
    /// The port of the socket whose changes are our own.
    own: u32,
    buffer: Vec<u8>,
    /// Addresses that came, or changed, since [`Watch::begin`].
    came: BTreeSet<(u32, IpAddr)>,
}

impl Watch {
    pub(super) fn open(own: u32) -> Result<Self, NetError> {
        let mut socket = sys::Socket::new(sys::protocols::NETLINK_ROUTE)
            .map_err(|e| NetError::io("opening a netlink socket", e))?;
        socket.bind_auto().map_err(|e| NetError::io("binding a netlink socket", e))?;
        tune(&socket);
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(PATIENCE.as_millis() as i64))
            .map_err(|e| NetError::io("setting a netlink timeout", e.into()))?;
        for group in GROUPS {
            socket
                .add_membership(group as u32)
                .map_err(|e| NetError::io("subscribing to netlink notifications", e))?;
        }
        Ok(Self { socket, own, buffer: Vec::with_capacity(64 << 10), came: BTreeSet::new() })
    }

    /// From here on it is noted which addresses serve.
    pub(super) fn begin(&mut self) {
        self.came.clear();
    }

    /// Takes in what has arrived. `picture` is kept current where that is exact; the answer is whether it is out of date.
    /// `ours` are addresses that we deleted.
    pub(super) fn collect(
        &mut self,
        mut picture: Option<&mut Inventory>,
        ours: &BTreeSet<(u32, IpAddr)>,
        news: &mut News,
    ) -> bool {
        let mut stale = false;
        loop {
            match receive(&self.socket, &mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(()) => {}
                Err(error) if error.errno() == libc::ENOBUFS => {
                    news.lost = true;
                    stale = true;
                    continue;
                }
                // Nothing more has arrived.
                Err(_) => return stale,
            }
            for frame in
                Frames(&self.buffer).filter(|frame| frame.port != self.own && !frame.is_about_bucket())
            {
                stale |= take(&frame, picture.as_deref_mut(), ours, news, &mut self.came);
            }
        }
    }

    /// Returns when these IPv6 addresses serve, or patience ends.
    ///
    /// The kernel acknowledges `RTM_NEWADDR` before the address has its local route: `addrconf_dad_work` installs it, from
    /// a work queue, also without duplicate address detection, and notifies just before (`__ipv6_ifa_notify` in
    /// net/ipv6/addrconf.c). Deleting the old address earlier would leave a moment in which no interface accepts packets
    /// for it.
    pub(super) fn wait_serving(&mut self, mut expected: BTreeSet<(u32, IpAddr)>, news: &mut News) {
        let end = Instant::now() + PATIENCE;
        loop {
            expected.retain(|place| !self.came.contains(place));
            if expected.is_empty() || Instant::now() >= end {
                return;
            }
            if receive(&self.socket, &mut self.buffer, 0).is_err() {
                news.lost = true;
                return;
            }
            for frame in Frames(&self.buffer).filter(|frame| frame.port != self.own) {
                take(&frame, None, &BTreeSet::new(), news, &mut self.came);
            }
        }
    }
}

/// Whether a notification makes a picture out of date.
fn take(
    frame: &Frame<'_>,
    picture: Option<&mut Inventory>,
    ours: &BTreeSet<(u32, IpAddr)>,
    news: &mut News,
    came: &mut BTreeSet<(u32, IpAddr)>,
) -> bool {
    let somebodys = frame.port != 0;
    let replaces = frame.replaces_route();
    match frame.decode() {
        Some(RouteNetlinkMessage::NewLink(message)) => {
            let Some(picture) = picture else { return true };
            // With the carrier the kernel deletes nexthop objects, and says nothing (`nexthop_flush_dev`).
            let objects = !picture.nexthops.is_empty() || !picture.ours.nexthops.is_empty();
            let identity = |link: &Link| (identity(link), objects && link.flags.contains(LinkFlags::LowerUp));
            let before = picture.link(message.header.index).map(identity);
            let ifindex = message.header.index;
            picture.update(RouteNetlinkMessage::NewLink(message));
            before.is_none() || before != picture.link(ifindex).map(identity)
        }
        Some(RouteNetlinkMessage::NewAddress(message)) => {
            came.extend(Address::from_message(message).map(|address| (address.ifindex(), address.ip())));
            true
        }
        Some(RouteNetlinkMessage::DelAddress(message)) => {
            let address = Address::from_message(message);
            let robbed = address.filter(|address| !ours.contains(&(address.ifindex(), address.ip())));
            news.robbed.extend(robbed.map(|address| address.ifindex()));
            true
        }
        Some(RouteNetlinkMessage::DelRoute(message)) if somebodys => {
            news.removed.extend(Route::from_message(message).iter().map(Route::key));
            true
        }
        Some(RouteNetlinkMessage::NewRoute(message)) if somebodys && replaces => {
            news.removed.extend(Route::from_message(message).iter().map(Route::key));
            true
        }
        _ => true,
    }
}

/// With these unchanged the kernel has not touched addresses and routes because of a link.
fn identity(link: &Link) -> (String, bool, u32) {
    (link.name.clone(), link.admin_up(), link.mtu)
}
