//! The real `ipmpd`, started in a lab's host.

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{
    mount::{MntFlags, umount2},
    sys::{prctl, signal},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    config::{Config, GROUP},
    netns::{Netns, end},
    wait,
};

/// How much of the daemon's log a failure shows.
const LOG_TAIL_LINES: usize = 40;

/// Where the binaries under test are: `IPMP_BIN_DIR`, else the target directory that this executable was built into.
///
/// # Errors
/// When they were not built.
pub fn bin_dir() -> Result<PathBuf> {
    let dir = if let Some(dir) = env::var_os("IPMP_BIN_DIR") {
        PathBuf::from(dir)
    } else {
        let own = env::current_exe().context("this executable's path")?;
        own.ancestors()
            .skip(1)
            .find(|dir| dir.file_name().is_some_and(|name| name != "deps"))
            .map(Path::to_path_buf)
            .context("this executable has no directory")?
    };
    for name in ["ipmpd", "ipmp"] {
        ensure!(
            dir.join(name).is_file(),
            "{}/{name} is missing: build it (`cargo build -p ipmp-user`), or name its directory in IPMP_BIN_DIR",
            dir.display()
        );
    }
    Ok(dir)
}

/// The places of one daemon: binaries, configuration, sockets, pins, log.
#[derive(Clone, Debug)]
pub struct Files {
    /// Holds `ipmpd` and `ipmp`.
    pub bin_dir: PathBuf,
    /// Everything else lies below; removed with the daemon.
    pub dir: PathBuf,
    /// A program and its arguments that run the daemon; empty = it is run as it is.
    pub wrapper: Vec<String>,
}

impl Files {
    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("ipmpd.toml")
    }

    /// Where the control socket is.
    pub fn runtime(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Where programs and maps are pinned.
    pub fn pins(&self) -> PathBuf {
        self.dir.join("pins")
    }

    /// What the daemon wrote on standard error.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// `ipmpd` in `netns` with these places, not started yet.
    ///
    /// # Errors
    /// When the namespace cannot be named to the command, or the log not be created.
    pub fn daemon_command(&self, netns: &Netns) -> Result<Command> {
        let log = File::create(self.log()).context("the daemon's log file")?;
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([self.bin_dir.join("ipmpd")]);
        let mut command = netns.command(words.next().context("a program")?)?;
        command
            .args(words)
            .arg("--config")
            .arg(self.config())
            .arg("--runtime-dir")
            .arg(self.runtime())
            .arg("--pin-dir")
            .arg(self.pins())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("the daemon's log file")?)
            .stderr(log);
        Ok(command)
    }

    /// Runs `ipmp` with these arguments.
    ///
    /// # Errors
    /// When it cannot be run; its own exit status is the caller's to judge.
    pub fn client(&self, arguments: &[&str]) -> Result<Output> {
        Command::new(self.bin_dir.join("ipmp"))
            .arg("--runtime-dir")
            .arg(self.runtime())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("running ipmp")
    }

    /// Unmounts whatever the daemon mounted for its pins; nothing if it mounted nothing.
    pub fn unmount_pins(&self) {
        while umount2(&self.pins(), MntFlags::MNT_DETACH).is_ok() {}
    }
}

/// A running daemon; ended when dropped, its pins and files removed.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    files: Files,
    _dir: TempDir,
}

impl Daemon {
    /// Starts the daemon in `netns` and waits until it answers on its control socket.
    ///
    /// # Errors
    /// When it exits, or does not answer in time; the text holds the end of its log.
    pub fn start(netns: &Netns, config: &Config) -> Result<Self> {
        Self::start_from(netns, &config.to_string(), bin_dir()?)
    }

    /// As [`Daemon::start`], with the text of a configuration file and the directory of the binaries.
    ///
    /// # Errors
    /// When it exits, or does not answer in time; the text holds the end of its log.
    pub fn start_from(netns: &Netns, config: &str, bin_dir: PathBuf) -> Result<Self> {
        Self::start_prepared(netns, config, bin_dir, |_| Ok(()))
    }

