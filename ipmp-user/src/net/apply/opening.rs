//! What is likely to be ordered next is planned while nobody waits, so that its beginning only has to be sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipmp_common::engine::ids::{Family, GroupId};
use ipnet::IpNet;

use super::{Ahead, Applier, Job, Outcome, monotonic};
use crate::net::{
    inventory::Inventory,
    plan::{Op, Wanted, neighbours::Moving, opening::Opening},
    socket::Batch,
    spread,
};

/// Placements that are made ready at most: each takes a fraction of a millisecond, after every change.
const MAX_READY: usize = 32;

/// The beginning of a placement, ready to be sent.
#[derive(Debug)]
pub(super) struct Ready {
    opening: Opening,
    /// Its additions.
    additions: Batch,
    /// Its routes.
    routes: Batch,
    /// Takes outbound flows off members that are not to be used any more.
    narrowing: Batch,
}

/// What has been done of a placement before the rest of it is planned.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Addresses that stand on their new interface now.
    pub(super) moved: Vec<(Option<u32>, u32, IpNet)>,
    /// What the kernel refused, with the interface it was for.
    refused: BTreeSet<(u32, IpAddr)>,
}

impl Opened {
    /// The addresses with their new interfaces.
    pub(super) fn arrived(&self) -> Vec<(u32, IpAddr)> {
        self.moved.iter().map(|(_, on, net)| (*on, net.addr())).collect()
    }

    /// Of these the IPv6 ones.
    pub(super) fn added_v6(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        self.arrived().into_iter().filter(|(_, ip)| Family::of(*ip) == Family::V6)
    }
}

impl Applier {
    /// What a group may be ordered next; it is made ready in the next idle moment.
    pub fn foresee(&mut self, group: GroupId, wanted: Vec<Wanted>) {
        self.foreseen.insert(group, wanted);
    }

    /// Makes ready what is foreseen, until somebody is waiting.
    pub fn make_ready(&mut self, is_awaited: impl Fn() -> bool) {
        if self.foreseen.is_empty() || is_awaited() {
            return;
        }
        // Reading it again would take longer than planning saves.
        if self.ahead.as_ref().is_some_and(|ahead| !Opening::is_worthwhile(&ahead.inventory)) {
            return;
        }
        let (ahead, _) = self.recall();
        self.ahead = ahead.filter(|_| self.watch.heard_nothing());
        if self.ahead.is_none() {
            self.look_ahead();
        }
        let Some(mut ahead) = self.ahead.take() else { return };
        ahead.ready.clear();
        // Of each group one in turn.
        let mut each: Vec<(usize, GroupId, &Wanted)> = self
            .foreseen
            .iter()
            .flat_map(|(group, each)| each.iter().enumerate().map(|(turn, wanted)| (turn, *group, wanted)))
            .collect();
        each.sort_by_key(|(turn, group, _)| (*turn, *group));
        for (_, group, wanted) in each.into_iter().take(MAX_READY) {
            if is_awaited() {
                break;
            }
            let wanted = self.merged_with(group, wanted);
            ahead.ready.extend(self.ready(&ahead, &wanted));
        }
        self.ahead = Some(ahead);
    }

    /// What is wanted of all groups, were this wanted of one.
    fn merged_with(&self, group: GroupId, wanted: &Wanted) -> Wanted {
        let others = self.wanted.iter().map(|(other, known)| (*other, known));
        let then: BTreeMap<GroupId, &Wanted> = others.chain([(group, wanted)]).collect();
        then.into_values().collect()
    }

    fn ready(&self, ahead: &Ahead, wanted: &Wanted) -> Option<Ready> {
        let Ahead { inventory, learned, .. } = ahead;
        if !learned.holds_for(wanted) {
            return None;
        }
        let opening = Opening::plan(inventory, &learned.base, wanted, monotonic())?;
        let changes = self.narrowing(inventory, &learned.base, wanted);
        Some(Ready {
            additions: opening.additions.iter().map(Op::request).collect(),
            routes: opening.routes.iter().map(Op::request).collect(),
            narrowing: changes.iter().map(spread::Change::request).collect(),
            opening,
        })
    }

    /// Begins a move, if that is ready and the kernel is still as it was then: all that may have changed is a link that is
    /// not to be used any more. Nothing that it refuses is reported, for what is still missing will be tried again.
    pub(super) fn open_move(
        &mut self,
        ahead: &mut Ahead,
        wanted: &Wanted,
        job: &Job,
        outcome: &mut Outcome,
    ) -> Option<Opened> {
        let lost = wanted.unusable.iter().filter_map(|member| wanted.ifindex(*member)).collect();
        if self.state.is_blank() || !self.watch.heard_only_of(&lost) {
            return None;
        }
        let at = ahead.ready.iter().position(|ready| ready.opening.wanted == *wanted)?;
        let Ready { opening, additions: mut batch, routes: route_batch, mut narrowing } =
            ahead.ready.swap_remove(at);
        let Opening { additions: mut ops, routes, removals, rest, moved, .. } = opening;
        let moving = Moving { wanted, known: &job.neighbours, moved: &moved, routes: &routes };
        let copies = moving.copies();
        batch.extend(copies.iter().map(Op::request));
        batch.append(&route_batch);
        let results = self.socket.exchange(&mut batch);
        outcome.applied_at = monotonic();
        outcome.foreseen = true;

        let news = std::mem::take(&mut self.base.news);
        self.base = std::mem::take(&mut ahead.learned.base);
        self.base.news.extend(&news);
        self.present = std::mem::take(&mut ahead.learned.present);
        ops.extend(copies);
        ops.extend(routes);
        let (refused, failures) = self.take_results(&ops, results);
        outcome.changes += ops.len() as u32;
        if refused.addresses.is_empty() {
            let removable = removals.removable(&refused.routes);
            if !removable.is_empty() {
                self.send(&removable);
                outcome.changes += removable.len() as u32;
                outcome.applied_at = monotonic();
            }
        }
        let mut opened = Opened { moved, refused: refused.addresses };
        let stands = |on: u32, ip: IpAddr| !opened.refused.contains(&(on, ip));
        opened.moved.retain(|(_, on, net)| stands(*on, net.addr()));
        outcome.announced_at = self.announce(&ahead.inventory, &opened.arrived(), &mut outcome.errors);
        let is_refused = |op: &Op| matches!(op, Op::SetAddress(set) if !stands(set.ifindex(), set.ip()));
        let rest: Vec<Op> = rest.into_iter().filter(|op| !is_refused(op)).collect();
        self.execute(&rest, outcome);
        self.socket.exchange(&mut narrowing);
        for failure in failures {
            tracing::debug!(what = failure.what, "refused at first");
        }
        // What is read from now on is as the kernel has it after that.
        self.watch.forget_carrier_loss();
        Some(opened)
    }

    /// Things are where the opening put them; what others did meanwhile is theirs. Nothing is said by what is missing: that
    /// may be the opening's doing.
    pub(super) fn note_opening(&mut self, inventory: &Inventory, wanted: &Wanted, opened: &Opened) {
        self.base.note_placement(inventory, wanted, &opened.refused);
        self.base.news.lost = true;
    }
}
