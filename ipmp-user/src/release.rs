//! `ipmpd --release`: what a daemon changed on this host, put back.
//!
//! Settings, test addresses, programs and pins go. Data addresses stay where they are: an address that stands on another
//! interface than its home stands there because its home had failed, and whoever ends the daemon for good wants it to serve
//! until somebody has looked.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    control, kernel,
    net::{leftovers, state::StateFile, sysctl::Sysctl},
};

/// Puts everything back, in the network namespace of the calling process, and says what was done, a line each.
///
/// # Errors
/// While a daemon serves the runtime directory; when the kernel refuses.
pub fn run(runtime_dir: &Path, pin_dir: &Path) -> Result<Vec<String>> {
    let _lock = runtime_dir.is_dir().then(|| control::lock(runtime_dir)).transpose()?;
    let mut done = Vec::new();
    let settings = Sysctl::new(runtime_dir).restore_others(|_| false).context("settings")?;
    done.extend(settings.iter().map(|interface| format!("{interface}: settings as they were before")));
    let removed = leftovers::remove_test_addresses(&BTreeSet::new()).context("test addresses")?;
    done.extend(removed.iter().map(|address| format!("{address}: test address removed")));
    let unpinned = kernel::unpin(pin_dir).with_context(|| format!("pins in {}", pin_dir.display()))?;
    done.extend(unpinned.iter().map(|path| format!("{}: unpinned", path.display())));
    done.extend(forget(runtime_dir)?);
    Ok(done)
}

/// The state file is of use as long as an address is away from home.
fn forget(runtime_dir: &Path) -> Result<Vec<String>> {
    let away = StateFile::new(runtime_dir).load().context("the state file")?.away();
    if away.is_empty() {
        for name in ["state.json", "sysctl.json"] {
            remove(&runtime_dir.join(name))?;
        }
    }
    let stays = |(address, home, on)| format!("{address}: stays on {on}; its home is {home}");
    Ok(away.into_iter().map(stays).collect())
}

fn remove(path: &PathBuf) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
