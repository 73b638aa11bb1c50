//! The multicast socket that keeps an [`Inventory`] current.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::{AsRawFd, RawFd},
};

use rtnetlink::{MulticastGroup, packet_core::NLMSG_ERROR, packet_route::RouteNetlinkMessage, sys};

use super::{
    NetError,
    author::{Author, Authors},
    inventory::Inventory,
    socket::{Frames, Socket, listening, receive},
};

/// Datagrams taken in one call: bounds the work of one wake-up; the descriptor stays readable if more wait.
const DRAIN_DATAGRAMS: usize = 256;

const GROUPS: [MulticastGroup; 9] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Neigh,
    MulticastGroup::Nexthop,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// What changed; the inventory already holds the new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface appeared, changed or went.
    Link {
        /// Its number.
        ifindex: u32,
        /// Its name.
        name: String,
        /// Whether it is up; none where the driver cannot tell.
        up: Option<bool>,
        /// Whether it is gone from this namespace.
        gone: bool,
    },
    /// An interface's addresses changed.
    Address {
        /// The interface.
        ifindex: u32,
    },
    /// Some route changed, or what leads to routes.
    Route,
    /// A neighbour's state or hardware address changed.
    Neighbour {
        /// The interface.
        ifindex: u32,
        /// The neighbour.
        ip: IpAddr,
    },
    /// Notifications were lost, the inventory was read anew: look at everything.
    Resync,
}

/// The socket.
#[derive(Debug)]
pub struct Monitor {
    multicast: sys::Socket,
    requests: Socket,
    buffer: Vec<u8>,
    /// Notifications were lost and the tables could not be read anew yet: tried again at each call.
    behind: bool,
    authors: Authors,
}

impl Monitor {
    /// Subscribes first and dumps second, so that nothing falls between.
    pub fn open() -> Result<(Self, Inventory), NetError> {
        let multicast = listening(&GROUPS)?;
        multicast.set_non_blocking(true).map_err(|e| NetError::io("making netlink non-blocking", e))?;
        let mut requests = Socket::open()?;
        let inventory = Inventory::dump(&mut requests)?;
        let buffer = Vec::with_capacity(64 << 10);
        Ok((Self { multicast, requests, buffer, behind: false, authors: Authors::default() }, inventory))
    }

    /// Takes in what has arrived, at most a bounded amount. After an overrun (`ENOBUFS`) everything is dumped anew and
    /// the answer is [`Change::Resync`]; hardware addresses last known survive it. What was taken in is told also when
    /// that fails: the next call tries it again, and fails if there is nothing else to tell.
    pub fn drain(&mut self, inventory: &mut Inventory) -> Result<Vec<Change>, NetError> {
        let mut changes = Vec::new();
        let mut unclear = false;
        for _ in 0..DRAIN_DATAGRAMS {
            match receive(&self.multicast, &mut self.buffer, 0) {
                Ok(()) => {}
                Err(e) if e.errno() == libc::EAGAIN => break,
                Err(e) if e.errno() == libc::ENOBUFS => {
                    self.behind = true;
                    continue;
                }
                Err(e) if changes.is_empty() => return Err(e),
                Err(_) => break,
            }
            for frame in Frames(&self.buffer).filter(|frame| frame.kind != NLMSG_ERROR) {
                if frame.is_about_nexthop() || frame.is_about_rule() {
                    // An object's routes go along without a word (`fib_flush` in net/ipv4/fib_frontend.c).
                    changes.push(Change::Route);
                    continue;
                }
                if frame.is_about_bucket() {
                    continue;
                }
                let message = frame.decode();
                self.authors.note(frame.port, message.as_ref());
                let change = match message {
                    Some(RouteNetlinkMessage::NewRoute(message)) if frame.replaces_route() => {
                        unclear |= !inventory.replace_route(message);
                        Some(Change::Route)
                    }
                    message => message.and_then(|message| inventory.update(message)),
                };
                changes.extend(change);
            }
        }
        if unclear && !self.behind {
            // Once for all of them: a routing daemon replaces thousands.
            self.behind = inventory.reload_routes(&mut self.requests).is_err();
        }
        if self.behind {
            match self.resync(inventory) {
                Ok(()) => {
                    self.behind = false;
                    changes.push(Change::Resync);
                }
                Err(e) if changes.is_empty() => return Err(e),
                Err(_) => {}
            }
        }
        Ok(changes)
    }

    /// Who asked for the changes that were taken in since this was asked last.
    pub fn authors(&mut self) -> BTreeSet<Author> {
        self.authors.take()
    }

    fn resync(&mut self, inventory: &mut Inventory) -> Result<(), NetError> {
        let mut fresh = Inventory::dump(&mut self.requests)?;
        for (key, old) in &inventory.neighbours {
            if fresh.links.contains_key(&key.0) {
                let entry = fresh.neighbours.entry(*key).or_insert(super::inventory::Neighbour {
                    mac: None,
                    state: rtnetlink::packet_route::neighbour::NeighbourState::None,
                    ..*old
                });
                entry.mac = entry.mac.or(old.mac);
            }
        }
        *inventory = fresh;
        Ok(())
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.multicast.as_raw_fd()
    }
}
