//! Many frames in one system call.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Frames handed to the kernel in one `sendmmsg`. The cost of the system call is shared well before that.
const MAX_BATCH: usize = 64;

/// A frame and the interface it shall leave through.
pub(super) trait Outgoing {
    /// The bytes from the Ethernet header on.
    fn bytes(&self) -> &[u8];
    /// The interface.
    fn ifindex(&self) -> u32;
}

/// An `AF_PACKET` socket that receives nothing (protocol 0, see packet(7)).
#[derive(Debug)]
pub(super) struct FrameSocket(OwnedFd);

impl FrameSocket {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        Ok(Self(socket(AddressFamily::Packet, SockType::Raw, flags, None)?))
    }

    /// Sends all frames, in order; `outcome` learns of each whether the kernel took it.
    pub(super) fn send<T: Outgoing>(&self, frames: &[T], mut outcome: impl FnMut(&T, io::Result<()>)) {
        for chunk in frames.chunks(MAX_BATCH) {
            let mut rest = chunk;
            while !rest.is_empty() {
                match self.send_some(rest) {
                    Ok(sent) => {
                        let (done, open) = rest.split_at(sent.clamp(1, rest.len()));
                        done.iter().for_each(|frame| outcome(frame, Ok(())));
                        rest = open;
                    }
                    // sendmmsg(2) reports an error only for the first message of a call.
                    Err(error) => {
                        let Some((failed, open)) = rest.split_first() else { break };
                        outcome(failed, Err(error));
                        rest = open;
                    }
                }
            }
        }
    }

    fn send_some<T: Outgoing>(&self, frames: &[T]) -> io::Result<usize> {
        let mut addresses: Vec<libc::sockaddr_ll> =
            frames.iter().map(|frame| link_address(frame.ifindex())).collect();
        let mut vectors: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.bytes().as_ptr().cast_mut().cast(),
                iov_len: frame.bytes().len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = addresses
            .iter_mut()
            .zip(&mut vectors)
            .map(|(address, vector)| {
                // SAFETY: mmsghdr consists of integers and pointers, for which all zeroes is a value.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
                message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let count = messages.len() as libc::c_uint;
        // SAFETY: every pointer in `messages` points into `addresses`, `vectors` and the frames, all of which
        // outlive the call; the kernel only reads through them.
        let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

fn link_address(ifindex: u32) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: ifindex as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}