    /// As [`Daemon::start_from`], after `prepare` has made what it wants of the places.
    ///
    /// # Errors
    /// As [`Daemon::start`]; what `prepare` says.
    pub fn start_prepared(
        netns: &Netns,
        config: &str,
        bin_dir: PathBuf,
        prepare: impl FnOnce(&mut Files) -> Result<()>,
    ) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("ipmpt-").tempdir().context("a directory for the daemon")?;
        let mut files = Files { bin_dir, dir: dir.path().to_path_buf(), wrapper: Vec::new() };
        prepare(&mut files)?;
        fs::write(files.config(), config).context("writing ipmpd.toml")?;
        let child = spawn(&files, netns)?;
        let mut daemon = Self { child, files, _dir: dir };
        daemon.wait_answer()?;
        Ok(daemon)
    }

    /// Starts it once more with the same places, after it has ended or been killed; what is left of it is ended first.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_again(&mut self, netns: &Netns) -> Result<()> {
        end(&mut self.child);
        self.child = spawn(&self.files, netns)?;
        self.wait_answer()
    }

    fn wait_answer(&mut self) -> Result<()> {
        wait::until("ipmpd answers", || {
            if let Some(status) = self.child.try_wait().context("ipmpd")? {
                bail!("ipmpd ended at once with {status}");
            }
            Ok(self.status().is_ok())
        })
        .map_err(|error| self.with_log(&error))
    }

    /// Its places.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: signal::Signal) -> Result<()> {
        signal::kill(self.pid(), signal).with_context(|| format!("sending {signal} to ipmpd"))
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        let mut ended = None;
        wait::until("ipmpd ends", || {
            ended = self.child.try_wait().context("ipmpd")?;
            Ok(ended.is_some())
        })?;
        ended.context("ipmpd ended")
    }

    /// Runs `ipmp` against it.
    ///
    /// # Errors
    /// When the client cannot be run.
    pub fn client(&self, arguments: &[&str]) -> Result<Output> {
        self.files.client(arguments)
    }

    /// `ipmp status --json`.
    ///
    /// # Errors
    /// When the daemon does not answer with a status.
    pub fn status(&self) -> Result<Value> {
        let output = self.client(&["--json", "status"])?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "ipmp status ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )
        })
    }

    /// `ipmp events --json`, all there are.
    ///
    /// # Errors
    /// When the daemon does not answer with events.
    pub fn events(&self) -> Result<Vec<Value>> {
        let output = self.client(&["--json", "events"])?;
        ensure!(
            output.status.success(),
            "ipmp events ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::Deserializer::from_slice(&output.stdout)
            .into_iter()
            .collect::<Result<_, _>>()
            .context("ipmp events --json printed something that is not JSON")
    }

    /// The events not older than a moment of `CLOCK_MONOTONIC`.
    ///
    /// # Errors
    /// When the daemon does not answer with events.
    pub fn events_since(&self, from_ns: u64) -> Result<Vec<Value>> {
        let mut events = self.events()?;
        events.retain(|event| event["t_ns"].as_u64().is_some_and(|at| at >= from_ns));
        Ok(events)
    }

    /// Waits until a condition on the status holds, and returns that status.
    ///
    /// # Errors
    /// When it does not in time; the text holds the last status and the end of the log.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        self.wait_for_within(what, wait::DEADLINE, condition)
    }

    /// As [`Daemon::wait_for`], with another deadline.
    ///
    /// # Errors
    /// When it does not in time; the text holds the last status and the end of the log.
    pub fn wait_for_within(
        &self,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        wait::until_within(what, deadline, || {
            last = self.status()?;
            Ok(condition(&last))
        })
        .map_err(|error| self.with_log(&error.context(format!("the last status was {last:#}"))))?;
        Ok(last)
    }

    /// Waits until an event not older than `from_ns` fits, and returns it.
    ///
    /// # Errors
    /// When none does in time; the text holds the events seen and the end of the log.
    pub fn wait_event(&self, what: &str, from_ns: u64, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut seen = Vec::new();
        let mut found = None;
        wait::until(what, || {
            seen = self.events_since(from_ns)?;
            found = seen.iter().find(|event| fits(event)).cloned();
            Ok(found.is_some())
        })
        .map_err(|error| self.with_log(&error.context(format!("the events were {seen:#?}"))))?;
        found.context("an event was found")
    }

    /// Waits until every member works and every address is at home.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn wait_healthy(&self) -> Result<Value> {
        self.wait_for("a healthy group, every address at home", healthy)
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.files.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    fn with_log(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow!("{error:#}\nthe daemon's log ends with:\n{}", self.log_tail())
    }
}

fn spawn(files: &Files, netns: &Netns) -> Result<Child> {
    let mut command = files.daemon_command(netns)?;
    // SAFETY: between fork and exec only the prctl system call is made, which is async-signal-safe.
    unsafe {
        // A killed test takes its daemons along.
        command.pre_exec(|| prctl::set_pdeathsig(signal::Signal::SIGTERM).map_err(io::Error::from));
    }
    command.spawn().context("starting ipmpd")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child);
        self.files.unmount_pins();
    }
}

/// The lab's group in a status.
pub fn group(status: &Value) -> &Value {
    find(&status["groups"], "name", GROUP)
}

/// One interface of the lab's group in a status.
pub fn interface<'a>(status: &'a Value, name: &str) -> &'a Value {
    find(&group(status)["interfaces"], "name", name)
}

/// On which interface an address (without prefix length) is, by a status.
pub fn address_on<'a>(status: &'a Value, address: &str) -> Option<&'a str> {
    group(status)["addresses"].as_array()?.iter().find(|entry| {
        entry["address"].as_str().and_then(|text| text.split('/').next()).is_some_and(|text| text == address)
    })?["on"]
        .as_str()
}

/// Whether the group is `ok`, every member `ok`, and every address at home.
pub fn healthy(status: &Value) -> bool {
    let group = group(status);
    let all = |list: &Value, fits: &dyn Fn(&Value) -> bool| {
        list.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(fits))
    };
    group["state"] == "ok"
        && all(&group["interfaces"], &|interface| {
            interface["state"] == "ok" && interface["probe"] != "unknown"
        })
        && all(&group["addresses"], &|address| address["on"] == address["home"])
}

fn find<'a>(list: &'a Value, key: &str, wanted: &str) -> &'a Value {
    list.as_array().and_then(|list| list.iter().find(|entry| entry[key] == wanted)).unwrap_or(&Value::Null)
}
