//! What has arrived on a socket, taken in as few system calls as it needs: a batch's acknowledgements are datagrams of their
//! own, and so is each notification.

use std::{
    io::{self, IoSliceMut},
    os::fd::AsRawFd as _,
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, recvmmsg},
};
use rtnetlink::sys;

use super::{Frame, Frames};
use crate::net::NetError;

/// Datagrams taken at once.
const DATAGRAMS: usize = 16;
/// Bytes for each: a dump comes in datagrams of up to 32 KiB (`netlink_dump` in
/// `net/netlink/af_netlink.c`). Memory is only taken by what is used, except where all of it is locked.
const ROOM: usize = 32 << 10;

/// Room for datagrams, and those that were received last.
#[derive(Debug)]
pub(in crate::net) struct Inbox {
    buffers: Vec<Vec<u8>>,
    lengths: Vec<usize>,
    /// One did not fit, and is lost; there is more room for the next.
    pub(in crate::net) cut: bool,
}

impl Inbox {
    pub(in crate::net) fn new() -> Self {
        Self { buffers: vec![vec![0; ROOM]; DATAGRAMS], lengths: Vec::with_capacity(DATAGRAMS), cut: false }
    }

    /// Waits for one, unless the flags say otherwise, and takes what else is there.
    pub(in crate::net) fn receive(&mut self, socket: &sys::Socket, flags: MsgFlags) -> Result<(), NetError> {
        self.lengths.clear();
        self.cut = false;
        loop {
            let mut headers = MultiHeaders::<()>::preallocate(DATAGRAMS, None);
            let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let flags = flags | MsgFlags::MSG_WAITFORONE;
            match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
                Ok(received) => {
                    for datagram in received {
                        self.lengths.push(datagram.bytes);
                        self.cut |= datagram.flags.contains(MsgFlags::MSG_TRUNC);
                    }
                    break;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(NetError::io("reading from netlink", io::Error::from(errno))),
            }
        }
        if self.cut {
            let room = self.buffers.iter().map(Vec::len).max().unwrap_or(ROOM).saturating_mul(2);
            self.buffers.iter_mut().for_each(|buffer| buffer.resize(room, 0));
        }
        Ok(())
    }

    /// The messages in what was received last.
    pub(in crate::net) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let filled = self.buffers.iter().zip(&self.lengths);
        filled.flat_map(|(buffer, length)| Frames(buffer.get(..*length).unwrap_or(buffer)))
    }
}
