//! What others changed since the applier looked last: whether it must look again, and what it must not misunderstand.
//!
//! The kernel queues a notification before the call that made a change returns, so a socket that has nothing to say proves
//! that a picture is still true. What we change ourselves does not count: the picture is renewed after each job, when
//! nobody waits for it.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{MsgFlags, setsockopt, sockopt},
        time::TimeSpec,
    },
};
use rtnetlink::{
    MulticastGroup,
    packet_route::{RouteNetlinkMessage, link::LinkFlags},
    sys,
};

use crate::net::{
    NetError,
    address::Address,
    inventory::Inventory,
    route::{Route, RouteKey},
    socket::{Frame, Inbox, listening},
};

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Nexthop,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];
/// Receive buffer in bytes: a thousand IPv6 addresses make several thousand notifications, each of which takes about
/// 1 KiB of it. Memory is only taken by what waits.
const RECEIVE_BUFFER: usize = 16 << 20;
/// The work queue needs microseconds; if it is stuck, moving on is better than keeping the address on a failed
/// interface.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

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

impl News {
    /// Takes in more.
    pub(super) fn extend(&mut self, more: &Self) {
        self.robbed.extend(&more.robbed);
        self.removed.extend(&more.removed);
        self.lost |= more.lost;
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct Watch {
    socket: sys::Socket,
    /// The port of the socket whose changes are our own.
    own: u32,
    inbox: Inbox,
    seen: Seen,
}

/// What was seen since [`Watch::begin`].
#[derive(Debug, Default)]
struct Seen {
    /// Addresses that came, or changed.
    came: BTreeSet<(u32, IpAddr)>,
    /// A link without carrier.
    carrier_loss: bool,
    /// Links of which something changed that matters.
    links: BTreeSet<u32>,
    /// Anything else by others.
    others: bool,
}

impl Watch {
    pub(super) fn open(own: u32) -> Result<Self, NetError> {
        let socket = listening(&GROUPS)?;
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        Ok(Self { socket, own, inbox: Inbox::new(), seen: Seen::default() })
    }

    /// From here on it is noted what is heard, and which addresses serve.
    pub(super) fn begin(&mut self) {
        self.seen = Seen::default();
    }

    /// Whether a link without carrier was told of since.
    pub(super) const fn saw_carrier_loss(&self) -> bool {
        self.seen.carrier_loss
    }

    /// What the carrier's loss took along has been seen.
    pub(super) const fn forget_carrier_loss(&mut self) {
        self.seen.carrier_loss = false;
    }

    /// Whether nobody else has done anything since.
    pub(super) fn heard_nothing(&self) -> bool {
        self.heard_only_of(&BTreeSet::new())
    }

    /// Whether all that was told of since are these links.
    pub(super) fn heard_only_of(&self, links: &BTreeSet<u32>) -> bool {
        !self.seen.others && self.seen.links.is_subset(links)
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
            match self.inbox.receive(&self.socket, MsgFlags::MSG_DONTWAIT) {
                Ok(()) if self.inbox.cut => {
                    (news.lost, self.seen.others) = (true, true);
                    stale = true;
                }
                Ok(()) => {}
                Err(error) if error.errno() == libc::ENOBUFS => {
                    (news.lost, self.seen.others) = (true, true);
                    stale = true;
                    continue;
                }
                // Nothing more has arrived.
                Err(_) => return stale,
            }
            let others = |frame: &Frame<'_>| frame.port != self.own && !frame.is_about_bucket();
            for frame in self.inbox.frames().filter(others) {
                stale |= take(&frame, picture.as_deref_mut(), ours, news, &mut self.seen);
            }
        }
    }

    /// Returns when these IPv6 addresses serve, or patience ends.
    ///
    /// The kernel acknowledges `RTM_NEWADDR` before the address has its local route: `addrconf_dad_work` installs it, from
    /// a work queue, also without duplicate address detection, and notifies just before (`__ipv6_ifa_notify` in
    /// net/ipv6/addrconf.c). Deleting the old address earlier would leave a moment in which no interface accepts packets
    /// for it.
    pub(super) fn wait_serving(
        &mut self,
        mut expected: BTreeSet<(u32, IpAddr)>,
        patience: Duration,
        news: &mut News,
    ) {
        let end = Instant::now() + patience;
        while !expected.is_empty() {
            self.collect(None, &BTreeSet::new(), news);
            expected.retain(|place| !self.seen.came.contains(place));
            let left = end.saturating_duration_since(Instant::now());
            if expected.is_empty() || left.is_zero() {
                return;
            }
            let mut polled = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            // Whatever ends it, a signal too: what has arrived is looked at, and the time that is left.
            let _ = ppoll(&mut polled, Some(TimeSpec::from_duration(left)), None);
        }
    }
}

/// Whether a notification makes a picture out of date.
fn take(
    frame: &Frame<'_>,
    picture: Option<&mut Inventory>,
    ours: &BTreeSet<(u32, IpAddr)>,
    news: &mut News,
    seen: &mut Seen,
) -> bool {
    let somebodys = frame.port != 0;
    let replaces = frame.replaces_route();
    let message = frame.decode();
    seen.others |= !matches!(message, Some(RouteNetlinkMessage::NewLink(_)));
    match message {
        Some(RouteNetlinkMessage::NewLink(message)) => {
            seen.carrier_loss |= !carries(message.header.flags);
            let ifindex = message.header.index;
            let Some(picture) = picture else {
                seen.links.insert(ifindex);
                return true;
            };
            let before = identity(picture, ifindex);
            picture.update(RouteNetlinkMessage::NewLink(message));
            let changed = before.is_none() || before != identity(picture, ifindex);
            if changed {
                seen.links.insert(ifindex);
            }
            changed
        }
        Some(RouteNetlinkMessage::NewAddress(message)) => {
            seen.came.extend(Address::from_message(message).map(|address| (address.ifindex(), address.ip())));
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

/// With these unchanged the kernel has not touched addresses and routes because of a link: of a link without carrier it
/// deletes the nexthop objects, and their routes, without a word (`nexthop_flush_dev` in net/ipv4/nexthop.c).
fn identity(picture: &Inventory, ifindex: u32) -> Option<(String, bool, u32, bool)> {
    let link = picture.link(ifindex)?;
    let objects = !picture.nexthops.is_empty() || !picture.ours.nexthops.is_empty();
    let carries = !objects || carries(link.flags);
    Some((link.name.clone(), link.admin_up(), link.mtu, carries))
}

/// As `nh_netdev_event` in net/ipv4/nexthop.c has it.
const fn carries(flags: LinkFlags) -> bool {
    flags.intersects(LinkFlags::Running.union(LinkFlags::LowerUp))
}

#[cfg(test)]
mod tests;
