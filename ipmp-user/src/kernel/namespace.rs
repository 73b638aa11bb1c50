//! Which network namespace this is, in words that the carrier programs can read from the kernel's structures: tracing
//! sees the devices of all namespaces, and their ifindexes overlap.

use std::{
    fs,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    ptr,
};

use super::driver::ioctl_socket;

/// `asm-generic/socket.h`; since 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;
/// The calling thread's: namespaces belong to threads (`setns(2)`).
const NAMESPACE_FILE: &str = "/proc/thread-self/ns/net";

/// A network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespace {
    /// By its cookie, which is never given to another (`struct net`'s `net_cookie`).
    Cookie(u64),
    /// By the inode number of its file (`struct net`'s `ns.inum`), which is unique as long as it lives: before 5.14 the
    /// cookie is there but made only when a BPF program asks for it, and not told to user space.
    Inode(u64),
    /// The kernel tells neither.
    Unknown,
}

impl Namespace {
    /// The calling thread's.
    pub(super) fn current() -> Self {
        if let Some(cookie) = cookie() {
            return Self::Cookie(cookie);
        }
        match fs::metadata(NAMESPACE_FILE) {
            Ok(file) => Self::Inode(file.ino()),
            Err(error) => {
                tracing::debug!(%error, "{NAMESPACE_FILE}");
                Self::Unknown
            }
        }
    }

    /// `CarrierKey::netns_cookie`.
    pub(super) const fn key(self) -> u64 {
        match self {
            Self::Cookie(key) | Self::Inode(key) => key,
            Self::Unknown => 0,
        }
    }
}

fn cookie() -> Option<u64> {
    let socket = ioctl_socket().ok()?;
    let mut cookie = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the value is as long as said and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            ptr::from_mut(&mut cookie).cast(),
            &raw mut len,
        )
    };
    (result == 0 && cookie != 0).then_some(cookie)
}

#[cfg(test)]
mod tests;
