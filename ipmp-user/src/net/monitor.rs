//! The multicast socket that keeps an [`Inventory`] current.

mod reader;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};

use rtnetlink::{
    MulticastGroup,
    packet_core::NLMSG_ERROR,
    packet_route::{RouteNetlinkMessage, neighbour::NeighbourState},
    sys,
};
use tokio::sync::Notify;

use self::reader::{News, Reader};
use super::{
    NetError,
    author::{Author, Authors},
    inventory::{Inventory, Neighbour},
    socket::{Frame, Frames, Socket, listening, receive},
};

/// Datagrams taken in one call, at some microseconds each: bounds the work of one wake-up; the descriptor stays readable
/// if more wait.
const DRAIN_DATAGRAMS: usize = 64;
/// Bytes of notifications taken into a fresh picture by the caller: fewer than are taken in by one call. More go to the
/// reader once more.
const MAX_REPLAYED: usize = 32 << 10;
/// Bytes of notifications kept while the tables are read: a hundred thousand of them. A picture that lacks more would be of
/// no use.
const MAX_TOLD: usize = 16 << 20;

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
        /// It answers from another hardware address than before.
        moved: bool,
    },
    /// The inventory was read anew, because notifications were lost or not clear: look at everything.
    Resync,
}

/// The socket.
#[derive(Debug)]
pub struct Monitor {
    multicast: sys::Socket,
    buffer: Vec<u8>,
    reader: Reader,
    /// What the picture may lack: the tables are to be read anew.
    behind: Behind,
    reading: Reading,
    authors: Authors,
}

/// What was not told, or not clearly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Behind {
    /// Notifications were lost.
    lost: bool,
    /// A notification did not say what it is about.
    unclear: bool,
}

impl Behind {
    const fn any(self) -> bool {
        self.lost || self.unclear
    }
}

/// Where the reading of the tables stands. One at a time.
#[derive(Debug)]
enum Reading {
    Idle,
    /// The reader has been asked, to make good for this. What is told meanwhile goes into the present picture and is kept,
    /// for the one that is being made.
    Asked {
        why: Behind,
        /// None: it was too much.
        told: Option<Vec<u8>>,
    },
    /// It is done, and shall not be asked yet.
    Resting,
}

impl Monitor {
    /// Subscribes first and dumps second, so that nothing falls between.
    pub fn open() -> Result<(Self, Inventory), NetError> {
        let multicast = listening(&GROUPS)?;
        multicast.set_non_blocking(true).map_err(|e| NetError::io("making netlink non-blocking", e))?;
        let mut requests = Socket::open()?;
        let inventory = Inventory::dump(&mut requests)?;
        let monitor = Self {
            multicast,
            buffer: Vec::with_capacity(64 << 10),
            reader: Reader::start(requests)?,
            behind: Behind::default(),
            reading: Reading::Idle,
            authors: Authors::default(),
        };
        Ok((monitor, inventory))
    }

    /// Takes in what has arrived, at most a bounded amount; each change is told once. After an overrun (`ENOBUFS`), or where
    /// a notification is not clear, everything is read anew by a thread of its own, while this goes on with what is told. A
    /// later call takes the result and answers [`Change::Resync`]; hardware addresses last known survive it. It fails if
    /// there is nothing else to tell.
    pub fn drain(&mut self, inventory: &mut Inventory) -> Result<Vec<Change>, NetError> {
        let mut changes = Vec::new();
        for _ in 0..DRAIN_DATAGRAMS {
            match receive(&self.multicast, &mut self.buffer, 0) {
                Ok(()) => {}
                Err(e) if e.errno() == libc::EAGAIN => break,
                Err(e) if e.errno() == libc::ENOBUFS => {
                    self.behind.lost = true;
                    continue;
                }
                Err(e) if changes.is_empty() => return Err(e),
                Err(_) => break,
            }
            self.keep_told();
            self.take_in(inventory, &mut changes);
        }
        self.catch_up(inventory, &mut changes)?;
        Ok(changes)
    }

    fn keep_told(&mut self) {
        let Reading::Asked { told: kept, .. } = &mut self.reading else { return };
        let Some(told) = kept else { return };
        told.extend(&self.buffer);
        if told.len() > MAX_TOLD {
            (*kept, self.behind.lost) = (None, true);
        }
    }

