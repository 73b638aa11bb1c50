//! Which hardware a section means: by default whatever has its name, and a warning when that is another piece than before; with
//! `mac` or `pci`, that piece, whatever its name is.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use self::names::Presents;
use super::{kept, pci};
use crate::{
    config::{FileConfig, Identity},
    net::inventory::Link,
};

mod names;

/// What the file says a name means, and what it meant so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Identities {
    file: PathBuf,
    names: PathBuf,
    /// By section.
    wanted: BTreeMap<String, Identity>,
    /// The names of those sections' hardware.
    present: Presents,
    /// Sections whose hardware has a name that is another section's.
    disputed: BTreeMap<String, String>,
    seen: BTreeMap<String, Seen>,
    /// Refusals that were told.
    told: BTreeMap<String, String>,
    /// The PCI function of each interface, with its name then: the question takes the RTNL lock, which the loop must not wait
    /// for at each event of a link.
    functions: RefCell<BTreeMap<u32, (String, Option<String>)>>,
}

/// What is known of a piece of hardware. A virtual device has no permanent address and no PCI function: nothing tells it
/// from another one of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    #[serde(default)]
    mac: Option<String>,
    #[serde(default)]
    pci: Option<String>,
}

impl Seen {
    fn of(link: &Link) -> Self {
        Self { mac: link.permanent_mac.map(pci::mac_text), pci: pci::function(link) }
    }

    fn words(&self) -> String {
        let parts: Vec<&str> = [&self.mac, &self.pci].into_iter().flatten().map(String::as_str).collect();
        parts.join(" at ")
    }
}

impl Identities {
    /// As an earlier run saw it.
    pub(super) fn load(runtime_dir: &Path, config: &FileConfig) -> Self {
        let (file, names) = (runtime_dir.join("hardware.json"), runtime_dir.join("names.json"));
        let (seen, present) = (kept::load(&file), kept::load(&names));
        let mut identities = Self { file, names, present, seen, ..Self::default() };
        identities.set(config);
        identities
    }

    /// Whether this is the hardware that its name stands for in the configuration.
    pub(super) fn accepts(&self, link: &Link) -> bool {
        self.refusal(link).is_none()
    }

    /// Why this is other hardware than the configuration means.
    pub(super) fn refusal(&self, link: &Link) -> Option<String> {
        let wanted = self.wanted.get(self.section_of(&link.name)?)?;
        // A virtual device has only the address that it was given.
        let mac = link.permanent_mac.or(link.mac);
        if let Some(expected) = wanted.mac.filter(|expected| Some(*expected) != mac) {
            let has = mac.map_or_else(|| "none".to_owned(), pci::mac_text);
            return Some(format!("its hardware address is {has}, and mac says {}", pci::mac_text(expected)));
        }
        let expected = wanted.pci.as_deref()?;
        let has = self.function(link);
        (has.as_deref() != Some(expected)).then(|| {
            format!("it is at {}, and pci says {expected}", has.as_deref().unwrap_or("no PCI device"))
        })
    }

    /// The PCI function of an interface.
    fn function(&self, link: &Link) -> Option<String> {
        let mut functions = self.functions.borrow_mut();
        if let Some((_, known)) = functions.get(&link.ifindex).filter(|(name, _)| *name == link.name) {
            return known.clone();
        }
        let function = pci::function(link);
        functions.insert(link.ifindex, (link.name.clone(), function.clone()));
        function
    }

    /// An interface has gone; its number may become another's.
    pub(super) fn gone(&self, ifindex: u32) {
        self.functions.borrow_mut().remove(&ifindex);
    }

    /// Tells once when a name means other hardware than the configuration says.
    pub(super) fn tell(&mut self, link: &Link) {
        match self.refusal(link) {
            Some(why) if self.told.get(&link.name) == Some(&why) => {}
            Some(why) => {
                tracing::warn!(
                    interface = link.name,
                    "not taken for a member: {why}; name the interface that it shall be"
                );
                self.told.insert(link.name.clone(), why);
            }
            None => drop(self.told.remove(&link.name)),
        }
    }

    /// A member's interface is taken up: warns if its name was another piece of hardware's before.
    pub(super) fn note(&mut self, link: &Link) {
        let now = Seen::of(link);
        if now == Seen::default() {
            return;
        }
        let before = self.seen.insert(link.name.clone(), now.clone());
        if before.as_ref() == Some(&now) {
            return;
        }
        let tied = self.section_of(&link.name).is_some_and(|section| self.wanted.contains_key(section));
        if let Some(before) = before.filter(|_| !tied) {
            tracing::warn!(
                interface = link.name,
                "this name means other hardware than before: {}, it was {}; mac or pci in its section tie it to one",
                now.words(),
                before.words()
            );
        }
        kept::save(&self.file, &self.seen);
    }
}

#[cfg(test)]
mod tests;
