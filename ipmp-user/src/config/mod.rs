//! The configuration file: TOML in, the engine's validated [`Config`] out.
//!
//! The file is walked by hand, not by a derived deserializer, because every problem shall be reported at
//! once, each with the line and column of the offending value and with what was probably meant.
//!
//! * `problem`: where something is wrong, what, and what to do.
//! * `value`: one value of the file → one checked value.
//! * `read`: tables and keys → a draft in which every value knows its place.
//! * `verify`: what concerns more than one value: duplicates, own targets, limits.
//! * `diff`: what another file would change, in words.
//! * `entry`: an interface's section, as `ipmp attach` writes it.
//! * `summary`: what `ipmpd --check` prints.

mod diff;
mod entry;
mod problem;
mod read;
mod summary;
mod value;
mod verify;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use ipmp_common::engine::{config::Config, time::Nanos};

pub use diff::differences;
pub use entry::Entry;
pub use problem::{Invalid, Problem};
pub use summary::summary;

/// `real-time-priority` when the file is silent. Any `SCHED_FIFO` priority takes the daemon's wake-up out of
/// the reach of ordinary processes; ten stays below threaded interrupt handlers (50), which deliver our replies.
pub const DEFAULT_REAL_TIME_PRIORITY: u8 = 10;
/// 99 is left to the kernel's own watchdog and migration threads (sched(7)).
pub const MAX_REAL_TIME_PRIORITY: u8 = 98;
/// `boot-wait` when the file is silent: drivers that load firmware take seconds, people rebooting a host do not want more.
pub const DEFAULT_BOOT_WAIT: Nanos = Nanos::from_secs(10);
/// Longest `boot-wait`: an hour later nobody thinks of a start any more.
pub const MAX_BOOT_WAIT: Nanos = Nanos::from_secs(3600);
/// Largest file that is read: every limit of the engine's configuration reached at once fits.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The whole file: what the engine decides by, and what only the daemon's process needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileConfig {
    /// For the engine. Its seed is zero: the daemon draws it at start.
    pub engine: Config,
    /// For the process.
    pub daemon: DaemonConfig,
    /// Interfaces whose name alone does not say which hardware is meant.
    pub identities: BTreeMap<String, Identity>,
}

/// Which hardware an interface's section is about, besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `mac`: its permanent hardware address, or a virtual device's present one.
    pub mac: Option<[u8; 6]>,
    /// `pci`: its PCI function, such as `0000:3b:00.0`.
    pub pci: Option<String>,
}

/// Section `[daemon]`, and the top-level keys that are not about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonConfig {
    /// `SCHED_FIFO` priority, 0 = ordinary scheduling.
    pub real_time_priority: u8,
    /// Name of the system group that may open the control socket for reading, besides root.
    pub control_group: Option<String>,
    /// `TRACK_INTERFACES_ONLY_WITH_GROUPS`: in.mpathd's default, and the only mode in which an interface that
    /// is named in no group is left alone.
    pub track_interfaces_only_with_groups: bool,
    /// So long a missing interface is waited for at start before others serve its addresses.
    pub boot_wait: Nanos,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration: {file}: {source}; {}", remedy(source))]
    Unreadable {
        /// Its name.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// It cannot be written.
    #[error(
        "cannot write the configuration: {file}: {source}; the file stays as it is{}",
        remedy_of_writing(source, file)
    )]
    Unwritable {
        /// Its name.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// It says already what an interface shall be.
    #[error("{file}: has a section for {interface} already: change it there, and `ipmp reload`")]
    Known {
        /// Its name.
        file: String,
        /// The interface.
        interface: String,
    },
    /// Its content is wrong. The text has one line for each problem.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "run ipmpd as a user who may read it"
    } else {
        "create it, or name another one with --config"
    }
}

/// The new file is made beside the old one, so that a crash leaves one of them whole: the directory has to be writable.
fn remedy_of_writing(error: &io::Error, file: &str) -> String {
    let dir = Path::new(file).parent().unwrap_or(Path::new("/")).display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        format!(
            ": let the daemon's user write into its directory: `chgrp ipmp {dir}` and `chmod g+w {dir}` (ipmp.tmpfiles.conf does so)"
        )
    } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        format!(
            ": if a systemd unit runs the daemon, let it write there: `systemctl edit ipmpd`, [Service], ReadWritePaths={dir}"
        )
    } else {
        String::new()
    }
}

/// Reads and validates the file at `path`.
pub fn load(path: &Path) -> Result<FileConfig, ConfigError> {
    Ok(parse(&path.display().to_string(), &read(path)?)?)
}

/// Reads the file at `path`, as far as it may be long.
pub fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let file = path.display().to_string();
    let unreadable = |source| ConfigError::Unreadable { file: file.clone(), source };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(io::Error::other(format!("larger than {MAX_FILE_BYTES} bytes"))));
    }
    Ok(bytes)
}

/// Validates the content of a configuration file that people know as `file`. Total: never panics.
pub fn parse(file: &str, bytes: &[u8]) -> Result<FileConfig, Invalid> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let mut problems = problem::Problems::new(file, std::str::from_utf8(valid).unwrap_or_default());
            problems.add(error.valid_up_to(), "this byte is not UTF-8", "save the file as UTF-8 text");
            return Err(problems.into_invalid());
        }
    };
    let mut problems = problem::Problems::new(file, text);
    let draft = read::read(text, &mut problems);
    let config = draft.map(|draft| verify::verify(draft, &mut problems));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => Err(problems.into_invalid()),
    }
}
