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
    control,
    daemon::others_serve,
    kernel,
    net::{leftovers, spread, state::StateFile, sysctl::Sysctl},
};

/// Puts everything back, in the network namespace of the calling process, and says what was done, a line each.
///
/// # Errors
/// While a daemon serves the runtime directory; when the kernel refuses.
pub fn run(runtime_dir: &Path, pin_dir: &Path) -> Result<Vec<String>> {
    let _lock = runtime_dir.is_dir().then(|| control::lock(runtime_dir)).transpose()?;
    let mut done = Vec::new();
    let loaded = StateFile::new(runtime_dir).load();
    let mut sysctl = Sysctl::new(runtime_dir);
    // What another daemon made here is not ours to remove, and a mark does not say whose it is.
    let scope = others_serve().then(|| leftovers::recorded(loaded.as_ref().ok(), &sysctl));
    let filtered = scope.clone().map_or_else(interfaces, Ok).context("interfaces")?;
    let filtered = filtered.iter().filter(|interface| kernel::detach_clsact(interface));
    done.extend(filtered.map(|interface| format!("{interface}: egress filter removed")));
    let settings = sysctl.restore_others(|_| false).context("settings")?;
    done.extend(
        settings.put_back.iter().map(|interface| format!("{interface}: settings as they were before")),
    );
    done.extend(settings.absent.iter().map(|interface| {
        format!("{interface}: not there; its settings are remembered until ipmpd --release finds it")
    }));
    // The hash policy is the whole namespace's, and others may spread by it.
    if scope.is_none() {
        let policy = sysctl.set_hash_policy(false).context("settings")?;
        done.extend(policy.iter().map(|change| format!("net.{change}")));
    }
    let spread = spread::leftovers::remove(scope.as_ref()).context("outbound load spreading")?;
    if spread != [0; 3] {
        let [rules, routes, objects] = spread;
        done.push(format!(
            "outbound load spreading: {rules} rules, {routes} routes, {objects} nexthop objects removed"
        ));
    }
    let removed =
        leftovers::remove_test_addresses(&BTreeSet::new(), scope.as_ref()).context("test addresses")?;
    done.extend(removed.iter().map(|address| format!("{address}: test address removed")));
    let neighbours = leftovers::remove_neighbours(scope.as_ref()).context("neighbour entries")?;
    done.extend(neighbours.iter().map(|neighbour| format!("{neighbour}: neighbour entry removed")));
    let unpinned = kernel::unpin(pin_dir).with_context(|| format!("pins in {}", pin_dir.display()))?;
    done.extend(unpinned.iter().map(|path| format!("{}: unpinned", path.display())));
    // All else is put back without it, too.
    let away = leftovers::away(&loaded.context("the state file")?).context("data addresses")?;
    done.extend(away.iter().map(ToString::to_string));
    // The state file is of use as long as an address is away from home.
    if away.is_empty() {
        remove(&runtime_dir.join("state.json"))?;
    }
    if !sysctl.remembers() {
        remove(&runtime_dir.join("sysctl.json"))?;
    }
    Ok(done)
}

/// All that this namespace has.
fn interfaces() -> io::Result<BTreeSet<String>> {
    let named = nix::net::if_::if_nameindex()?;
    Ok(named.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect())
}

fn remove(path: &PathBuf) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
