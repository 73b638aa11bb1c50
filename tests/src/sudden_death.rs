//! Kills a process at a chosen step of one of its threads, without any help from the process: see [`crate::tracer`].
//!
//! A step is a system call that may change something outside the process; of a netlink batch each message is one. Between
//! two of them the process can be killed at any moment and nobody sees a difference, so killing it before each step in turn
//! tries every crash there is.

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::tracer::{Call, Next, Plot, Traced, Tracer};

/// Nothing outside the process changes by these. What is not listed here counts as a step.
const HARMLESS: [libc::c_long; 37] = [
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_epoll_ctl,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mkdirat,
    libc::SYS_mlockall,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_yield,
    libc::SYS_setsockopt,
    libc::SYS_socket,
    libc::SYS_statx,
];
/// `RTM_NEW…` and `RTM_DEL…` have the two lowest bits 0 and 1, `RTM_GET…` has 2 (linux/rtnetlink.h).
const RTM_GET: u16 = 2;

/// What became of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Killed just before this.
    Killed(String),
    /// It did fewer steps: these.
    Survived(Vec<String>),
}

/// Waits for the step. Dropped, or asked for the fate, it lets go of a process that has not come to it.
#[derive(Debug)]
pub struct SuddenDeath(Tracer<Fate>);

impl SuddenDeath {
    /// Prepares to kill `process` before step number `step` (from 0) of its thread of this name; returns when the thread is
    /// watched.
    ///
    /// # Errors
    /// When there is no such thread, or it may not be traced.
    pub fn at(process: Pid, thread_name: &str, step: usize) -> Result<Self> {
        Tracer::start(process, thread_name, Countdown { left: step, seen: Vec::new(), step: None }).map(Self)
    }

    /// Whether the process is dead.
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    /// What became of it. A process that is still alive goes on undisturbed.
    ///
    /// # Errors
    /// When tracing failed.
    pub fn fate(self) -> Result<Fate> {
        self.0.outcome()
    }
}

/// Whether it opens a file that is there, to read it (openat(2)).
fn only_reads(call: &Call) -> bool {
    let writes = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    call.number == libc::SYS_openat && call.arguments[2] & writes as u64 == 0
}

struct Countdown {
    left: usize,
    seen: Vec<String>,
    /// Before which the process is killed: set while the call runs that does what comes before it.
    step: Option<String>,
}

impl Plot for Countdown {
    type Outcome = Fate;

    fn before(&mut self, traced: &Traced, call: &Call) -> Result<Next> {
        if HARMLESS.contains(&call.number) || only_reads(call) {
            return Ok(Next::Call);
        }
        let Some(messages) = traced.netlink_messages(call) else {
            return if self.count(format!("system call {}", call.number)) {
                self.after(traced)
            } else {
                Ok(Next::Call)
            };
        };
        for message in messages.into_iter().filter(|message| message.kind & 3 != RTM_GET) {
            if !self.count(format!("netlink message of type {}", message.kind)) {
                continue;
            }
            if message.offset == 0 {
                return self.after(traced);
            }
            // The kernel takes the messages up to one whose length is impossible (netlink_rcv_skb).
            traced.write(message.address, &[0; 4]).context("cutting a batch short")?;
            return Ok(Next::Return);
        }
        Ok(Next::Call)
    }

    fn after(&mut self, traced: &Traced) -> Result<Next> {
        kill(traced.process(), Signal::SIGKILL).context("killing it")?;
        Ok(Next::End)
    }

    fn outcome(self) -> Fate {
        self.step.map_or(Fate::Survived(self.seen), Fate::Killed)
    }
}

impl Countdown {
    /// Whether this step is the one.
    fn count(&mut self, step: String) -> bool {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            self.seen.push(step);
            return false;
        }
        self.step = Some(step);
        true
    }
}
