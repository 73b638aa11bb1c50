//! Outbound flows follow the active members: off a lost one before anything else is done, or right after the announcement of a
//! move that was foreseen; onto a returned one after everything else.

use std::collections::BTreeSet;

use super::{Applier, Failure, Outcome};
use crate::net::{
    base::Base,
    inventory::Inventory,
    plan::Wanted,
    socket::Request,
    spread::{self, Change, Ours, Ways},
};

/// What this kernel was found to have, and what people were told.
#[derive(Debug)]
pub(super) struct Spreading {
    /// Nexthop objects, kernel 5.3, and the rules that lead to routes by them.
    possible: bool,
    /// Resilient groups of them, kernel 5.13.
    resilient: bool,
    /// Interfaces of the groups that were ordered until now: what spreads over others is not for us to judge.
    ordered: BTreeSet<u32>,
    told: BTreeSet<String>,
}

impl Default for Spreading {
    fn default() -> Self {
        Self { possible: true, resilient: true, ordered: BTreeSet::new(), told: BTreeSet::new() }
    }
}

impl Applier {
    /// Takes flows off members that are not to be used any more.
    pub(super) fn narrow_outbound(
        &mut self,
        inventory: &mut Inventory,
        wanted: &Wanted,
        outcome: &mut Outcome,
    ) {
        self.spreading.ordered.extend(wanted.members.iter().map(|member| member.ifindex));
        let changes = self.narrowing(inventory, &self.base, wanted);
        self.change_outbound(&mut inventory.ours, &changes, &mut outcome.errors);
    }

    /// What takes flows off them.
    pub(super) fn narrowing(&self, inventory: &Inventory, base: &Base, wanted: &Wanted) -> Vec<Change> {
        if wanted.outbound.is_empty() || inventory.ours.routes.is_empty() {
            return Vec::new();
        }
        spread::narrowing(&self.known(inventory), &spread::ways(inventory, base, wanted))
    }

    /// Brings everything about outbound flows to what it shall be.
    pub(super) fn spread_outbound(
        &mut self,
        inventory: &mut Inventory,
        wanted: &Wanted,
        outcome: &mut Outcome,
    ) {
        let mut ways = self.ways(inventory, wanted);
        for note in ways.unspread.difference(&self.spreading.told) {
            tracing::info!("outbound flows are not spread: {note}");
        }
        self.spreading.told.clone_from(&ways.unspread);
        self.make_outbound(inventory, &ways, &mut outcome.errors);
        if !self.spreading.possible && !ways.ways.is_empty() {
            ways = Ways::default();
            self.make_outbound(inventory, &ways, &mut outcome.errors);
        }
        let ours = self.known(inventory);
        let used = spread::claims(&ours, &ways).into_iter().filter(|(way, _)| way.group == outcome.group);
        outcome.outbound = Some(used.flat_map(|(_, group)| ours.interfaces(group)).collect());
    }

    fn ways(&self, inventory: &Inventory, wanted: &Wanted) -> Ways {
        if self.spreading.possible { spread::ways(inventory, &self.base, wanted) } else { Ways::default() }
    }

    /// The same where no job does: groups are gone.
    pub(super) fn respread(&mut self) -> Vec<Failure> {
        let wanted = self.merged();
        let mut inventory = match Inventory::dump_without_neighbours(&mut self.socket) {
            Ok(inventory) => inventory,
            Err(error) => return vec![Failure::of("reading the kernel's routes", &error)],
        };
        let mut errors = Vec::new();
        let ways = self.ways(&inventory, &wanted);
        self.make_outbound(&mut inventory, &ways, &mut errors);
        errors
    }

    fn make_outbound(&mut self, inventory: &mut Inventory, ways: &Ways, errors: &mut Vec<Failure>) {
        let had = self.spreading.resilient;
        let changes = spread::all(&self.known(inventory), ways, had);
        self.change_outbound(&mut inventory.ours, &changes, errors);
        if had && !self.spreading.resilient {
            let changes = spread::all(&self.known(inventory), ways, false);
            self.change_outbound(&mut inventory.ours, &changes, errors);
        }
    }

    /// What is by interfaces of groups that were ordered: after a restart the others' orders are still to come, and another
    /// daemon of this namespace may spread, too.
    fn known(&self, inventory: &Inventory) -> Ours {
        inventory.ours.by(|ifindex| self.spreading.ordered.contains(&ifindex))
    }

    /// Sends the changes and notes the results.
    fn change_outbound(&mut self, ours: &mut Ours, changes: &[Change], errors: &mut Vec<Failure>) {
        let requests: Vec<Request> = changes.iter().map(Change::request).collect();
        let mut refused = Vec::new();
        for (change, result) in changes.iter().zip(self.socket.batch(&requests)) {
            tracing::trace!(%change, refused = ?result.as_ref().err(), "netlink request");
            match result {
                Err(error) if !change.is_satisfied_by(error.errno()) => refused.push((change, error)),
                Ok(()) | Err(_) => ours.note(change),
            }
        }
        let lacking = |lacks: fn(&Change, i32) -> bool| {
            refused.iter().find(|(change, error)| lacks(change, error.errno())).map(|(_, error)| error)
        };
        if let Some(error) = lacking(lacks_objects) {
            self.spreading.possible = false;
            tracing::warn!("outbound flows are not spread: this kernel has no nexthop objects: {error}");
        } else if let Some(error) = lacking(lacks_rules) {
            self.spreading.possible = false;
            tracing::warn!("outbound flows are not spread: this kernel refuses the rules for it: {error}");
        } else if let Some(error) = lacking(lacks_resilient_groups) {
            self.spreading.resilient = false;
            tracing::info!(
                "outbound flows change their interface whenever one comes or goes: this kernel has no resilient nexthop \
                 groups: {error}"
            );
        } else {
            errors.extend(refused.iter().map(|(change, error)| Failure::of(change, error)));
        }
    }
}

fn lacks_objects(change: &Change, errno: i32) -> bool {
    matches!(change, Change::Make(object) if object.oif().is_some()) && errno == libc::EOPNOTSUPP
}

fn lacks_rules(change: &Change, errno: i32) -> bool {
    matches!(change, Change::AddRule(_))
        && matches!(errno, libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EINVAL)
}

fn lacks_resilient_groups(change: &Change, errno: i32) -> bool {
    matches!(change, Change::Make(object) if object.is_resilient())
        && matches!(errno, libc::EOPNOTSUPP | libc::EINVAL)
}
