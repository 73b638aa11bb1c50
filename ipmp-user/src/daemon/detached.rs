//! Interfaces that were detached: left alone while they are there, and expected to come back.
//!
//! The list is kept in the runtime directory. A daemon that is started anew must not take up what the administrator
//! is about to pull out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::kept;
use crate::net::{
    Renames,
    inventory::{Inventory, Link},
    renamed,
};

/// The list.
#[derive(Debug, Default)]
pub(super) struct Detached {
    file: PathBuf,
    known: Known,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Those that are still there: name and ifindex.
    here: BTreeMap<String, u32>,
    /// Those that were removed since.
    gone: BTreeSet<String>,
}

impl Detached {
    /// As an earlier run left it; what changed meanwhile is taken in.
    pub(super) fn load(runtime_dir: &Path, inventory: &Inventory) -> Self {
        let file = runtime_dir.join("detached.json");
        let mut detached = Self { known: kept::load(&file), file };
        let here = std::mem::take(&mut detached.known.here);
        for (name, ifindex) in here {
            match (inventory.link(ifindex), inventory.link_by_name(&name)) {
                // Perhaps under another name.
                (Some(link), _) => drop(detached.known.here.insert(link.name.clone(), ifindex)),
                (None, Some(_)) => {}
                (None, None) => drop(detached.known.gone.insert(name)),
            }
        }
        detached
    }

    /// Whether this interface is to be left alone.
    pub(super) fn holds(&self, link: &Link) -> bool {
        self.known.here.get(&link.name) == Some(&link.ifindex)
    }

    /// It was detached.
    pub(super) fn add(&mut self, name: &str, ifindex: u32) {
        self.known.here.insert(name.to_owned(), ifindex);
        self.save();
    }

    /// It is wanted again.
    pub(super) fn remove(&mut self, name: &str) {
        if self.known.here.remove(name).is_some() | self.known.gone.remove(name) {
            self.save();
        }
    }

    /// Interfaces that have other names now.
    pub(super) fn rename(&mut self, renames: &Renames) {
        let Known { here, gone } = std::mem::take(&mut self.known);
        self.known = Known {
            here: here.into_iter().map(|(name, ifindex)| (renamed(renames, &name), ifindex)).collect(),
            gone: gone.iter().map(|name| renamed(renames, name)).collect(),
        };
        self.save();
    }

    /// An interface has gone; the next one of that name is a new one.
    pub(super) fn gone(&mut self, name: &str) {
        if self.known.here.remove(name).is_some() {
            self.known.gone.insert(name.to_owned());
            self.save();
        }
    }

    /// Whether an interface is one that was detached, removed, and is back.
    pub(super) fn is_back(&self, name: &str) -> bool {
        self.known.gone.contains(name)
    }

    fn save(&self) {
        kept::save(&self.file, &self.known);
    }
}
