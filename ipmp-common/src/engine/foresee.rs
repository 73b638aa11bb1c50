//! What would be ordered next: known beforehand, so that the orders can be made ready while nobody waits for them.

use alloc::vec::Vec;

use super::{
    action::Placement, activity::settle, core_loop::Engine, group::Group, ids::GroupId, placement::wanted,
    standing::Standing, time::Timestamp,
};

/// Larger groups are left out. The work grows with the square of the members: each of them may change, and each such
/// change asks for the place of every address.
const MAX_MEMBERS: usize = 16;
/// So are groups with more addresses: what the kernel has to do for those takes far longer than planning it.
const MAX_ADDRESSES: usize = 100;

impl Engine {
    /// The placements that would be ordered of a group if one more member failed, or one that failed were repaired, each on
    /// its own. A failback delay is taken as over; that of a member which is repaired already and waits for its end is a
    /// change of its own. Their epoch is 0: which one it will be depends on what happens before.
    ///
    /// Not foreseen is what happens at once with it: where the last one that functioned fails, whoever was only held down
    /// or delayed is repaired in the same turn (see [`Damping`](super::config::Damping)).
    ///
    /// None equals the one that the group was told last, and each comes once. There are none for interfaces that are in no
    /// group, before the first placement, and for a group of more than 16 members or 100 addresses, where they would cost
    /// too much.
    pub fn foreseen(&self, now: Timestamp, group: GroupId) -> Vec<Placement> {
        self.group(group).map_or_else(Vec::new, |group| foreseen_of(group, &self.standings(now, group)))
    }
}

fn foreseen_of(group: &Group, standings: &[Standing]) -> Vec<Placement> {
    let small = standings.len() <= MAX_MEMBERS && group.addresses.len() <= MAX_ADDRESSES;
    let Some(sent) = group.sent.as_ref().filter(|_| small) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for mut next in (0..standings.len()).flat_map(|position| changes_of(group, standings, position)) {
        settle(group, &mut next);
        let placement = wanted(group, &next);
        if placement != sent.placement && !found.contains(&placement) {
            found.push(placement);
        }
    }
    found
}

/// How all would stand after each change that one member may go through.
fn changes_of(group: &Group, standings: &[Standing], position: usize) -> Vec<Vec<Standing>> {
    let Some(chosen) = standings.get(position) else { return Vec::new() };
    let with = |changed: Standing| {
        let mut next = standings.to_vec();
        next.splice(position..=position, [changed]);
        next
    };
    let mut changes = Vec::new();
    if chosen.functioning {
        changes.push(with_failure(standings, position));
    }
    if chosen.functioning && chosen.failback_waits {
        changes.push(with(Standing { failback_waits: false, ..*chosen }));
    }
    if chosen.failed && chosen.present && !chosen.offline {
        changes.push(with(chosen.repaired(group)));
    }
    changes
}

/// One fails, and as a group those with it that have no link either, if nobody is left who has one.
fn with_failure(standings: &[Standing], position: usize) -> Vec<Standing> {
    let others = || standings.iter().enumerate().filter(|(other, _)| *other != position);
    let alone = !others().any(|(_, standing)| standing.functioning && standing.link_up);
    let failed = |(other, standing): (usize, &Standing)| match other == position {
        // Who was waited for has been waited for long enough.
        true => Standing { awaited: false, ..standing.failed() },
        false if alone && standing.functioning => standing.failed(),
        false => *standing,
    };
    standings.iter().enumerate().map(failed).collect()
}

impl Standing {
    const fn failed(&self) -> Self {
        Self {
            failed: true,
            functioning: false,
            inactive: false,
            recalled: false,
            failback_waits: false,
            ..*self
        }
    }

    const fn repaired(&self, group: &Group) -> Self {
        Self {
            failed: false,
            functioning: true,
            inactive: self.standby || !group.repaired_serve(),
            // It has its link again.
            awaited: false,
            ..*self
        }
    }
}
