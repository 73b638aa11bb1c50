//! The last rung for replies: a packet socket per member, with the kernel's receive time.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use ipmp_common::wire::{self, Kind, PROBE_FRAME_MAX, Probe};
use nix::{
    cmsg_space,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
        time::TimeSpec,
    },
    time::{ClockId, clock_gettime},
};

/// Replies taken at one wake-up; the rest stays readable.
const MAX_DRAIN: usize = 1024;
/// Room for a probe and two VLAN tags; a longer message is no reply to us.
const BUFFER_LEN: usize = PROBE_FRAME_MAX + 8;
/// `linux/if_packet.h`.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

// Classic BPF op-codes (linux/filter.h): load half-word, byte, byte at X; X = 4 * IPv4 header length; compare.
const LDH: u16 = 0x28;
const LDB: u16 = 0x30;
const LDB_X: u16 = 0x50;
const LDX_IHL: u16 = 0xb1;
const JEQ: u16 = 0x15;
const JSET: u16 = 0x45;
const RET: u16 = 0x06;

/// Echo replies of both families, untagged: a tag for us was stripped by the kernel.
const FILTER: [libc::sock_filter; 16] = [
    op(LDH, 0, 0, 12),
    op(JEQ, 0, 7, 0x0800),
    op(LDB, 0, 0, 23),
    op(JEQ, 0, 11, 1),
    op(LDH, 0, 0, 20),
    op(JSET, 9, 0, 0x3fff),
    op(LDX_IHL, 0, 0, 14),
    op(LDB_X, 0, 0, 14),
    op(JEQ, 5, 6, 0),
    op(JEQ, 0, 5, 0x86dd),
    op(LDB, 0, 0, 20),
    op(JEQ, 0, 3, 58),
    op(LDB, 0, 0, 54),
    op(JEQ, 0, 1, 129),
    op(RET, 0, 0, 0xffff),
    op(RET, 0, 0, 0),
];

/// A packet socket bound to one interface.
pub(super) struct ReplySocket {
    fd: OwnedFd,
    ifindex: u32,
}

impl ReplySocket {
    pub(super) fn open(ifindex: u32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // Protocol 0: nothing is received before the filter stands and the socket is bound.
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just returned this descriptor to us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut filter = FILTER;
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        set_option(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
        if let Err(error) = set_option(&fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32) {
            tracing::debug!(%error, "outgoing frames are seen too, and rejected by their addresses");
        }
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
        bind(&fd, ifindex)?;
        Ok(Self { fd, ifindex })
    }

    /// Hands each waiting reply in the form of our probes, with its kernel time in `CLOCK_MONOTONIC`
    /// nanoseconds and the interface, to `accept`.
    pub(super) fn drain(&self, mut accept: impl FnMut(&Probe, u32, u64)) -> io::Result<()> {
        let to_monotonic = realtime_offset()?;
        let mut buffer = [0; BUFFER_LEN];
        let mut control = cmsg_space!(TimeSpec);
        for _ in 0..MAX_DRAIN {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg::<()>(
                self.fd.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            );
            let (len, time) = match received {
                Ok(message) => {
                    let time = message.cmsgs()?.find_map(|control| {
                        if let ControlMessageOwned::ScmTimestampns(time) = control {
                            Some(time)
                        } else {
                            None
                        }
                    });
                    (message.bytes, time)
                }
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let frame = buffer.get(..len).unwrap_or(&[]);
            if let (Ok(probe), Some(time)) = (wire::recognise(frame, Kind::Reply), time) {
                let at_ns = i128::from(nanos(time)) - to_monotonic;
                accept(&probe, self.ifindex, u64::try_from(at_ns).unwrap_or(0));
            }
        }
        Ok(())
    }
}

impl AsFd for ReplySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn nanos(time: TimeSpec) -> u64 {
    Duration::from(time).as_nanos() as u64
}

/// `CLOCK_REALTIME` less `CLOCK_MONOTONIC`, now: packet sockets know only the former.
fn realtime_offset() -> io::Result<i128> {
    let monotonic = nanos(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    let realtime = nanos(clock_gettime(ClockId::CLOCK_REALTIME)?);
    Ok(i128::from(realtime) - i128::from(monotonic))
}

fn set_option<T>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is as long as said and outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn bind(fd: &OwnedFd, ifindex: u32) -> io::Result<()> {
    // SAFETY: a plain C structure, valid when zeroed.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex as i32;
    // SAFETY: the address is as long as said and outlives the call.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
