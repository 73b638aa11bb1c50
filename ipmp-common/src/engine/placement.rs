//! Which member carries which data address, and which carries none: pure functions.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    action::{PlacedAddress, Placement},
    config::OnGroupFailure,
    group::Group,
    ids::{Family, MemberId},
    member::slot,
    standing::Standing,
};

/// The placement that follows from how the members of a group stand; its epoch is still to be counted.
pub(super) fn wanted(group: &Group, standings: &[Standing]) -> Placement {
    let nobody = !standings.iter().any(Standing::active);
    // With no usable member nothing is taken away from any of them.
    let unusable = |standing: &Standing| !standing.functioning && !standing.awaited && !nobody;
    let withdrawn = group.config.on_group_failure == OnGroupFailure::Fail && has_failed(standings);
    Placement {
        group: group.id,
        epoch: 0,
        data: data(group, standings),
        withdrawn,
        unusable: those(standings, unusable),
        failed: those(standings, |standing| standing.failed),
        outbound: if withdrawn { Vec::new() } else { outbound(group, standings) },
    }
}

fn those(standings: &[Standing], which: impl Fn(&Standing) -> bool) -> Vec<MemberId> {
    standings.iter().filter(|standing| which(standing)).map(|standing| standing.id).collect()
}

/// No member can carry traffic, and not only because the administrator or the hardware took them away.
fn has_failed(standings: &[Standing]) -> bool {
    standings.iter().all(|standing| !standing.functioning)
        && standings.iter().any(|standing| standing.failed && !standing.offline)
}

fn data(group: &Group, standings: &[Standing]) -> Vec<PlacedAddress> {
    let mut active: Vec<&Standing> = standings.iter().filter(|standing| standing.active()).collect();
    // Who is spare has the most room.
    active.sort_by_key(|standing| !standing.standby);
    let active: Vec<MemberId> = active.into_iter().map(|standing| standing.id).collect();
    let lacking = Family::ALL.map(|family| those(standings, |standing| !standing.carries(family)));
    let carries = |member, family| !lacking[slot(family)].contains(&member);
    // For who may still come its own addresses are kept, and nothing else is put there.
    let awaited = those(standings, |standing| standing.awaited);
    let kept = |placed: &PlacedAddress| awaited.contains(&placed.home);
    let free: Vec<PlacedAddress> = group.addresses.iter().filter(|placed| !kept(placed)).copied().collect();
    let mut free = place(&free, &active, carries).into_iter();
    let places = group.addresses.iter().filter_map(|placed| {
        if kept(placed) { Some(PlacedAddress { on: placed.home, ..*placed }) } else { free.next() }
    });
    places.collect()
}

/// The members that outbound flows shall use. Without an active one they stay where they are, as addresses do; where
/// that is nobody knows after a restart, and whoever is there may be it.
fn outbound(group: &Group, standings: &[Standing]) -> Vec<MemberId> {
    if !group.config.outbound_spreading {
        return Vec::new();
    }
    let before = group.sent.as_ref().map_or(&[][..], |sent| &sent.placement.outbound);
    let nobody = !standings.iter().any(Standing::active);
    let stays = |standing: &Standing| before.is_empty() || before.contains(&standing.id);
    those(standings, |standing| if nobody { standing.present && stays(standing) } else { standing.active() })
}

/// Places every address, moving as few as possible.
///
/// An address goes home if its home is active; else it stays where it is if that member is active; else it
/// goes to the active member with the fewest addresses, the earlier one on a tie. Without any
/// active member nothing moves: the fault is then more likely elsewhere, and there is nowhere better.
///
/// A member on which the address's family is disabled is no place for it (in.mpathd asks for the same families, too);
/// where none is left, the address stays.
///
/// `active` is in the order of preference: standbys first, then as configured; `carries` tells whether a member can carry a family.
pub fn place(
    addresses: &[PlacedAddress],
    active: &[MemberId],
    carries: impl Fn(MemberId, Family) -> bool,
) -> Vec<PlacedAddress> {
    let mut load: BTreeMap<MemberId, usize> = active.iter().map(|member| (*member, 0)).collect();
    let mut placed = addresses.to_vec();
    let mut homeless = Vec::new();
    for (index, address) in placed.iter_mut().enumerate() {
        let fits = |member| carries(member, Family::of(address.address.addr()));
        if load.contains_key(&address.home) && fits(address.home) {
            address.on = address.home;
        }
        match load.get_mut(&address.on).filter(|_| fits(address.on)) {
            Some(count) => *count += 1,
            None => homeless.push(index),
        }
    }
    for index in homeless {
        let Some(address) = placed.get_mut(index) else { continue };
        let family = Family::of(address.address.addr());
        let able = active.iter().filter(|member| carries(**member, family));
        let lightest = able.min_by_key(|member| load.get(*member).copied().unwrap_or(0));
        if let Some(member) = lightest.copied() {
            address.on = member;
            *load.entry(member).or_default() += 1;
        }
    }
    placed
}
