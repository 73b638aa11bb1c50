//! The kernel's list of a key against what is known of it.

use std::collections::BTreeSet;

use super::{Base, order::Turns};
use crate::net::{plan::placement::Placement, route::Route};

/// What the lists of the kernel are compared under.
pub(super) struct Comparison<'a> {
    pub(super) base: &'a Base,
    pub(super) placement: &'a Placement<'a>,
    pub(super) present: &'a BTreeSet<Vec<u8>>,
    pub(super) stable: &'a BTreeSet<u32>,
    pub(super) turns: Turns,
}

impl Comparison<'_> {
    /// The base list of one key after comparing it with the kernel's.
    pub(super) fn merge(&self, known: &[Route], kernel: &[Route]) -> Vec<Route> {
        let Self { placement, present, stable, .. } = *self;
        let placed: Vec<Route> = known.iter().map(|route| placement.place(route)).collect();
        // Of several that have become one the kernel keeps one, with options of its own choice.
        let as_one = |route: &Route| placed.iter().filter(|other| other.clashes(route)).count() > 1;
        let stands = |placed: &Route| {
            kernel.contains(placed) || (as_one(placed) && kernel.iter().any(|there| there.clashes(placed)))
        };
        let removed = |placed: &Route| {
            present.contains(placed.identity())
                && !stands(placed)
                && (self.base.news.removed.contains(&placed.key())
                    || placement.interfaces(placed).iter().all(|ifindex| stable.contains(ifindex)))
        };
        // Who deletes the one that we moved and adds the one that was there before wants it.
        let again = |route: &Route| kernel.contains(route) && !present.contains(route.identity());
        let kept = || {
            let pairs = known.iter().zip(&placed);
            pairs.filter(|(route, placed)| !removed(placed) || again(route)).map(|(route, _)| route)
        };
        let ours = |route: &&Route| {
            !placed.contains(route)
                && !known.contains(route)
                && !present.contains(route.identity())
                && !as_one(route)
                && !self.is_left_over(known, route)
        };
        let at_home =
            known.iter().zip(&placed).all(|(route, placed)| route == placed && !placement.demotes(placed));
        if !at_home || self.is_disturbed(known) {
            let mut list = kept().cloned().collect();
            for route in kernel.iter().filter(ours) {
                self.turns.insert(&mut list, route.clone());
            }
            return list;
        }
        // Everything is where it belongs: the kernel's order is the order. Routes that went with a link take their old
        // place among the others.
        let mut list: Vec<Route> = Vec::with_capacity(kernel.len());
        for route in kernel {
            match known.iter().find(|known| *known == route) {
                Some(known) => list.push(known.clone()),
                None if ours(&route) => self.turns.insert(&mut list, route.clone()),
                None => {}
            }
        }
        for (index, route) in known.iter().enumerate() {
            let missing = !list.contains(route) && placement.moves(route);
            if missing && !removed(route) {
                list.insert(index.min(list.len()), route.clone());
            }
        }
        list
    }

    /// Whether the order of a list is an accident: a route that went with its address comes back as the last.
    fn is_disturbed(&self, known: &[Route]) -> bool {
        self.base.news.lost
            || known.iter().any(|route| self.base.news.robbed.iter().any(|ifindex| route.uses(*ifindex)))
    }

    /// Whether a route is a known one, placed on other members: what a move that was not finished leaves.
    fn is_left_over(&self, known: &[Route], route: &Route) -> bool {
        route.hops().iter().any(|hop| self.base.is_inherited(hop.oif))
            && known.iter().any(|known| self.placement.variants(known).any(|moved| moved == *route))
    }
}
