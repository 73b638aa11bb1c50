//! A blocking rtnetlink socket: dumps, and batches of requests sent in one go.

use std::{io, os::fd::RawFd, time::Duration};

use ipmp_common::engine::ids::Family;
use nix::sys::{
    socket::{MsgFlags, setsockopt, sockopt},
    time::TimeVal,
};
use rtnetlink::{
    MulticastGroup,
    packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        address::AddressMessage,
        link::{LinkAttribute, LinkExtentMask, LinkMessage},
        neighbour::NeighbourMessage,
        route::RouteMessage,
        rule::RuleMessage,
    },
    sys,
};

mod batch;
mod frames;
mod inbox;

pub use self::batch::{Batch, Body, Request};
pub(super) use self::{
    batch::serialize,
    frames::{Frame, Frames},
    inbox::Inbox,
};
use self::{batch::serialize_raw, frames::is_kernels_own};
use super::{
    NetError,
    nexthop::{self, GET_NEXTHOP},
};

/// Receive buffer in bytes: an answer takes about 1 KiB of it, so a chunk of requests and a large dump both fit.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long the kernel may take for one answer; it holds the RTNL lock only for moments.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// A dump is repeated if the tables changed meanwhile (`NLM_F_DUMP_INTR`), this often at most.
const DUMP_ATTEMPTS: usize = 8;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// What to dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Interfaces, without their counters.
    Links,
    /// Addresses of both families.
    Addresses,
    /// Routes of one family; of the local table only broadcast entries.
    Routes(Family),
    /// Neighbours of both families.
    Neighbours,
    /// Policy rules of one family.
    Rules(Family),
}

/// The socket.
#[derive(Debug)]
pub struct Socket {
    inner: sys::Socket,
    port: u32,
    sequence: u32,
    inbox: Inbox,
}

impl Socket {
    /// Opens one in the network namespace of the calling thread.
    pub fn open() -> Result<Self, NetError> {
        let (inner, port) = requesting()?;
        let timeout = TimeVal::new(ANSWER_TIMEOUT.as_secs().cast_signed(), 0);
        setsockopt(&inner, sockopt::ReceiveTimeout, &timeout)
            .map_err(|e| NetError::io("setting a netlink timeout", e.into()))?;
        Ok(Self { inner, port, sequence: 0, inbox: Inbox::new() })
    }

