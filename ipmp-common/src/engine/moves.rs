//! Placements and announcements: what is asked for, and what came of it.

use alloc::{collections::BTreeSet, vec::Vec};
use core::net::IpAddr;

use super::{
    action::{Action, PlacedAddress, Placement},
    config::OnGroupFailure,
    core_loop::Engine,
    event::Applied,
    group::{Announcing, Group, Move, SentPlacement},
    ids::{Family, GroupId, MemberId},
    member::Member,
    placement::place,
    reason::{Kind, Reason, Record},
    time::{Nanos, Timestamp},
    timer::TimerKey,
};

/// Announcements of an IPv4 address after it moved, the first included (RFC 5227 section 2.3 asks for two;
/// Solaris sends five).
pub(super) const ANNOUNCEMENTS_V4: u32 = 5;
/// Unsolicited neighbour advertisements of an IPv6 address (RFC 4861, `MAX_NEIGHBOR_ADVERTISEMENT`).
pub(super) const ANNOUNCEMENTS_V6: u32 = 3;
/// Time between two announcements (RFC 5227 `ANNOUNCE_INTERVAL`).
pub(super) const ANNOUNCE_INTERVAL: Nanos = Nanos::from_secs(2);

impl Engine {
    /// Recomputes the placement and asks for it if anything it rests on has changed.
    pub(super) fn settle_placement(&mut self, now: Timestamp, id: GroupId) {
        if self.is_anonymous(id) {
            return;
        }
        let mut active: Vec<&Member> = self.members_of(id).filter(|member| member.active()).collect();
        // Who is spare has the most room.
        active.sort_by_key(|member| !member.config.standby);
        let active: Vec<MemberId> = active.into_iter().map(|member| member.id).collect();
        // With no usable member nothing is taken away from any of them.
        let unusable: Vec<MemberId> = self
            .members_of(id)
            .filter(|member| !member.functioning() && !member.is_awaited() && !active.is_empty())
            .map(|member| member.id)
            .collect();
        let failed = self.members_of(id).filter(|member| member.failed).map(|member| member.id).collect();
        let gives_up = |group: &Group| group.config.on_group_failure == OnGroupFailure::Fail;
        let withdrawn = self.group(id).is_some_and(gives_up) && self.has_failed(id);
        let outbound = self.outbound(id, withdrawn);
        let ifindexes: Vec<Option<u32>> = self.members_of(id).map(|member| member.ifindex).collect();
        let Some(group) = self.group(id) else { return };
        let carries = |id, family| self.member(id).is_none_or(|member| member.identity.carries(family));
        // For who may still come its own addresses are kept, and nothing else is put there.
        let kept = |placed: &PlacedAddress| self.member(placed.home).is_some_and(Member::is_awaited);
        let free: Vec<PlacedAddress> =
            group.addresses.iter().filter(|placed| !kept(placed)).copied().collect();
        let mut free = place(&free, &active, carries).into_iter();
        let data = group.addresses.iter().filter_map(|placed| {
            if kept(placed) { Some(PlacedAddress { on: placed.home, ..*placed }) } else { free.next() }
        });
        let data = data.collect();
        let placement = Placement { group: id, epoch: 0, data, withdrawn, unusable, failed, outbound };
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

    /// The members that outbound flows shall use. Without an active one they stay where they are, as addresses do; where
    /// that is nobody knows after a restart, and whoever is there may be it.
    fn outbound(&self, id: GroupId, withdrawn: bool) -> Vec<MemberId> {
        let Some(group) = self.group(id).filter(|group| group.config.outbound_spreading && !withdrawn) else {
            return Vec::new();
        };
        let present = || self.members_of(id).filter(|member| member.ifindex.is_some());
        let active: Vec<MemberId> =
            present().filter(|member| member.active()).map(|member| member.id).collect();
        if !active.is_empty() {
            return active;
        }
        let before = group.sent.as_ref().map_or(&[][..], |sent| &sent.placement.outbound);
        let used = |member: &&Member| before.is_empty() || before.contains(&member.id);
        present().filter(used).map(|member| member.id).collect()
    }

    /// No member can carry traffic, and not only because the administrator or the hardware took them away.
    fn has_failed(&self, id: GroupId) -> bool {
        self.members_of(id).all(|member| !member.functioning())
            && self.members_of(id).any(|member| member.failed && !member.is_offline())
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
                group.announcing.push(Announcing {
                    member,
                    addresses,
                    made: 1,
                    next_at: at + ANNOUNCE_INTERVAL,
                });
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
        for entry in group.announcing.iter_mut().filter(|entry| entry.next_at <= now) {
            entry.addresses.retain(|address| {
                let total = match Family::of(*address) {
                    Family::V4 => ANNOUNCEMENTS_V4,
                    Family::V6 => ANNOUNCEMENTS_V6,
                };
                let still_there = places.contains(&(*address, entry.member));
                still_there && entry.made < total
            });
            entry.made += 1;
            entry.next_at = now + ANNOUNCE_INTERVAL;
            if !entry.addresses.is_empty() {
                let addresses = entry.addresses.iter().copied().collect();
                self.actions.push_back(Action::Announce { addresses, member: entry.member });
            }
        }
        self.arm_announcing(id);
    }
}
