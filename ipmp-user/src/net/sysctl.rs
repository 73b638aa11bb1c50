//! Settings under /proc/sys/net that members need; what was there before is remembered and can be restored.

mod hash_policy;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{NetError, Renames, put_aside, renamed, write_atomically};

/// Settings of each member and why, see Documentation/networking/ip-sysctl.rst:
/// * `arp_ignore` 1: only the interface that has an address answers ARP for it, not every one on the segment.
/// * `arp_announce` 2: ARP requests carry an address of the interface they leave by.
/// * `promote_secondaries` 1: deleting the first address of a subnet keeps the others.
const SETTINGS: [(&str, &str); 3] =
    [("arp_ignore", "1"), ("arp_announce", "2"), ("promote_secondaries", "1")];

/// Between two attempts to write down what could not be written: a disk stays full for a while.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Previous {
    /// interface → setting → value before us.
    ipv4: BTreeMap<String, BTreeMap<String, String>>,
    /// setting of the whole namespace, below `/proc/sys/net` → value before us.
    #[serde(default)]
    namespace: BTreeMap<String, String>,
}

/// What came of putting settings back, by interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// They are as they were before us, or as somebody else wants them.
    pub put_back: Vec<String>,
    /// There is no interface of that name now; what was there before is remembered.
    pub absent: Vec<String>,
}

/// The settings of the members in the network namespace of the calling thread.
#[derive(Debug)]
pub struct Sysctl {
    root: PathBuf,
    directory: PathBuf,
    previous: Previous,
    /// When writing it down failed, and did not succeed since.
    unwritten: Option<Instant>,
}

impl Sysctl {
    /// `runtime_dir` holds the previous values, in `sysctl.json`, so that they outlive the daemon.
    pub fn new(runtime_dir: impl Into<PathBuf>) -> Self {
        Self::with_root("/proc/sys/net/ipv4/conf", runtime_dir)
    }

    /// The same on another tree.
    pub fn with_root(root: impl Into<PathBuf>, runtime_dir: impl Into<PathBuf>) -> Self {
        let directory = runtime_dir.into();
        let previous = load(&directory.join("sysctl.json"));
        Self { root: root.into(), directory, previous, unwritten: None }
    }

    /// Puts back what was there before on interfaces that are members no longer.
    pub fn restore_others(&mut self, is_member: impl Fn(&str) -> bool) -> Result<Restored, NetError> {
        let others: Vec<String> =
            self.previous.ipv4.keys().filter(|interface| !is_member(interface)).cloned().collect();
        let mut restored = Restored::default();
        for interface in others {
            let there = self.restore_of(&interface)?;
            if there { restored.put_back.push(interface) } else { restored.absent.push(interface) }
        }
        Ok(restored)
    }

    /// Whether values are remembered that could not be put back yet.
    pub fn remembers(&self) -> bool {
        !self.previous.ipv4.is_empty() || !self.previous.namespace.is_empty()
    }