    fn take_in(&mut self, inventory: &mut Inventory, changes: &mut Vec<Change>) {
        for frame in Frames(&self.buffer).filter(|frame| frame.kind != NLMSG_ERROR) {
            let message = (!frame.is_about_nexthop()).then(|| frame.decode()).flatten();
            self.authors.note(frame.port, message.as_ref());
            let Told { change, clear } = tell(&frame, message, inventory);
            self.behind.unclear |= !clear;
            changes.extend(change.filter(|change| !changes.contains(change)));
        }
    }

    /// Has the tables read anew if that is needed, and takes them if they were.
    fn catch_up(&mut self, inventory: &mut Inventory, changes: &mut Vec<Change>) -> Result<(), NetError> {
        match self.reader.news() {
            Some(News::Fresh(fresh)) => self.take_fresh(fresh, inventory, changes),
            Some(News::Failed(error)) => {
                if let Reading::Asked { why, .. } = std::mem::replace(&mut self.reading, Reading::Resting) {
                    self.behind.lost |= why.lost;
                    self.behind.unclear |= why.unclear;
                }
                if changes.is_empty() {
                    return Err(error);
                }
            }
            Some(News::Rested) => self.reading = Reading::Idle,
            None => {}
        }
        if self.behind.any() && matches!(self.reading, Reading::Idle) {
            let why = std::mem::take(&mut self.behind);
            self.reading = Reading::Asked { why, told: Some(Vec::new()) };
            self.reader.read(inventory.neighbours.clone());
        }
        Ok(())
    }

    /// A picture that the reader made, which lacks what was told since it was asked.
    fn take_fresh(
        &mut self,
        mut fresh: Box<Inventory>,
        inventory: &mut Inventory,
        changes: &mut Vec<Change>,
    ) {
        let Reading::Asked { why, told } = &mut self.reading else { return };
        match told {
            Some(told) if told.len() > MAX_REPLAYED => {
                return self.reader.replay(fresh, std::mem::take(told));
            }
            Some(told) => {
                self.behind.unclear |= !replay(&mut fresh, told);
                std::mem::swap(inventory, &mut *fresh);
                if why.lost {
                    tracing::warn!("kernel notifications were lost; everything was read anew");
                }
                changes.push(Change::Resync);
            }
            None => {}
        }
        self.reading = Reading::Resting;
        self.reader.done(fresh);
    }

    /// Rings when [`Self::drain`] has something to do that the socket does not show.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.reader.bell)
    }

    /// Who asked for the changes that were taken in since this was asked last.
    pub fn authors(&mut self) -> BTreeSet<Author> {
        self.authors.take()
    }
}

/// What a notification tells.
struct Told {
    change: Option<Change>,
    /// Whether the picture holds it now.
    clear: bool,
}

fn tell(frame: &Frame<'_>, message: Option<RouteNetlinkMessage>, inventory: &mut Inventory) -> Told {
    if frame.is_about_nexthop() || frame.is_about_rule() {
        // An object's routes go along without a word (`fib_flush` in net/ipv4/fib_frontend.c).
        return Told { change: Some(Change::Route), clear: true };
    }
    match message.filter(|_| !frame.is_about_bucket()) {
        Some(RouteNetlinkMessage::NewRoute(message)) if frame.replaces_route() => {
            Told { clear: inventory.replace_route(message), change: Some(Change::Route) }
        }
        message => {
            let change = message.and_then(|message| inventory.update(message));
            Told { change, clear: !std::mem::take(&mut inventory.doubtful) }
        }
    }
}

/// Takes in what was told while the tables were read. True if all of it was clear.
///
/// What a picture holds already may be told once more, and what it holds no more, too: in the end the last word on each
/// thing counts, which is told at the end.
fn replay(picture: &mut Inventory, told: &[u8]) -> bool {
    let mut clear = true;
    for frame in Frames(told).filter(|frame| frame.kind != NLMSG_ERROR && !frame.is_about_nexthop()) {
        let message = frame.decode();
        clear &= tell(&frame, message, picture).clear;
    }
    clear
}

/// Neighbours that the kernel knows no more keep their last hardware address, and those that it is asking for as well.
fn spare_addresses(fresh: &mut Inventory, former: BTreeMap<(u32, IpAddr), Neighbour>) {
    for (key, old) in former {
        if fresh.links.contains_key(&key.0) {
            let gone = Neighbour { mac: None, state: NeighbourState::None, ..old };
            let entry = fresh.neighbours.entry(key).or_insert(gone);
            entry.mac = entry.mac.or(old.mac);
        }
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.multicast.as_raw_fd()
    }
}
