//! The names that tied hardware has now.
//!
//! Everywhere but in the file an interface has the kernel's name. A section that is tied to a piece of hardware is therefore
//! read as if it had that piece's present name; only if that changes is anything to be done.

use std::collections::{BTreeMap, BTreeSet};

use ipmp_common::engine::config::Config;

use super::{super::pci, Identities};
use crate::{
    config::{FileConfig, Identity},
    daemon::kept,
    net::{
        Renames,
        inventory::{Inventory, Link},
    },
};

/// The present name of each tied section's hardware, as far as it is another than the section's.
pub(super) type Presents = BTreeMap<String, String>;

impl Identities {
    /// Another configuration. A section that is not tied any more means its name again.
    pub(in super::super) fn set(&mut self, config: &FileConfig) {
        self.wanted.clone_from(&config.identities);
        let plain = plain(&config.engine, &self.wanted);
        self.present.retain(|section, name| config.identities.contains_key(section) && !plain.contains(name));
    }

    /// The section that means the interface of this name, if there may be one.
    pub(in super::super) fn section_of<'s>(&'s self, name: &'s str) -> Option<&'s str> {
        let named = self.present.iter().find(|(_, present)| *present == name);
        let own = || (!self.present.contains_key(name)).then_some(name);
        named.map(|(section, _)| section.as_str()).or_else(own)
    }

    /// What the hardware of a section is called.
    pub(in super::super) fn present<'s>(&'s self, section: &'s str) -> &'s str {
        self.present.get(section).map_or(section, String::as_str)
    }

    /// A configuration with the names that the hardware has.
    pub(in super::super) fn read(&self, config: &Config) -> Config {
        let mut config = config.clone();
        for interface in config.groups.iter_mut().flat_map(|group| &mut group.interfaces) {
            if let Some(present) = self.present.get(&interface.name) {
                interface.name.clone_from(present);
            }
        }
        config
    }

    /// Whether any section is tied to hardware.
    pub(in super::super) fn any(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Looks what tied hardware is called; the answer says what has another name than before.
    pub(in super::super) fn follow(&mut self, inventory: &Inventory, config: &Config) -> Renames {
        let present = self.look(inventory, config);
        let before = std::mem::replace(&mut self.present, present);
        let name = |names: &Presents, section: &String| names.get(section).unwrap_or(section).clone();
        let both = self.wanted.keys().map(|section| (name(&before, section), name(&self.present, section)));
        both.filter(|(before, now)| before != now).collect()
    }

    /// For the next daemon.
    pub(in super::super) fn save(&self) {
        kept::save(&self.names, &self.present);
    }

    fn look(&mut self, inventory: &Inventory, config: &Config) -> Presents {
        let plain = plain(config, &self.wanted);
        let mut taken = plain.clone();
        let (mut present, mut disputed) = (BTreeMap::new(), BTreeMap::new());
        for (section, wanted) in &self.wanted {
            let Some(link) = self.find(inventory, wanted, self.present(section)) else { continue };
            if plain.contains(&link.name) {
                let name = &link.name;
                let why = format!(
                    "its hardware is called {name} now, and {name} has a section of its own: tie that to its hardware, too (mac or pci)"
                );
                if self.disputed.get(section) != Some(&why) {
                    tracing::warn!(interface = section, "{why}");
                }
                disputed.insert(section.clone(), why);
            } else if taken.insert(link.name.clone()) {
                present.insert(section.clone(), link.name.clone());
            }
        }
        self.disputed = disputed;
        for (section, wanted) in &self.wanted {
            if present.contains_key(section) {
                continue;
            }
            // Its last name, else its section's; if both are another's now, what it is known by, which is no name of an
            // interface (`dev_valid_name` in net/core/dev.c).
            let names = [self.present(section).to_owned(), section.clone(), words(wanted)];
            if let Some(name) = names.into_iter().find(|name| !taken.contains(name)) {
                taken.insert(name.clone());
                present.insert(section.clone(), name);
            }
        }
        present.retain(|section, name| section != name);
        present
    }

    /// The hardware that is meant: the interface of this name if it fits, else the only one that does. What is virtual has no
    /// hardware address of its own, and so stands behind whatever has.
    fn find<'i>(&self, inventory: &'i Inventory, wanted: &Identity, name: &str) -> Option<&'i Link> {
        let at_place =
            |link: &Link| wanted.pci.as_ref().is_none_or(|pci| self.function(link).as_ref() == Some(pci));
        let permanent = |link: &Link| wanted.mac.is_none() || link.permanent_mac == wanted.mac;
        let present = |link: &Link| link.permanent_mac.or(link.mac) == wanted.mac;
        let fits = |link: &&Link| permanent(link) && at_place(link);
        let seems = |link: &&Link| wanted.mac.is_some() && present(link) && at_place(link);
        let named = inventory.link_by_name(name);
        let only = |mut links: Vec<&'i Link>| links.pop().filter(|_| links.is_empty());
        named
            .filter(fits)
            .or_else(|| only(inventory.links.values().filter(fits).collect()))
            .or_else(|| named.filter(seems))
            .or_else(|| only(inventory.links.values().filter(seems).collect()))
    }

    /// Why a section's hardware cannot be had although it is there.
    pub(in super::super) fn dispute(&self, name: &str) -> Option<String> {
        self.disputed.get(self.section_of(name)?).cloned()
    }
}

/// The names that sections without a tie mean.
fn plain(config: &Config, tied: &BTreeMap<String, Identity>) -> BTreeSet<String> {
    let names = config.groups.iter().flat_map(|group| &group.interfaces).map(|interface| &interface.name);
    names.filter(|name| !tied.contains_key(*name)).cloned().collect()
}

fn words(wanted: &Identity) -> String {
    wanted.mac.map(pci::mac_text).or_else(|| wanted.pci.clone()).unwrap_or_default()
}
