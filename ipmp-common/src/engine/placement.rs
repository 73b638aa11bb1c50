//! Which member carries which data address: a pure function.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    action::PlacedAddress,
    ids::{Family, MemberId},
};

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
