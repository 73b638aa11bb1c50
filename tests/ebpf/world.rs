//! A thread with network and mount namespaces of its own: whatever a test leaves behind dies with it.

use std::{
    fs::File,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ipmp_tests::pace;
use ipmp_user::kernel::{Kernel, KernelOptions};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    time::{ClockId, clock_gettime},
};

/// A loaded machine must not turn a slow test into a failed one.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    dir: tempfile::TempDir,
    here: File,
}

/// Runs `test` in a world of its own, or says why it cannot.
pub(crate) fn run(test: impl FnOnce(&World) + Send + 'static) {
    let name = thread::current().name().unwrap_or("unnamed test").to_owned();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: {name}: needs root: run `cargo xtask test`, or this binary with sudo");
        return;
    }
    let finished = thread::Builder::new()
        .name(name)
        .spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("new namespaces");
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .expect("private mounts");
            let world = World { dir: tempfile::tempdir().expect("a directory"), here: namespace() };
            test(&world);
        })
        .expect("a thread")
        .join();
    if let Err(failure) = finished {
        std::panic::resume_unwind(failure);
    }
}

fn namespace() -> File {
    File::open("/proc/thread-self/ns/net").expect("this thread's network namespace")
}

impl World {
    /// The kernel room, with its own BPF file system.
    pub(crate) fn kernel(&self) -> Kernel {
        let kernel = open(&KernelOptions::new(self.pin_dir()));
        assert!(kernel.complaints().is_empty(), "{:?}", kernel.complaints());
        kernel
    }

    pub(crate) fn pin_dir(&self) -> PathBuf {
        self.dir.path().join("bpf")
    }

    /// Where a map, program or link is pinned.
    pub(crate) fn pin(&self, name: &str) -> PathBuf {
        self.pin_dir().join(format!("v{}", ipmp_common::abi::ABI_VERSION)).join(name)
    }

    /// Another network namespace.
    pub(crate) fn neighbour(&self) -> Neighbour<'_> {
        unshare(CloneFlags::CLONE_NEWNET).expect("a second network namespace");
        let there = namespace();
        setns(&self.here, CloneFlags::CLONE_NEWNET).expect("back");
        Neighbour { world: self, there }
    }
}

pub(crate) struct Neighbour<'a> {
    world: &'a World,
    there: File,
}

impl Neighbour<'_> {
    /// A path by which ip(8) finds the namespace.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.there.as_raw_fd())
    }

    /// Does something there.
    pub(crate) fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        setns(&self.there, CloneFlags::CLONE_NEWNET).expect("there");
        let result = work();
        setns(&self.world.here, CloneFlags::CLONE_NEWNET).expect("back");
        result
    }
}

/// Runs a command line (no quoting) that must succeed; its standard output.
pub(crate) fn sh(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a program is installed.
pub(crate) fn have(program: &str) -> bool {
    std::env::var("PATH")
        .unwrap_or_default()
        .split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|dir| Path::new(dir).join(program).is_file())
}

/// Polls until `condition` gives something.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + pace::stretched(DEADLINE);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Opens the kernel room. What had it before may seem to have it still: a program that another test starts has all
/// descriptors, and their locks, until it is executed.
pub(crate) fn open(options: &KernelOptions) -> Kernel {
    until("the pins are free", || {
        let kernel = Kernel::open(options);
        kernel.pins_taken().is_none().then_some(kernel)
    })
}

/// `CLOCK_MONOTONIC` nanoseconds.
pub(crate) fn now_ns() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock")).as_nanos() as u64
}
