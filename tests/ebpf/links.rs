//! What rtnetlink(7) tells of a link, heard as any other program would.

use std::{io, os::fd::AsRawFd as _, time::Duration};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
        socket, sockopt::RcvBufForce,
    },
};

/// `RTMGRP_LINK` (linux/rtnetlink.h).
const LINK_GROUP: u32 = 1;
/// linkwatch waits up to a second (`net/core/link_watch.c`); what has not come by then is not to come.
const QUIET: Duration = Duration::from_millis(1500);
/// Enough for every message that a test provokes: none is lost here.
const BUFFER: usize = 4 << 20;

/// A socket that hears of links from now on.
pub(crate) struct Listener(std::os::fd::OwnedFd);

impl Listener {
    pub(crate) fn open() -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        setsockopt(&socket, RcvBufForce, &BUFFER)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, LINK_GROUP))?;
        Ok(Self(socket))
    }

    /// How often the messages so far, and those until none comes any more, told that the carrier of a device that was up
    /// at first had changed.
    pub(crate) fn changes_of(&self, ifindex: u32) -> io::Result<usize> {
        let mut buffer = vec![0; 64 * 1024];
        let (mut up, mut changes) = (true, 0);
        let wait = PollTimeout::try_from(QUIET).map_err(io::Error::other)?;
        loop {
            let mut waiting = [PollFd::new(std::os::fd::AsFd::as_fd(&self.0), PollFlags::POLLIN)];
            if poll(&mut waiting, wait)? == 0 {
                return Ok(changes);
            }
            let len = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for (index, lower_up) in messages(&buffer[..len]) {
                if index == ifindex && lower_up != up {
                    up = lower_up;
                    changes += 1;
                }
            }
        }
    }
}

/// Interface and `IFF_LOWER_UP` of each `RTM_NEWLINK` in a datagram.
fn messages(mut data: &[u8]) -> Vec<(u32, bool)> {
    const RTM_NEWLINK: u16 = 16;
    const LOWER_UP: u32 = 1 << 16;
    let mut found = Vec::new();
    // struct nlmsghdr: length, type; struct ifinfomsg behind its 16 bytes: index at 4, flags at 8.
    while let Some(len) = data.first_chunk().map(|word| u32::from_ne_bytes(*word) as usize) {
        let Some(message) = data.get(..len).filter(|message| message.len() >= 32) else { break };
        let word = |at: usize| message[at..].first_chunk().map_or(0, |word| u32::from_ne_bytes(*word));
        if message[4..6] == RTM_NEWLINK.to_ne_bytes() {
            found.push((word(20), word(24) & LOWER_UP != 0));
        }
        data = data.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}
