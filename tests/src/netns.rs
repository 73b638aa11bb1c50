//! Network namespaces that remove themselves.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{skip::find_program, wait};

/// Where iproute2 keeps named namespaces (ip-netns(8)).
const RUN_NETNS: &str = "/run/netns";
/// Names of namespaces made by tests: `ipmpt-PID-NUMBER-ROLE`.
const TEST_PREFIX: &str = "ipmpt";

/// A named network namespace; deleted when dropped, unless it was made to be kept.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
    keep: bool,
}

impl Netns {
    /// A fresh namespace with a name of its own.
    ///
    /// # Errors
    /// When `ip netns add` refuses.
    pub fn new(role: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep_stale);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::create(&format!("{TEST_PREFIX}-{}-{number}-{role}", process::id()), false)
    }

    /// A namespace under exactly this name that stays when dropped.
    ///
    /// # Errors
    /// When `ip netns add` refuses, for example because the name is taken.
    pub fn kept(name: &str) -> Result<Self> {
        Self::create(name, true)
    }

    fn create(name: &str, keep: bool) -> Result<Self> {
        ip(&["netns", "add", name])?;
        let file = File::open(Path::new(RUN_NETNS).join(name))
            .with_context(|| format!("namespace {name} cannot be opened"))?;
        let made = Self { name: name.to_owned(), file, keep };
        // Duplicate address detection would make every IPv6 address tentative for a second.
        for scope in ["all", "default"] {
            made.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
        }
        made.batch("link set lo up")?;
        Ok(made)
    }

    /// Its name, as `ip netns list` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file, as `nsenter --net=` takes it.
    pub fn path(&self) -> PathBuf {
        Path::new(RUN_NETNS).join(&self.name)
    }

    /// Runs ip(8) inside with arguments separated by blanks, and returns its output.
    ///
    /// # Errors
    /// What ip(8) complains about.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split_ascii_whitespace());
        ip(&all)
    }

    /// Runs a script of ip(8) commands, one a line, inside.
    ///
    /// # Errors
    /// What ip(8) complains about; the script stops there.
    pub fn batch(&self, script: &str) -> Result<()> {
        let mut child = Command::new(tool("ip")?)
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("ip -batch")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(script.as_bytes()).context("ip -batch")?;
        }
        let output = child.wait_with_output().context("ip -batch")?;
        if output.status.success() {
            return Ok(());
        }
        bail!(
            "ip -batch in {}: {}in the script\n{script}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        )
    }

    /// Sets a value below `/proc/sys`, as this namespace sees it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.run(|| fs::write(&path, value))?.with_context(|| format!("{} in {}", path.display(), self.name))
    }

    /// A command that will run inside. Unlike `ip netns exec` it leaves `/sys` alone, so bpffs stays visible.
    ///
    /// # Errors
    /// When the namespace's file cannot be duplicated.
    pub fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        let file = self.file.try_clone().context("duplicating a namespace's file")?;
        let mut command = Command::new(program.as_ref());
        // SAFETY: between fork and exec only the setns system call is made, which is async-signal-safe.
        unsafe {
            command.pre_exec(move || setns(&file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from));
        }
        Ok(command)
    }

    /// Runs `work` in a thread that lives inside the namespace. Sockets made there stay in it.
    ///
    /// # Errors
    /// When the thread cannot enter, or panics.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET)
                        .with_context(|| format!("entering namespace {}", self.name))?;
                    Ok(work())
                })
                .join()
                .map_err(|_| anyhow!("a thread in namespace {} panicked", self.name))?
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = delete(&self.name)
        {
            eprintln!("namespace {} stays behind: {error:#}", self.name);
        }
    }
}

/// Deletes a namespace by name.
///
/// # Errors
/// What ip(8) complains about.
pub fn delete(name: &str) -> Result<()> {
    ip(&["netns", "del", name]).map(drop)
}

/// The names of all namespaces that iproute2 knows, in order.
pub fn list() -> Vec<String> {
    let Ok(entries) = fs::read_dir(RUN_NETNS) else {
        return Vec::new();
    };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Removes what test processes that no longer exist (killed, power cut) left behind.
pub fn sweep_stale() {
    for name in list() {
        let mut parts = name.split('-');
        let owner = parts
            .next()
            .filter(|prefix| *prefix == TEST_PREFIX)
            .and_then(|_| parts.next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Two sweepers may meet; whoever comes second finds nothing to do.
            let _already_gone = delete(&name);
        }
    }
}

/// Runs ip(8) and returns its output.
///
/// # Errors
/// What ip(8) complains about.
pub fn ip(arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(tool("ip")?).args(arguments).stdin(Stdio::null()).output().context("running ip")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}

/// As [`ip`], with arguments separated by blanks.
///
/// # Errors
/// What ip(8) complains about.
pub fn ip_words(arguments: &str) -> Result<String> {
    ip(&arguments.split_ascii_whitespace().collect::<Vec<_>>())
}

fn tool(name: &str) -> Result<PathBuf> {
    find_program(name).with_context(|| format!("`{name}` is missing: run `cargo xtask setup`"))
}

/// Ends a process that this harness started: SIGTERM, and SIGKILL when that is not enough.
pub(crate) fn end(child: &mut process::Child) {
    let pid = Pid::from_raw(child.id() as i32);
    // A stopped process handles SIGTERM only once it continues. Errors mean that it is gone already.
    let _stopped = kill(pid, Signal::SIGCONT);
    let _gone = kill(pid, Signal::SIGTERM);
    let ended =
        wait::until_despite_interrupt("exit", Duration::from_secs(5), || Ok(child.try_wait()?.is_some()));
    if ended.is_err() {
        let _gone = child.kill();
    }
    let _reaped = child.wait();
}
