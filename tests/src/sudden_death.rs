//! Kills a process at a chosen step of one of its threads, without any help from the process: its own program, as it is
//! shipped, is watched by ptrace(2).
//!
//! A step is a system call that may change something outside the process; of a netlink batch each message is one. Between
//! two of them the process can be killed at any moment and nobody sees a difference, so killing it before each step in turn
//! tries every crash there is.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

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
/// Length of `struct nlmsghdr`.
const NLMSGHDR: usize = 16;
/// `RTM_NEW…` and `RTM_DEL…` have the two lowest bits 0 and 1, `RTM_GET…` has 2 (linux/rtnetlink.h).
const RTM_GET: u16 = 2;
/// Between two looks at the process.
const LOOK: Duration = Duration::from_micros(100);

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
pub struct SuddenDeath {
    release: Arc<AtomicBool>,
    watcher: Option<JoinHandle<Result<Fate>>>,
}

impl SuddenDeath {
    /// Prepares to kill `process` before step number `step` (from 0) of its thread of this name; returns when the thread is
    /// watched.
    ///
    /// # Errors
    /// When there is no such thread, or it may not be traced.
    pub fn at(process: Pid, thread_name: &str, step: usize) -> Result<Self> {
        let thread = find_thread(process, thread_name)?;
        let memory = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/{process}/mem"))
            .context("the process's memory")?;
        let release = Arc::new(AtomicBool::new(false));
        let let_go = Arc::clone(&release);
        let (ready, watched) = std::sync::mpsc::channel();
        let observer = thread::spawn(move || {
            // What one thread traces no other may wait for.
            ptrace::seize(thread, ptrace::Options::PTRACE_O_TRACESYSGOOD).context("tracing the thread")?;
            ptrace::interrupt(thread).context("stopping the thread")?;
            let watch =
                Watch { process, thread, memory, countdown: step, seen: Vec::new(), doomed: None, let_go };
            watch.wait()?;
            // The receiver may have given up.
            let _ = ready.send(());
            watch.run()
        });
        if watched.recv().is_ok() {
            return Ok(Self { release, watcher: Some(observer) });
        }
        let fate = observer.join().map_err(|_| anyhow!("the watching thread panicked"))?;
        Err(fate.err().unwrap_or_else(|| anyhow!("the thread ended")))
    }

    /// Whether the process is dead.
    pub fn is_over(&self) -> bool {
        self.watcher.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What became of it. A process that is still alive goes on undisturbed.
    ///
    /// # Errors
    /// When tracing failed.
    pub fn fate(mut self) -> Result<Fate> {
        self.release.store(true, Ordering::Relaxed);
        let watcher = self.watcher.take().context("asked once")?;
        watcher.join().map_err(|_| anyhow!("the watching thread panicked"))?
    }
}

impl Drop for SuddenDeath {
    fn drop(&mut self) {
        self.release.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// The watching thread. When it ends, the kernel lets the traced thread go (ptrace(2)).
struct Watch {
    process: Pid,
    thread: Pid,
    memory: File,
    countdown: usize,
    seen: Vec<String>,
    /// Set while the call runs after which the process is killed.
    doomed: Option<String>,
    let_go: Arc<AtomicBool>,
}

impl Watch {
    fn run(mut self) -> Result<Fate> {
        loop {
            match ptrace::syscall(self.thread, None) {
                Ok(()) => {}
                Err(Errno::ESRCH) => return Ok(Fate::Survived(self.seen)),
                Err(error) => return Err(error).context("going on"),
            }
            match self.wait()? {
                Some(WaitStatus::PtraceSyscall(_)) => {}
                Some(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | None => {
                    return Ok(Fate::Survived(self.seen));
                }
                Some(_) => continue,
            }
            let last = self.doomed.take();
            if let Some(step) = last.map_or_else(|| self.before_call(), |step| Ok(Some(step)))? {
                kill(self.process, Signal::SIGKILL).context("killing it")?;
                return Ok(Fate::Killed(step));
            }
        }
    }

    /// `None`: released meanwhile.
    fn wait(&self) -> Result<Option<WaitStatus>> {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        loop {
            let status = waitpid(self.thread, Some(flags)).context("waiting for the thread")?;
            if status != WaitStatus::StillAlive {
                return Ok(Some(status));
            }
            if self.doomed.is_none() && self.let_go.load(Ordering::Relaxed) {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }

    /// The step before which to kill it at once, if it is about to do it.
    fn before_call(&mut self) -> Result<Option<String>> {
        let info = ptrace::syscall_info(self.thread).context("the system call")?;
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return Ok(None);
        }
        // SAFETY: `op` says that this member of the union is the one filled in.
        let call = unsafe { info.u.entry };
        let number = call.nr as libc::c_long;
        if HARMLESS.contains(&number) {
            return Ok(None);
        }
        let (address, length) = (call.args[1], call.args[2] as usize);
        let messages = if number == libc::SYS_sendto { self.messages(address, length) } else { None };
        let Some(messages) = messages else {
            return Ok(self.count(format!("system call {number}")));
        };
        for (offset, kind) in messages.into_iter().filter(|(_, kind)| kind & 3 != RTM_GET) {
            let Some(step) = self.count(format!("netlink message of type {kind}")) else { continue };
            if offset == 0 {
                return Ok(Some(step));
            }
            // The kernel takes the messages up to one whose length is impossible (netlink_rcv_skb).
            self.memory.write_all_at(&[0; 4], address + offset as u64).context("cutting a batch short")?;
            self.doomed = Some(step);
            return Ok(None);
        }
        Ok(None)
    }

    fn count(&mut self, step: String) -> Option<String> {
        if let Some(left) = self.countdown.checked_sub(1) {
            self.countdown = left;
            self.seen.push(step);
            return None;
        }
        Some(step)
    }

    /// Offset and type of each netlink message, if that is what the buffer holds.
    fn messages(&self, address: u64, length: usize) -> Option<Vec<(usize, u16)>> {
        let mut buffer = vec![0; length];
        self.memory.read_exact_at(&mut buffer, address).ok()?;
        let mut messages = Vec::new();
        let mut offset = 0;
        while offset < length {
            let header = buffer.get(offset..offset + NLMSGHDR)?;
            let size = u32::from_ne_bytes(header.get(..4)?.try_into().ok()?) as usize;
            messages.push((offset, u16::from_ne_bytes(header.get(4..6)?.try_into().ok()?)));
            offset += size.max(NLMSGHDR).next_multiple_of(4);
        }
        (offset == length).then_some(messages)
    }
}

fn find_thread(process: Pid, name: &str) -> Result<Pid> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).context("the process's threads")?;
    for task in tasks {
        let task = task.context("a thread")?;
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            let id = task.file_name().to_string_lossy().parse().context("a thread's number")?;
            return Ok(Pid::from_raw(id));
        }
    }
    Err(anyhow!("process {process} has no thread {name}"))
}
