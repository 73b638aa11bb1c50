//! The carrier where no tracing program tells: `ETHTOOL_GLINK`, polled at a bounded cost. It costs about a
//! microsecond and sees the truth at once, while `RTM_NEWLINK` may be withheld for a second (linkwatch).

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Between polls, normally.
const INTERVAL_NS: u64 = 10_000_000;
/// Between polls after a link event.
const FAST_INTERVAL_NS: u64 = 1_000_000;
/// How long fast polling lasts: linkwatch withholds a second event for up to a second.
const FAST_FOR_NS: u64 = 1_200_000_000;
/// Polls a second over all members; at a microsecond each, one hundredth of a CPU.
const MAX_POLLS_PER_SECOND: u64 = 10_000;

/// A carrier change that polling saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierChange {
    /// The interface.
    pub ifindex: u32,
    /// Whether the link is up now.
    pub up: bool,
    /// When it was seen, `CLOCK_MONOTONIC` nanoseconds: at most one interval after it happened.
    pub at_ns: u64,
}

/// When to poll next. Pure; the clock is the caller's.
#[derive(Clone, Copy, Debug, Default)]
struct Schedule {
    next_ns: u64,
    fast_until_ns: u64,
}

impl Schedule {
    /// Links fail in company (a switch, a dual-port card), so the others are looked at in the same turn, before
    /// anything is moved to one of them.
    fn link_event(&mut self, now_ns: u64) {
        self.fast_until_ns = now_ns.saturating_add(FAST_FOR_NS);
        self.next_ns = self.next_ns.min(now_ns);
    }

    const fn due(&self, now_ns: u64) -> bool {
        now_ns >= self.next_ns
    }

    fn polled(&mut self, now_ns: u64, members: usize) {
        let wanted = if now_ns < self.fast_until_ns { FAST_INTERVAL_NS } else { INTERVAL_NS };
        let least = members as u64 * (1_000_000_000 / MAX_POLLS_PER_SECOND);
        self.next_ns = now_ns.saturating_add(wanted.max(least));
    }
}

struct Polled {
    ifindex: u32,
    name: String,
    up: bool,
}

/// The members that are polled.
#[derive(Default)]
pub(super) struct Poller {
    members: Vec<Polled>,
    schedule: Schedule,
    socket: Option<OwnedFd>,
}

impl Poller {
    /// Starts to poll an interface; its state now. An error means that its driver cannot tell.
    pub(super) fn add(&mut self, ifindex: u32, name: &str) -> io::Result<bool> {
        let up = self.link_up(name)?;
        self.remove(ifindex);
        self.members.push(Polled { ifindex, name: name.to_owned(), up });
        Ok(up)
    }

    pub(super) fn remove(&mut self, ifindex: u32) {
        self.members.retain(|member| member.ifindex != ifindex);
    }

    pub(super) fn link_event(&mut self, now_ns: u64) {
        self.schedule.link_event(now_ns);
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        (!self.members.is_empty()).then_some(self.schedule.next_ns)
    }

    /// Polls all members if it is time; what changed since the last poll.
    pub(super) fn poll(&mut self, now_ns: u64) -> Vec<CarrierChange> {
        if self.members.is_empty() || !self.schedule.due(now_ns) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let mut members = std::mem::take(&mut self.members);
        for member in &mut members {
            match self.link_up(&member.name) {
                Ok(up) if up != member.up => {
                    member.up = up;
                    changes.push(CarrierChange { ifindex: member.ifindex, up, at_ns: now_ns });
                }
                Ok(_) => {}
                // It was renamed, or it is gone and netlink is about to say so.
                Err(_) => rename(member),
            }
        }
        self.members = members;
        if !changes.is_empty() {
            self.schedule.link_event(now_ns);
        }
        self.schedule.polled(now_ns, self.members.len());
        changes
    }

    /// Asks the driver (`ETHTOOL_GLINK`, linux/ethtool.h).
    pub(super) fn link_up(&mut self, name: &str) -> io::Result<bool> {
        const ETHTOOL_GLINK: u32 = 0x0a;
        const SIOCETHTOOL: libc::c_ulong = 0x8946;
        if self.socket.is_none() {
            self.socket = Some(ioctl_socket()?);
        }
        let fd = self.socket.as_ref().ok_or(io::ErrorKind::NotFound)?;
        // struct ethtool_value: command, data.
        let mut value = [ETHTOOL_GLINK, 0];
        // SAFETY: a plain C structure, valid when zeroed.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        // SAFETY: the request and the value it points to outlive the call.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(value[1] != 0)
    }
}

/// Any socket will do for ioctl(2) and for options of the namespace.
pub(super) fn ioctl_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned this descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn rename(member: &mut Polled) {
    let mut buffer = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the function demands.
    let found = unsafe { libc::if_indextoname(member.ifindex, buffer.as_mut_ptr().cast()) };
    if !found.is_null()
        && let Some(name) = CStr::from_bytes_until_nul(&buffer).ok().and_then(|name| name.to_str().ok())
    {
        name.clone_into(&mut member.name);
    }
}

#[cfg(test)]
mod tests;
