//! Asks the kernel to resolve a neighbour on a given interface, without needing a route through it.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, RawFd},
};

use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_CREATE, NLMSG_ERROR},
    packet_route::{
        RouteNetlinkMessage,
        neighbour::{
            NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
        },
        route::RouteProtocol,
    },
    sys,
};

use super::{
    NetError,
    address::{destination, family},
    socket::{Frames, receive, requesting, serialize},
};

/// `NDA_PROTOCOL` of managed entries of our making (kernel 5.0): they outlive the daemon, and are told from others' so.
pub const NDA_PROTO_IPMP: u8 = super::MARK;

/// Answers taken in one call.
const DRAIN_DATAGRAMS: usize = 256;

/// The socket for it. Non-blocking; answers are collected by [`Self::drain`].
#[derive(Debug)]
pub struct Resolver {
    socket: sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
    managed: bool,
}

impl Resolver {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> Result<Self, NetError> {
        let (socket, _) = requesting()?;
        socket.set_non_blocking(true).map_err(|e| NetError::io("making netlink non-blocking", e))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(4096), managed: true })
    }

    /// Asks now and returns at once; the result arrives as a neighbour change. `NTF_USE` sends the request,
    /// `NTF_EXT_MANAGED` (kernel 5.16) lets the kernel keep the entry fresh by itself.
    pub fn resolve(&mut self, ifindex: u32, ip: IpAddr) -> Result<(), NetError> {
        self.ask(ifindex, ip, self.managed, NLM_F_CREATE)
    }

    /// The kernel need not keep this entry fresh any longer. It stays for whoever uses it, and ages as others do.
    pub fn release(&mut self, ifindex: u32, ip: IpAddr) -> Result<(), NetError> {
        // Without the flag in the request the kernel takes it from the entry (`neigh_update_flags` in
        // net/core/neighbour.c); one that has gone is not made anew.
        self.ask(ifindex, ip, false, 0)
    }

    fn ask(&mut self, ifindex: u32, ip: IpAddr, managed: bool, flags: u16) -> Result<(), NetError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(ip);
        message.header.ifindex = ifindex;
        message.header.flags = NeighbourFlags::Use;
        message.header.state = NeighbourState::None;
        message.attributes.push(destination(ip));
        if managed {
            message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
            message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::from(NDA_PROTO_IPMP)));
        }
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(64);
        let message = RouteNetlinkMessage::NewNeighbour(message);
        serialize(message, flags | NLM_F_ACK, self.sequence, &mut bytes);
        self.socket.send(&bytes, 0).map_err(|e| NetError::io("asking for a neighbour", e))?;
        Ok(())
    }

    /// Collects refusals of earlier requests. A kernel that does not know managed entries is asked without from
    /// then on, and the refused request must be repeated by the caller, as after any refusal.
    pub fn drain(&mut self) -> Vec<NetError> {
        let mut refusals = Vec::new();
        for _ in 0..DRAIN_DATAGRAMS {
            if receive(&self.socket, &mut self.buffer, 0).is_err() {
                break;
            }
            for frame in Frames(&self.buffer).filter(|frame| frame.kind == NLMSG_ERROR) {
                let Some(refusal) = frame.refusal() else { continue };
                if self.managed && matches!(refusal.errno(), libc::EINVAL | libc::EOPNOTSUPP) {
                    self.managed = false;
                }
                refusals.push(refusal);
            }
        }
        refusals
    }
}

impl AsRawFd for Resolver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
