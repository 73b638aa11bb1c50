//! Which member carries which data address: a pure function.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{action::PlacedAddress, ids::MemberId};

/// Places every address, moving as few as possible.
///
/// An address goes home if its home is active; else it stays where it is if that member is active; else it
/// goes to the active member with the fewest addresses, the earlier configured one on a tie. Without any
/// active member nothing moves: the fault is then more likely elsewhere, and there is nowhere better.
///
/// `active` is in the order of the configuration.
pub fn place(addresses: &[PlacedAddress], active: &[MemberId]) -> Vec<PlacedAddress> {
    let mut load: BTreeMap<MemberId, usize> = active.iter().map(|member| (*member, 0)).collect();
    let mut placed = addresses.to_vec();
    let mut homeless = Vec::new();
    for (index, address) in placed.iter_mut().enumerate() {
        if load.contains_key(&address.home) {
            address.on = address.home;
        }
        match load.get_mut(&address.on) {
            Some(count) => *count += 1,
            None => homeless.push(index),
        }
    }
    for index in homeless {
        let lightest = active.iter().min_by_key(|member| load.get(member).copied().unwrap_or(0));
        if let (Some(member), Some(address)) = (lightest.copied(), placed.get_mut(index)) {
            address.on = member;
            *load.entry(member).or_default() += 1;
        }
    }
    placed
}
