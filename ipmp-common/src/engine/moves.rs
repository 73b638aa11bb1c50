//! Placements and announcements: what is asked for, and what came of it.

use alloc::{collections::BTreeSet, vec::Vec};
use core::net::IpAddr;

use super::{
    action::{Action, PlacedAddress, Placement},
    config::Announcements,
    core_loop::Engine,
    event::Applied,
    group::{Announcing, Move, SentPlacement},
    ids::{Family, GroupId, MemberId},
    placement::wanted,
    reason::{Kind, Reason, Record},
    time::{Nanos, Timestamp},
    timer::TimerKey,
};

/// Addresses that are announced again in one go: what fits into a short transmit queue, of others as well.
pub(super) const BURST: usize = 64;
/// Time between two such bursts, in which 10 Mbit/s carry one.
pub(super) const BURST_INTERVAL: Nanos = Nanos::from_millis(5);

impl Engine {
    /// Recomputes the placement and asks for it if anything it rests on has changed.
    pub(super) fn settle_placement(&mut self, now: Timestamp, id: GroupId) {
        let Some(group) = self.group(id).filter(|group| !group.config.is_anonymous()) else { return };
        let placement = wanted(group, &self.standings(now, group));
        let withdrawn = placement.withdrawn;
        let ifindexes = self.members_of(id).map(|member| member.ifindex).collect();
        let sent = SentPlacement { placement, ifindexes };
        if group.sent.as_ref() == Some(&sent) {
            return;
        }
        let epoch = group.epoch + 1;
        let moves = self.moves(now, id, epoch, &sent.placement.data);
        self.note_withdrawal(now, id, epoch, withdrawn);
        let placement = Placement { epoch, ..sent.placement.clone() };
        let Some(group) = self.group_mut(id) else { return };
        group.epoch = epoch;
        group.addresses.clone_from(&placement.data);
        group.sent = Some(sent);
        // One story for each address, also if placements are never answered.
        let overtaken: BTreeSet<ipnet::IpNet> = moves.iter().map(|entry| entry.address.address).collect();
        group.moves.retain(|entry| !overtaken.contains(&entry.address.address));
        group.moves.extend(moves);
        self.actions.push_back(Action::SetPlacement(placement));
    }

    fn note_withdrawal(&mut self, now: Timestamp, id: GroupId, epoch: u64, withdrawn: bool) {
        let Some(group) = self.group_mut(id) else { return };
        let before = group.sent.as_ref().is_some_and(|sent| sent.placement.withdrawn);
        let addresses = group.addresses.len() as u32;
        if before == withdrawn || addresses == 0 {
            return;
        }
        if withdrawn {
            group.announcing.clear();
        } else {
            group.returned = Some(epoch);
        }
        let reason = if withdrawn { Reason::Withdrawn { addresses } } else { Reason::Returned { addresses } };
        self.publish(now, Kind::Withdrawn, Some(id), None, reason);
    }

    fn moves(&self, now: Timestamp, id: GroupId, epoch: u64, data: &[PlacedAddress]) -> Vec<Move> {
        let Some(group) = self.group(id) else {
            return Vec::new();
        };
        let changed = group.addresses.iter().zip(data).filter(|(old, new)| old.on != new.on);
        changed
            .map(|(old, new)| {
                let home = new.on == new.home;
                let cause = if home { new.on } else { old.on };
                Move {
                    epoch,
                    address: *new,
                    reason: if home {
                        Reason::Failback { from: old.on }
                    } else {
                        Reason::Failover { from: old.on }
                    },
                    // Not what a probe said moves addresses then, but an order.
                    evidence_at: self
                        .member(cause)
                        .filter(|member| !member.is_offline() && !member.recalled)
                        .and_then(Self::evidence_at),
                    decided_at: now,
                }
            })
            .collect()
    }

    /// Moves that a later placement overtook are no longer among the open ones: they never took place. Nor did those
    /// that found everything in its place, as after a restart.
    pub(super) fn applied(&mut self, now: Timestamp, applied: &Applied) {
        let Applied { group: id, epoch, applied_at, announced_at, changes } = *applied;
        let Some(group) = self.group_mut(id) else { return };
        let (done, open): (Vec<Move>, Vec<Move>) =
            core::mem::take(&mut group.moves).into_iter().partition(|entry| entry.epoch <= epoch);
        let done = if changes == 0 { Vec::new() } else { done };
        group.moves = open;
        let returned = group.returned.take_if(|at| *at <= epoch).is_some();
        let first = returned || epoch == 1 && done.is_empty();
        let announced: Vec<PlacedAddress> =
            if first { group.addresses.clone() } else { done.iter().map(|entry| entry.address).collect() };
        for entry in done {
            self.publish_with(Record {
                group: Some(id),
                member: Some(entry.address.on),
                address: Some(entry.address.address),
                evidence_at: entry.evidence_at,
                decided_at: Some(entry.decided_at),
                applied_at: Some(applied_at),
                announced_at,
                ..Record::new(now, Kind::Moved, entry.reason)
            });
        }
        if let Some(at) = announced_at {
            self.start_announcing(now, id, at, &announced);
        }
    }