    /// Its port, by which notifications name who made a change.
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Reads a table; repeated while it changes under our hands.
    pub fn dump(&mut self, table: Table) -> Result<Vec<RouteNetlinkMessage>, NetError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(messages) = self.dump_once(table)? {
                return Ok(messages);
            }
        }
        Err(NetError::Interrupted)
    }

    fn dump_once(&mut self, table: Table) -> Result<Option<Vec<RouteNetlinkMessage>>, NetError> {
        let sequence = self.next_sequence();
        let mut bytes = Vec::new();
        serialize(dump_request(table), NLM_F_DUMP, sequence, &mut bytes);
        self.read_dump(sequence, &bytes, |frame| if is_kernels_own(frame) { None } else { frame.decode() })
    }

    /// Asks for one interface, counters included.
    pub fn link(&mut self, ifindex: u32) -> Result<LinkMessage, NetError> {
        let sequence = self.next_sequence();
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        let mut bytes = Vec::new();
        serialize(RouteNetlinkMessage::GetLink(message), 0, sequence, &mut bytes);
        self.send(&bytes)?;
        loop {
            self.receive()?;
            if self.inbox.cut {
                return Err(NetError::Interrupted);
            }
            for frame in self.inbox.frames().filter(|frame| frame.sequence == sequence) {
                if let Some(refusal) = (frame.kind == NLMSG_ERROR).then(|| frame.refusal()).flatten() {
                    return Err(refusal);
                }
                if let Some(RouteNetlinkMessage::NewLink(link)) = frame.decode() {
                    return Ok(link);
                }
            }
        }
    }

    /// Reads what is wanted of each nexthop object's message; nothing where the kernel has no such objects.
    pub fn dump_nexthops<T>(&mut self, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, NetError> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.next_sequence();
            let mut bytes = Vec::new();
            serialize_raw(GET_NEXTHOP, &[0; nexthop::HEADER], NLM_F_DUMP, sequence, &mut bytes);
            match self.read_dump(sequence, &bytes, |frame| read(frame.payload)) {
                Ok(Some(nexthops)) => return Ok(nexthops),
                Ok(None) => {}
                Err(NetError::Refused { errno: libc::EOPNOTSUPP, .. }) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        Err(NetError::Interrupted)
    }

    /// None: the table changed meanwhile, or an answer was larger than expected.
    fn read_dump<T>(
        &mut self,
        sequence: u32,
        request: &[u8],
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, NetError> {
        self.send(request)?;
        let mut messages = Vec::new();
        let mut consistent = true;
        loop {
            self.receive()?;
            consistent &= !self.inbox.cut;
            for frame in self.inbox.frames() {
                if frame.sequence != sequence {
                    continue;
                }
                consistent &= frame.flags & NLM_F_DUMP_INTR == 0;
                match frame.kind {
                    NLMSG_DONE => return Ok(consistent.then_some(messages)),
                    NLMSG_ERROR => return Err(frame.refusal().map_or(NetError::Interrupted, |e| e)),
                    _ => messages.extend(read(&frame)),
                }
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetError> {
        let sent = self.inner.send(bytes, 0).map_err(|e| NetError::io("sending to netlink", e))?;
        if sent == bytes.len() {
            return Ok(());
        }
        Err(NetError::io("sending to netlink", io::Error::from(io::ErrorKind::WriteZero)))
    }

    fn receive(&mut self) -> Result<(), NetError> {
        self.inbox.receive(&self.inner, MsgFlags::empty())
    }
}

/// A socket for requests to the kernel, and its port.
pub(super) fn requesting() -> Result<(sys::Socket, u32), NetError> {
    let (socket, port) = bound()?;
    let kernel = sys::SocketAddr::new(0, 0);
    socket.connect(&kernel).map_err(|e| NetError::io("connecting a netlink socket", e))?;
    Ok((socket, port))
}

/// A socket that hears what these groups are told.
pub(super) fn listening(groups: &[MulticastGroup]) -> Result<sys::Socket, NetError> {
    let (socket, _) = bound()?;
    for group in groups {
        let joined = socket.add_membership(*group as u32);
        joined.map_err(|e| NetError::io("subscribing to netlink notifications", e))?;
    }
    Ok(socket)
}

fn bound() -> Result<(sys::Socket, u32), NetError> {
    let mut socket = sys::Socket::new(sys::protocols::NETLINK_ROUTE)
        .map_err(|e| NetError::io("opening a netlink socket", e))?;
    let own = socket.bind_auto().map_err(|e| NetError::io("binding a netlink socket", e))?;
    tune(&socket);
    Ok((socket, own.port_number()))
}

/// Larger buffers, explanations in errors, checked dumps: each is an improvement that an old kernel or a missing
/// privilege may refuse, so failures are of no consequence.
fn tune(socket: &sys::Socket) {
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_cap_ack(true);
    let _ = socket.set_netlink_get_strict_chk(true);
}

/// Reads one datagram into `buffer`, growing it to the datagram's size.
pub(super) fn receive(socket: &sys::Socket, buffer: &mut Vec<u8>, flags: i32) -> Result<(), NetError> {
    loop {
        buffer.clear();
        let peeked = socket.recv(buffer, flags | libc::MSG_PEEK | libc::MSG_TRUNC);
        let result = peeked.and_then(|length| {
            buffer.clear();
            buffer.reserve(length);
            socket.recv(buffer, flags)
        });
        match result {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(NetError::io("reading from netlink", e)),
        }
    }
}

const fn number(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn dump_request(table: Table) -> RouteNetlinkMessage {
    match table {
        Table::Links => {
            let mut message = LinkMessage::default();
            message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
            RouteNetlinkMessage::GetLink(message)
        }
        Table::Addresses => RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        Table::Routes(family) => {
            let mut message = RouteMessage::default();
            message.header.address_family = number(family);
            RouteNetlinkMessage::GetRoute(message)
        }
        Table::Rules(family) => {
            let mut message = RuleMessage::default();
            message.header.family = number(family);
            RouteNetlinkMessage::GetRule(message)
        }
        Table::Neighbours => RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()),
    }
}

impl std::os::fd::AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}
