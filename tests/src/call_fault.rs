//! Makes chosen system calls of a process fail, without any help from the process: see [`crate::tracer`].
//!
//! What strace(1) calls system call fault injection, but by what a call is about and not by its number: a netlink
//! message of some type, or the writing of some file.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use nix::{errno::Errno, unistd::Pid};

use crate::tracer::{Call, NetlinkMessage, Next, Plot, Traced, Tracer};

/// Where the type stands in `struct nlmsghdr`.
const NLMSG_TYPE: u64 = 4;
/// No rtnetlink message has this type: the kernel answers EOPNOTSUPP to it (`rtnetlink_rcv_msg`).
const NO_TYPE: u16 = u16::MAX;

/// What a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// It sends a netlink message, be it one of many.
    Netlink {
        /// `RTM_…` (linux/rtnetlink.h).
        kind: u16,
        /// Bytes that it contains, such as those of an address or an ifindex.
        naming: Vec<u8>,
    },
    /// It opens this file for writing.
    Writing(PathBuf),
    /// It removes this file.
    Removing(PathBuf),
}

/// In which way it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Nothing is done, and the caller told so: of a batch, no message is sent.
    Undone(Errno),
    /// It is done, and the caller is told that it was not.
    Done(Errno),
    /// Of a batch, that message alone is refused, by the kernel: with EOPNOTSUPP.
    Message,
}

/// A call that is to fail once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFault {
    /// The first call of this kind.
    pub about: About,
    /// In this way.
    pub failing: Failing,
}

impl CallFault {
    /// A netlink message of this type, with these bytes in it, fails so.
    pub fn netlink(kind: u16, naming: impl Into<Vec<u8>>, failing: Failing) -> Self {
        Self { about: About::Netlink { kind, naming: naming.into() }, failing }
    }

    /// A file cannot be removed.
    pub fn removing(path: impl Into<PathBuf>, errno: Errno) -> Self {
        Self { about: About::Removing(path.into()), failing: Failing::Undone(errno) }
    }

    /// A file cannot be opened for writing.
    pub fn writing(path: impl Into<PathBuf>, errno: Errno) -> Self {
        Self { about: About::Writing(path.into()), failing: Failing::Undone(errno) }
    }
}

/// Why calls cannot be made to fail here, if they cannot: a reason to skip a test.
pub const fn missing() -> Option<&'static str> {
    if machine::KNOWN {
        None
    } else {
        Some("nobody has written down which registers hold a system call here")
    }
}

/// Waits for the calls. Dropped, or asked which are left, it lets go of the process.
#[derive(Debug)]
pub struct CallFaults(Tracer<Vec<CallFault>>);

impl CallFaults {
    /// Prepares `process`'s thread of this name: its next call that is what the first fault is about fails, then the next
    /// one after that which is what the second is about, and so on. Returns when the thread is watched.
    ///
    /// # Errors
    /// When there is no such thread, or it may not be traced.
    pub fn inject(process: Pid, thread_name: &str, mut faults: Vec<CallFault>) -> Result<Self> {
        faults.reverse();
        Tracer::start(process, thread_name, Injection { faults, errno: None }).map(Self)
    }

    /// The faults that have not come about. The process goes on undisturbed.
    ///
    /// # Errors
    /// When tracing failed.
    pub fn left(self) -> Result<Vec<CallFault>> {
        self.0.outcome()
    }
}

struct Injection {
    /// The next one is the last.
    faults: Vec<CallFault>,
    /// What the call returns that is under way.
    errno: Option<Errno>,
}

impl Injection {
    fn go_on(&self) -> Next {
        if self.faults.is_empty() { Next::End } else { Next::Call }
    }
}

impl Plot for Injection {
    type Outcome = Vec<CallFault>;