    /// The interfaces whose values are remembered.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.previous.ipv4.keys().map(String::as_str)
    }

    /// Sets a member up, also where the values before cannot be written down: without its settings the group's other members
    /// would answer for its addresses. A value that serves at least as well (`arp_ignore` 2 and above) is left. Returns a warning, with
    /// the remedy, if reverse path filtering would drop the answers to probes.
    pub fn prepare(&mut self, interface: &str) -> Result<Option<String>, NetError> {
        for (setting, wanted) in SETTINGS {
            let now = self.read(interface, setting)?;
            if number(&now) >= number(wanted) {
                continue;
            }
            // Also if something is remembered already: this is another interface of that name, or somebody's new wish.
            self.previous.ipv4.entry(interface.to_owned()).or_default().insert(setting.to_owned(), now);
            self.remember();
            self.write(interface, setting, wanted)?;
        }
        self.reverse_path_warning(interface)
    }

    /// Puts back what was there before on one interface. A value changed by somebody else meanwhile is theirs and stays.
    /// Each setting is tried; what could not be put back stays remembered. False: there is no interface of that name.
    /// It may have been renamed, settings and all, so they are remembered.
    pub fn restore_of(&mut self, interface: &str) -> Result<bool, NetError> {
        if !self.previous.ipv4.contains_key(interface) {
            return Ok(true);
        }
        if !self.root.join(interface).exists() {
            return Ok(false);
        }
        let settings = self.previous.ipv4.remove(interface).unwrap_or_default();
        let mut refused = Ok(());
        for (setting, before) in settings {
            let ours = SETTINGS.iter().find(|(name, _)| *name == setting).map(|(_, value)| *value);
            if self.read(interface, &setting).ok().as_deref() != ours {
                continue;
            }
            if let Err(error) = self.write(interface, &setting, &before) {
                self.previous.ipv4.entry(interface.to_owned()).or_default().insert(setting, before);
                refused = refused.and(Err(error));
            }
        }
        refused.and(self.save())?;
        Ok(true)
    }

    /// What is remembered of interfaces that have other names now goes by these.
    pub fn rename(&mut self, renames: &Renames) -> Result<(), NetError> {
        let known = std::mem::take(&mut self.previous.ipv4).into_iter();
        self.previous.ipv4 = known.map(|(name, values)| (renamed(renames, &name), values)).collect();
        self.save()
    }

    /// Strict reverse path filtering (RFC 3704; the larger of `all` and the interface's own value counts) drops answers
    /// that arrive at an interface which is not the best way back, so every standby looks failed.
    fn reverse_path_warning(&self, interface: &str) -> Result<Option<String>, NetError> {
        let all = number(&self.read("all", "rp_filter")?);
        let own = number(&self.read(interface, "rp_filter")?);
        Ok((all.max(own) == 1).then(|| {
            let place = if own == 1 { interface } else { "all" };
            format!(
                "strict reverse path filtering on {interface} drops answers to probes when another member has the \
                 better route: set {}/{interface}/rp_filter to 2 (loose); the value 1 comes from `{place}`",
                self.root.display()
            )
        }))
    }

    // The directory is named by the interface, dots included; only sysctl(8) writes them differently.
    fn path(&self, interface: &str, setting: &str) -> PathBuf {
        self.root.join(interface).join(setting)
    }

    fn read(&self, interface: &str, setting: &str) -> Result<String, NetError> {
        read(self.path(interface, setting))
    }

    fn write(&self, interface: &str, setting: &str, value: &str) -> Result<(), NetError> {
        write(self.path(interface, setting), value)
    }

    /// Writes down what was there before; where that fails, [`Sysctl::remember_again`] does it.
    fn remember(&mut self) {
        let failed = self.save().inspect_err(|error| {
            if self.unwritten.is_none() {
                tracing::warn!(%error, "settings of before are not written down: until then, only this process can restore them");
            }
        });
        self.unwritten = failed.is_err().then(Instant::now);
    }

    /// Writes down what could not be written before, if that is so.
    pub fn remember_again(&mut self) {
        if self.unwritten.is_some_and(|since| since.elapsed() >= PAUSE) {
            self.remember();
            if self.unwritten.is_none() {
                tracing::info!("settings of before are written down now");
            }
        }
    }

    fn save(&self) -> Result<(), NetError> {
        let path = self.directory.join("sysctl.json");
        let bytes = serde_json::to_vec_pretty(&self.previous).map_err(io::Error::from);
        let saved = bytes.and_then(|bytes| write_atomically(&self.directory, &path, &bytes));
        saved.map_err(|e| NetError::State { path: path.display().to_string(), what: e.to_string() })
    }
}

/// Nothing is remembered if there is no file. A damaged one is set aside: nothing in it is trusted.
fn load(path: &Path) -> Previous {
    let Ok(bytes) = fs::read(path) else { return Previous::default() };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        let aside = put_aside(path);
        tracing::warn!(path = %path.display(), %error, "damaged, {aside}: earlier settings of members are not known");
        Previous::default()
    })
}

fn read(path: PathBuf) -> Result<String, NetError> {
    let value = fs::read_to_string(&path).map(|value| value.trim().to_owned());
    value.map_err(|source| NetError::Setting { path, source })
}

fn write(path: PathBuf, value: &str) -> Result<(), NetError> {
    fs::write(&path, value).map_err(|source| NetError::Setting { path, source })
}

fn number(value: &str) -> i64 {
    value.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
