//! `ipmpd`'s way to the loop: command line, configuration, privileges, log.

use std::{
    io::{IsTerminal as _, Write as _},
    os::unix::fs::MetadataExt as _,
    process::ExitCode,
};

use caps::Capability;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::{
    args::{self, DaemonArgs},
    exit::{self, Failure},
};
use crate::{
    config::{self, ConfigError, FileConfig},
    control,
    daemon::{self, DaemonOptions},
    kernel::{self, Sysfs},
    privilege, release,
};

/// Log lines that may wait for a slow standard error; more are dropped rather than delaying a verdict.
const LOG_LINES: usize = 4096;

/// The whole of `ipmpd`.
pub fn main() -> ExitCode {
    let args = match args::parse::<DaemonArgs>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    match start(args) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn start(args: DaemonArgs) -> Result<ExitCode, Failure> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| {
        let text = format!("usage: --log {:?}: {error}; write a level such as info or debug", args.log);
        Failure::new(exit::USAGE, text)
    })?;
    if args.release {
        return release(&args, filter);
    }
    let read = || {
        let text = config::read(&args.config)?;
        let config = config::parse(&args.config.display().to_string(), &text)?;
        Ok((text, config))
    };
    let (config_text, config) = read().map_err(|error: ConfigError| {
        let code = match &error {
            ConfigError::Unreadable { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                exit::NOT_PERMITTED
            }
            ConfigError::Unreadable { .. }
            | ConfigError::Unwritable { .. }
            | ConfigError::Known { .. }
            | ConfigError::Invalid(_) => exit::INVALID_CONFIG,
        };
        Failure::new(code, error)
    })?;
    if args.check {
        let group = config.daemon.control_group.as_deref();
        control::check_group(group).map_err(|error| Failure::new(exit::INVALID_CONFIG, error))?;
        // A reader that went away has seen enough.
        let _ = std::io::stdout().write_all(config::summary(&config).as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    check_capabilities()?;
    // While it is permitted; without it drivers are asked, see there.
    let sysfs = Sysfs::of_namespace().ok();
    drop_privileges(&args, &config)?;
    let _log = start_log(filter);
    let options = DaemonOptions {
        config,
        config_text,
        config_path: args.config,
        runtime_dir: args.runtime_dir,
        pin_dir: args.pin_dir,
        sysfs,
        record: args.record,
    };
    daemon::run(&options).map_err(|error| Failure::new(exit::SOFTWARE, format!("{error:#}")))
}

/// Needs no configuration: what was changed was written down.
fn release(args: &DaemonArgs, filter: EnvFilter) -> Result<ExitCode, Failure> {
    check_capabilities()?;
    let _log = start_log(filter);
    let done = release::run(&args.runtime_dir, &args.pin_dir)
        .map_err(|error| Failure::new(exit::SOFTWARE, format!("--release: {error:#}")))?;
    let mut text = done.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    // A reader that went away has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// Names every missing capability at once.
fn check_capabilities() -> Result<(), Failure> {
    let missing = privilege::missing().map_err(|error| unknown_capabilities(&error))?;
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!(
        "not permitted: missing {}: run ipmpd as root, or give it these capabilities (systemd: AmbientCapabilities=)",
        missing.join(", ")
    );
    Err(Failure::new(exit::NOT_PERMITTED, text))
}

/// Keeps what the daemon needs, after what only root can do is done.
fn drop_privileges(args: &DaemonArgs, config: &FileConfig) -> Result<(), Failure> {
    // Without a place for pins the daemon does without them, and says so.
    let _ = kernel::prepare(&args.pin_dir);
    // The control socket is to be given to that group.
    let chown = config.daemon.control_group.as_ref().map(|_| Capability::CAP_CHOWN);
    privilege::drop_others(chown.as_slice()).map_err(|error| unknown_capabilities(&error))
}

fn unknown_capabilities(error: &caps::errors::CapsError) -> Failure {
    Failure::new(exit::NOT_PERMITTED, format!("capabilities: {error}: is /proc mounted?"))
}

/// Log lines go to standard error through a thread of their own: a reader that stalls must not stall the loop.
/// No colours unless on a terminal, no times where the system's journal writes its own.
fn start_log(filter: EnvFilter) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LOG_LINES)
        .thread_name("ipmpd-log")
        .finish(std::io::stderr());
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let layer = if on_journal() { layer.without_time().boxed() } else { layer.boxed() };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    guard
}

/// systemd.exec(5): `JOURNAL_STREAM` holds the device and inode of the stream that leads to the journal; it is
/// inherited also by processes whose standard error was turned elsewhere.
fn on_journal() -> bool {
    let stderr = std::fs::metadata("/proc/self/fd/2").map(|file| format!("{}:{}", file.dev(), file.ino()));
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stderr.is_ok_and(|stderr| stderr == stream))
}
