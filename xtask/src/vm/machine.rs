//! Starting a guest, following it to its end, and leaving nothing behind.

use std::{
    fs,
    io::{Read, Write},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use ipmp_tests::skip::find_program;
use nix::sys::{prctl, signal::Signal};

use super::{guest, needs, qemu::Plan};

/// How often a running guest is looked after.
const TICK: Duration = Duration::from_millis(20);
/// How much of the console is shown when a guest gives no status.
const CONSOLE_LINES: usize = 40;
/// A guest clock that is off by more than this makes its measurements worthless.
const CLOCK_TOLERANCE: f64 = 0.05;

/// Set by Ctrl-C and the like.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the user asked to stop.
pub(super) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// How a guest ended.
#[derive(Debug)]
pub(super) enum End {
    /// The command ended with a status.
    Status(u8),
    /// The time limit ran out.
    TimeLimit(Trace),
    /// The user stopped it.
    Interrupted,
    /// QEMU or the guest's kernel ended without a status of the command.
    Died(Trace),
}

/// What is known of a guest that did not get to its end.
#[derive(Debug)]
pub(super) struct Trace {
    /// How QEMU ended.
    pub(super) qemu: String,
    /// The console's last lines.
    pub(super) console: String,
}

/// A guest's run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) end: End,
    pub(super) times: Times,
    /// Who executed the guest's instructions.
    pub(super) accelerator: &'static str,
}

/// How long a run took; what the guest did not live to note is absent.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// From QEMU's start to the command's.
    pub(super) boot: Option<Duration>,
    /// From the command's start to its end, by the host's clock.
    pub(super) command: Option<Duration>,
    /// The guest's seconds for one of the host's, where it is off.
    pub(super) clock_rate: Option<f64>,
}

/// Runs a command in a guest; its standard output goes to `out`, its errors to this process's.
pub(super) fn run(
    plan: &Plan,
    initramfs: &[u8],
    command: &guest::Command,
    limit: Duration,
    out: &mut (dyn Write + Send),
) -> Result<Run> {
    let directory =
        tempfile::Builder::new().prefix("ipmp-vm.").tempdir().context("a directory for the guest's files")?;
    let run = directory.path();
    guest::prepare(run, plan, command)?;
    fs::write(run.join("initramfs"), initramfs).context("writing the initramfs")?;
    let program = find_program(needs::QEMU).with_context(|| format!("{} is missing", needs::QEMU))?;
    let mut qemu = Command::new(program);
    qemu.args(plan.arguments(run)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = SystemTime::now();
    let mut guest = Guarded::spawn(&mut qemu)?;
    let (stdout, stderr) = (guest.child().stdout.take(), guest.child().stderr.take());
    let ended = thread::scope(|scope| {
        scope.spawn(|| copy(stdout, out));
        scope.spawn(|| copy(stderr, &mut std::io::stderr()));
        let ended = guest.wait(limit);
        // The threads end when nobody holds the pipes any more.
        guest.kill().and(ended)
    })?;
    let console = fs::read(run.join("console")).unwrap_or_default();
    if plan.verbose {
        eprintln!("{}", tail(&console, usize::MAX));
    }
    let trace = |qemu| Trace { qemu, console: tail(&console, CONSOLE_LINES) };
    let end = match (ended, number(&run.join("status"))) {
        (Wait::Exited(_), Some(status)) => End::Status(status as u8),
        (Wait::Exited(status), None) => End::Died(trace(status.to_string())),
        (Wait::TimeLimit, _) => End::TimeLimit(trace("stopped at the time limit".into())),
        (Wait::Interrupted, _) => End::Interrupted,
    };
    Ok(Run { end, times: times(run, started), accelerator: plan.accelerator.name() })
}

/// The run's times: the guest notes its uptime in two files, whose modification times are the host's.
fn times(run: &Path, started: SystemTime) -> Times {
    let note = |name: &str| -> Option<(f64, SystemTime)> {
        let path = run.join(name);
        Some((number(&path)?, fs::metadata(&path).ok()?.modified().ok()?))
    };
    let (first, last) = (note("started"), note("ended"));
    let command = first.zip(last).and_then(|(first, last)| last.1.duration_since(first.1).ok());
    let clock_rate = first.zip(last).zip(command).and_then(|((first, last), host)| {
        let rate = (last.0 - first.0) / host.as_secs_f64();
        (host > Duration::from_secs(2) && (rate - 1.0).abs() > CLOCK_TOLERANCE).then_some(rate)
    });
    let boot = first.and_then(|(_, at)| at.duration_since(started).ok());
    Times { boot, command, clock_rate }
}

fn number(path: &Path) -> Option<f64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Copies until the other end closes; goes on reading when nobody wants the output, or the guest would stop.
fn copy(from: Option<impl Read>, to: &mut dyn Write) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 64 * 1024];
    let mut wanted = true;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let data = buffer.get(..length).unwrap_or_default();
        wanted = wanted && to.write_all(data).and_then(|()| to.flush()).is_ok();
    }
}

/// The last lines of a console, without terminal controls.
fn tail(console: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(console).replace(['\r', '\x1b'], "");
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// How waiting ended.
pub(super) enum Wait {
    Exited(ExitStatus),
    TimeLimit,
    Interrupted,
}

/// A child that does not outlive this process.
pub(super) struct Guarded(Child);

impl Guarded {
    /// Starts it. From now on Ctrl-C ends the wait below instead of this process.
    pub(super) fn spawn(command: &mut Command) -> Result<Self> {
        static HANDLER: Once = Once::new();
        let mut handler = Ok(());
        HANDLER.call_once(|| handler = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst)));
        handler.context("catching Ctrl-C")?;
        // Its own group: a terminal's Ctrl-C is for this process to handle.
        command.process_group(0);
        // SAFETY: prctl(2) is async-signal-safe and touches nothing but the new process.
        unsafe {
            // Should this process be killed without a chance to clean up, the kernel ends the child.
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let name = command.get_program().display().to_string();
        Ok(Self(command.spawn().with_context(|| format!("starting {name}"))?))
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Waits for its end, at most for `limit`.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<Wait> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait().context("waiting for QEMU")? {
                return Ok(Wait::Exited(status));
            }
            if interrupted() {
                return Ok(Wait::Interrupted);
            }
            if Instant::now() >= deadline {
                return Ok(Wait::TimeLimit);
            }
            thread::sleep(TICK);
        }
    }

    /// Ends it if it still runs, and reaps it.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.0.kill().context("stopping QEMU")?;
        self.0.wait().context("reaping QEMU").map(drop)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Reaped already on every path but an early error, where nobody is left to tell.
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests;
