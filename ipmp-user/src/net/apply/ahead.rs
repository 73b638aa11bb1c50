//! What can be done while nobody waits: the kernel is read after each job, and compared with what is known.

use std::collections::BTreeSet;

use super::{Applier, opening::Ready};
use crate::net::{
    NetError,
    base::{Base, presence},
    inventory::Inventory,
    plan::Wanted,
};

/// The kernel's state after the last job, true as long as the watch has nothing to say, and what is learned from it.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) inventory: Inventory,
    pub(super) learned: Learned,
    /// The beginnings of what may be ordered next.
    pub(super) ready: Vec<Ready>,
}

/// What the comparison gives: it depends on members and homes, not on where addresses shall be.
#[derive(Debug)]
pub(super) struct Learned {
    wanted: Wanted,
    pub(super) base: Base,
    pub(super) present: BTreeSet<Vec<u8>>,
}

impl Learned {
    /// Whether it holds for what is wanted now.
    pub(super) fn holds_for(&self, wanted: &Wanted) -> bool {
        self.wanted.has_homes_of(wanted)
    }
}

impl Applier {
    /// Looks at the kernel while nobody waits, so that the next job need not. Without success it looks itself.
    pub fn look_ahead(&mut self) {
        self.watch.collect(None, &self.deleted, &mut self.base.news);
        self.deleted.clear();
        let inventory = Inventory::dump_without_neighbours(&mut self.socket).ok();
        self.ahead = inventory.map(|inventory| {
            let wanted = self.merged();
            let (base, present) = self.compare(&inventory, &wanted);
            Ahead { inventory, learned: Learned { wanted, base, present }, ready: Vec::new() }
        });
    }

    /// What was known ahead, kept current where that is exact, and whether it is out of date nevertheless.
    pub(super) fn recall(&mut self) -> (Option<Ahead>, bool) {
        self.watch.begin();
        let mut ahead = self.ahead.take();
        let picture = ahead.as_mut().map(|ahead| &mut ahead.inventory);
        let stale = self.watch.collect(picture, &self.deleted, &mut self.base.news);
        (ahead, stale)
    }

    /// Reads the kernel's state now.
    pub(super) fn look(&mut self) -> Result<Inventory, NetError> {
        let inventory = Inventory::dump_without_neighbours(&mut self.socket)?;
        self.hear();
        Ok(inventory)
    }

    /// Takes in what was changed while the kernel was read.
    pub(super) fn hear(&mut self) {
        self.watch.collect(None, &self.deleted, &mut self.late);
        self.base.news.extend(&self.late);
    }

    /// Takes in what changed in the kernel since the last comparison, unless that was done ahead.
    pub(super) fn learn_from(&mut self, inventory: &Inventory, wanted: &Wanted, ahead: Option<Learned>) {
        let ahead = ahead.filter(|ahead| ahead.holds_for(wanted));
        let learned = ahead.map(|ahead| (ahead.base, ahead.present));
        (self.base, self.present) = learned.unwrap_or_else(|| self.compare(inventory, wanted));
    }

    /// The base and what is present after a comparison.
    fn compare(&self, inventory: &Inventory, wanted: &Wanted) -> (Base, BTreeSet<Vec<u8>>) {
        let (mut base, mut present) = (self.base.clone(), self.present.clone());
        base.learn(inventory, wanted, &present);
        // What is gone and comes back later is news.
        let mut there: BTreeSet<Vec<u8>> =
            inventory.routes.values().flatten().map(|route| route.identity().to_vec()).collect();
        there.extend(inventory.nexthops.keys().map(|id| presence(*id)));
        present.retain(|identity| there.contains(identity));
        (base, present)
    }
}
