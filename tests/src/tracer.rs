//! Stops a thread of an unmodified process at each of its system calls, by ptrace(2), for who wants to interfere.

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
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Length of `struct nlmsghdr`.
const NLMSGHDR: usize = 16;
/// Between two looks at the process.
const LOOK: Duration = Duration::from_micros(100);

/// A system call that a thread is about to make.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// `SYS_…`.
    pub number: libc::c_long,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// A message in a buffer that is about to be sent.
#[derive(Clone, Debug)]
pub struct NetlinkMessage {
    /// Where it begins in the process's memory.
    pub address: u64,
    /// Where it begins in the buffer.
    pub offset: usize,
    /// `RTM_…`.
    pub kind: u16,
    /// What follows `struct nlmsghdr`.
    pub payload: Vec<u8>,
}

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To its next call.
    Call,
    /// To the return of this one, where [`Plot::after`] is asked.
    Return,
    /// Untraced.
    End,
}

/// What is to happen at the system calls of a thread.
pub trait Plot: Send + 'static {
    /// What is told in the end.
    type Outcome: Send + 'static;

    /// The thread is about to make a call.
    ///
    /// # Errors
    /// When interfering fails; the thread then goes on untraced. Likewise below.
    fn before(&mut self, traced: &Traced, call: &Call) -> Result<Next>;

    /// The call has returned.
    ///
    /// # Errors
    /// See above.
    fn after(&mut self, traced: &Traced) -> Result<Next>;

    /// What came of it.
    fn outcome(self) -> Self::Outcome;
}

/// The tracing thread, from outside. Dropped, or asked for the outcome, it lets go of the process.
#[derive(Debug)]
pub struct Tracer<T> {
    release: Arc<AtomicBool>,
    watcher: Option<JoinHandle<Result<T>>>,
}

impl<T: Send + 'static> Tracer<T> {
    /// Traces the thread of this name; returns when it is traced.
    ///
    /// # Errors
    /// When there is no such thread, or it may not be traced.
    pub fn start(process: Pid, thread_name: &str, plot: impl Plot<Outcome = T>) -> Result<Self> {
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
            let watch = Watch { traced: Traced { process, thread, memory }, returning: false, let_go };
            watch.wait()?;
            // The receiver may have given up.
            let _ = ready.send(());
            watch.run(plot)
        });
        if watched.recv().is_ok() {
            return Ok(Self { release, watcher: Some(observer) });
        }
        let outcome = observer.join().map_err(|_| anyhow!("the tracing thread panicked"))?;
        Err(outcome.err().unwrap_or_else(|| anyhow!("the thread ended")))
    }

    /// Whether tracing has ended by itself.
    pub fn is_over(&self) -> bool {
        self.watcher.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What came of it. A process that is alive goes on undisturbed.
    ///
    /// # Errors
    /// When tracing failed.
    pub fn outcome(mut self) -> Result<T> {
        self.release.store(true, Ordering::Relaxed);
        let watcher = self.watcher.take().context("asked once")?;
        watcher.join().map_err(|_| anyhow!("the tracing thread panicked"))?
    }
}

impl<T> Drop for Tracer<T> {
    fn drop(&mut self) {
        self.release.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// The stopped thread.
#[derive(Debug)]
pub struct Traced {
    process: Pid,
    thread: Pid,
    memory: File,
}

impl Traced {
    /// Whose thread it is.
    pub const fn process(&self) -> Pid {
        self.process
    }

    /// The thread.
    pub const fn thread(&self) -> Pid {
        self.thread
    }

    /// Changes the process's memory.
    ///
    /// # Errors
    /// When nothing is mapped there.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.memory.write_all_at(bytes, address).context("writing to the process's memory")
    }

    /// A string of C, without its end; `None`: not readable, or longer than any path.
    pub fn string(&self, address: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; libc::PATH_MAX as usize];
        // Short at the end of what is mapped.
        let length = self.memory.read_at(&mut bytes, address).ok()?;
        let end = bytes[..length].iter().position(|byte| *byte == 0)?;
        bytes.truncate(end);
        Some(bytes)
    }

    /// The netlink messages that a call sends, if it does.
    pub fn netlink_messages(&self, call: &Call) -> Option<Vec<NetlinkMessage>> {
        if call.number != libc::SYS_sendto {
            return None;
        }
        let (address, length) = (call.arguments[1], call.arguments[2] as usize);
        let mut buffer = vec![0; length];
        self.memory.read_exact_at(&mut buffer, address).ok()?;
        let mut messages = Vec::new();
        let mut offset = 0;
        while offset < length {
            let header = buffer.get(offset..offset + NLMSGHDR)?;
            let size = u32::from_ne_bytes(header.get(..4)?.try_into().ok()?) as usize;
            let kind = u16::from_ne_bytes(header.get(4..6)?.try_into().ok()?);
            let size = size.max(NLMSGHDR);
            let payload = buffer.get(offset + NLMSGHDR..offset + size)?.to_vec();
            messages.push(NetlinkMessage { address: address + offset as u64, offset, kind, payload });
            offset += size.next_multiple_of(4);
        }
        (offset == length).then_some(messages)
    }
}

/// The tracing thread. When it ends, the kernel lets the traced thread go (ptrace(2)).
struct Watch {
    traced: Traced,
    /// While a call runs whose return is waited for.
    returning: bool,
    let_go: Arc<AtomicBool>,
}

impl Watch {
    fn run<P: Plot>(mut self, mut plot: P) -> Result<P::Outcome> {
        loop {
            match ptrace::syscall(self.traced.thread, None) {
                Ok(()) => {}
                Err(Errno::ESRCH) => return Ok(plot.outcome()),
                Err(error) => return Err(error).context("going on"),
            }
            match self.wait()? {
                Some(WaitStatus::PtraceSyscall(_)) => {}
                Some(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | None => return Ok(plot.outcome()),
                Some(_) => continue,
            }
            let next = if std::mem::take(&mut self.returning) {
                plot.after(&self.traced)?
            } else if let Some(call) = self.entered()? {
                plot.before(&self.traced, &call)?
            } else {
                Next::Call
            };
            match next {
                Next::Call => {}
                Next::Return => self.returning = true,
                Next::End => return Ok(plot.outcome()),
            }
        }
    }

    /// `None`: released meanwhile.
    fn wait(&self) -> Result<Option<WaitStatus>> {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        loop {
            let status = waitpid(self.traced.thread, Some(flags)).context("waiting for the thread")?;
            if status != WaitStatus::StillAlive {
                return Ok(Some(status));
            }
            if !self.returning && self.let_go.load(Ordering::Relaxed) {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }

    /// The call at whose entry the thread stands; `None`: it stands at a return.
    fn entered(&self) -> Result<Option<Call>> {
        let info = ptrace::syscall_info(self.traced.thread).context("the system call")?;
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return Ok(None);
        }
        // SAFETY: `op` says that this member of the union is the one filled in.
        let call = unsafe { info.u.entry };
        Ok(Some(Call { number: call.nr as libc::c_long, arguments: call.args }))
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
