//! An entry more in the configuration file itself: what it has is kept, byte for byte.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use nix::{
    fcntl::AtFlags,
    unistd::{AccessFlags, faccessat},
};

use crate::config::{self, ConfigError, Entry};

/// Two at once would each write the file without the other's entry.
static WRITING: Mutex<()> = Mutex::new(());

/// Whether the entry could be written, as far as that can be known.
///
/// # Errors
/// What stands in the way, in the file or in the file system.
pub(super) fn ask(entry: &Entry, path: &Path) -> Result<(), ConfigError> {
    with_entry(entry, path)?;
    let target = target(path)?;
    let dir = target.parent().unwrap_or(&target);
    faccessat(nix::fcntl::AT_FDCWD, dir, AccessFlags::W_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| unwritable(path, errno.into()))
}

/// Writes it: afterwards the file is whole, with the entry or without.
///
/// # Errors
/// As [`ask`]; the file then is as it was.
pub(super) fn write(entry: &Entry, path: &Path) -> Result<(), ConfigError> {
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let text = with_entry(entry, path)?;
    let target = target(path)?;
    let fresh = target.with_extension("toml.new");
    // A copy has the mode of the original.
    let written = fs::copy(&target, &fresh)
        .and_then(|_| fs::write(&fresh, &text))
        .and_then(|()| fs::File::open(&fresh)?.sync_all())
        .and_then(|()| fs::rename(&fresh, &target));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written.map_err(|error| unwritable(path, error))
}

/// The file as it would be.
fn with_entry(entry: &Entry, path: &Path) -> Result<String, ConfigError> {
    let known =
        || ConfigError::Known { file: path.display().to_string(), interface: entry.interface.clone() };
    let text = entry.add_to(&String::from_utf8_lossy(&config::read(path)?)).ok_or_else(known)?;
    config::parse(&path.display().to_string(), text.as_bytes())?;
    Ok(text)
}

/// Where it is: a symbolic link stays one.
fn target(path: &Path) -> Result<PathBuf, ConfigError> {
    path.canonicalize().map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::Unwritable { file: path.display().to_string(), source }
}