    /// A neighbour answers from other hardware: a router or switch that took over does not know what the former one was told.
    /// Where addresses are being announced anyway it hears of them in time, so neighbours that flap cause no storm.
    pub(super) fn neighbour_moved(&mut self, now: Timestamp, id: MemberId) {
        let Some(group) = self.member(id).and_then(|member| self.group(member.group)) else { return };
        if group.announcing.iter().all(|entry| entry.member != id) {
            self.announce_where_it_stands(now, id);
        }
    }

    /// Announces what stands on a member whose link is back, or whose hardware address is another: the switch behind the link
    /// may be another one, or have forgotten where these addresses are. The kernel does so only if `arp_notify` is set
    /// (Documentation/networking/ip-sysctl.rst).
    pub(super) fn announce_where_it_stands(&mut self, now: Timestamp, id: MemberId) {
        let Some(member) = self.member(id) else { return };
        let group_id = member.group;
        let Some(group) = self.group(group_id) else { return };
        if group.sent.as_ref().is_none_or(|sent| sent.placement.withdrawn) {
            return;
        }
        let placed: Vec<PlacedAddress> =
            group.addresses.iter().filter(|placed| placed.on == id).copied().collect();
        if placed.is_empty() {
            return;
        }
        let addresses = placed.iter().map(|placed| placed.address.addr()).collect();
        self.actions.push_back(Action::Announce { addresses, member: id });
        self.start_announcing(now, group_id, now, &placed);
    }

    /// The first announcement was part of the placement; the repetitions follow from here.
    fn start_announcing(&mut self, now: Timestamp, id: GroupId, at: Timestamp, placed: &[PlacedAddress]) {
        let hosts: BTreeSet<MemberId> = placed.iter().map(|placed| placed.on).collect();
        for member in hosts {
            let addresses: BTreeSet<IpAddr> = placed
                .iter()
                .filter(|placed| placed.on == member)
                .map(|placed| placed.address.addr())
                .collect();
            self.publish_with(Record {
                group: Some(id),
                member: Some(member),
                announced_at: Some(at),
                ..Record::new(
                    now,
                    Kind::Announced,
                    Reason::Announcement { addresses: addresses.len() as u32 },
                )
            });
            if let Some(group) = self.group_mut(id) {
                for other in &mut group.announcing {
                    other.addresses.retain(|address| !addresses.contains(address));
                }
                let mut next_at = at + group.config.announcements.interval;
                let addresses: Vec<IpAddr> = addresses.into_iter().collect();
                for burst in addresses.chunks(BURST) {
                    let addresses = burst.iter().copied().collect();
                    group.announcing.push(Announcing { member, addresses, made: 1, next_at });
                    next_at = next_at + BURST_INTERVAL;
                }
            }
        }
        self.arm_announcing(id);
    }

    fn arm_announcing(&mut self, id: GroupId) {
        let Some(group) = self.group_mut(id) else { return };
        group.announcing.retain(|entry| !entry.addresses.is_empty());
        match group.announcing.iter().map(|entry| entry.next_at).min() {
            Some(at) => self.timers.set(TimerKey::Announce(id), at),
            None => self.timers.cancel(TimerKey::Announce(id)),
        }
    }

    pub(super) fn announce_again(&mut self, now: Timestamp, id: GroupId) {
        let Some(group) = self.groups.get_mut(id.0 as usize) else {
            return;
        };
        let places: BTreeSet<(IpAddr, MemberId)> =
            group.addresses.iter().map(|placed| (placed.address.addr(), placed.on)).collect();
        let Announcements { ipv4, ipv6, interval } = group.config.announcements;
        for entry in group.announcing.iter_mut().filter(|entry| entry.next_at <= now) {
            entry.addresses.retain(|address| {
                let total = match Family::of(*address) {
                    Family::V4 => u32::from(ipv4),
                    Family::V6 => u32::from(ipv6),
                };
                let still_there = places.contains(&(*address, entry.member));
                still_there && entry.made < total
            });
            entry.made += 1;
            entry.next_at = now + interval;
            if !entry.addresses.is_empty() {
                let addresses = entry.addresses.iter().copied().collect();
                self.actions.push_back(Action::Announce { addresses, member: entry.member });
            }
        }
        self.arm_announcing(id);
    }
}