    fn before(&mut self, traced: &Traced, call: &Call) -> Result<Next> {
        let Some(fault) = self.faults.last() else { return Ok(Next::End) };
        let message = match &fault.about {
            About::Netlink { kind, naming } => {
                let messages = traced.netlink_messages(call).unwrap_or_default();
                let Some(message) = messages.into_iter().find(|message| is_about(message, *kind, naming))
                else {
                    return Ok(Next::Call);
                };
                Some(message)
            }
            About::Writing(path) if writes(traced, call, path) => None,
            About::Removing(path) if removes(traced, call, path) => None,
            About::Writing(_) | About::Removing(_) => return Ok(Next::Call),
        };
        let failing = fault.failing;
        self.faults.pop();
        match failing {
            Failing::Undone(errno) => {
                machine::skip_call(traced.thread())?;
                self.errno = Some(errno);
            }
            Failing::Done(errno) => self.errno = Some(errno),
            Failing::Message => {
                if let Some(message) = message {
                    traced.write(message.address + NLMSG_TYPE, &NO_TYPE.to_ne_bytes())?;
                }
                return Ok(self.go_on());
            }
        }
        Ok(Next::Return)
    }

    fn after(&mut self, traced: &Traced) -> Result<Next> {
        if let Some(errno) = self.errno.take() {
            machine::set_result(traced.thread(), -(errno as i64))?;
        }
        Ok(self.go_on())
    }

    fn outcome(mut self) -> Vec<CallFault> {
        self.faults.reverse();
        self.faults
    }
}

fn is_about(message: &NetlinkMessage, kind: u16, naming: &[u8]) -> bool {
    message.kind == kind
        && (naming.is_empty() || message.payload.windows(naming.len()).any(|bytes| bytes == naming))
}

fn writes(traced: &Traced, call: &Call, path: &Path) -> bool {
    call.number == libc::SYS_openat
        && call.arguments[2] & libc::O_ACCMODE as u64 != libc::O_RDONLY as u64
        && is_path(traced, call.arguments[1], path)
}

fn removes(traced: &Traced, call: &Call, path: &Path) -> bool {
    let argument = if call.number == libc::SYS_unlinkat {
        Some(1)
    } else {
        machine::UNLINK.filter(|n| *n == call.number).map(|_| 0)
    };
    argument.is_some_and(|argument| is_path(traced, call.arguments[argument], path))
}

fn is_path(traced: &Traced, address: u64, path: &Path) -> bool {
    traced.string(address).is_some_and(|bytes| OsStr::from_bytes(&bytes) == path)
}

/// See ptrace(2) and syscall(2).
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod machine {
    use anyhow::{Context as _, Result};
    use nix::{sys::ptrace, unistd::Pid};

    pub(super) const KNOWN: bool = true;
    /// Newer architectures have unlinkat(2) only.
    pub(super) const UNLINK: Option<libc::c_long> = Some(libc::SYS_unlink);

    /// At its entry: the kernel does nothing for a number that no call has.
    pub(super) fn skip_call(thread: Pid) -> Result<()> {
        let mut registers = ptrace::getregs(thread).context("reading the thread's registers")?;
        registers.orig_rax = u64::MAX;
        ptrace::setregs(thread, registers).context("setting the thread's registers")
    }

    /// At its return.
    pub(super) fn set_result(thread: Pid, result: i64) -> Result<()> {
        let mut registers = ptrace::getregs(thread).context("reading the thread's registers")?;
        registers.rax = result.cast_unsigned();
        ptrace::setregs(thread, registers).context("setting the thread's registers")
    }
}

#[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
mod machine {
    use anyhow::{Result, bail};
    use nix::unistd::Pid;

    pub(super) const KNOWN: bool = false;
    pub(super) const UNLINK: Option<libc::c_long> = None;

    pub(super) fn skip_call(_: Pid) -> Result<()> {
        bail!("{}", super::missing().unwrap_or_default())
    }

    pub(super) fn set_result(_: Pid, _: i64) -> Result<()> {
        bail!("{}", super::missing().unwrap_or_default())
    }
}
