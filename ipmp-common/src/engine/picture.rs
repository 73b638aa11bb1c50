//! The engine's state as a snapshot.

use alloc::vec::Vec;

use super::{
    core_loop::Engine,
    detector::{Detector, LOSSES_TO_FAIL, REPLIES_TO_REPAIR, SLOTS_PER_FDT},
    group::Group,
    ids::GroupId,
    member::Member,
    reason::Reason,
    snapshot::{
        AddressSnapshot, Bounds, GroupSnapshot, GroupState, MemberSnapshot, Snapshot, TargetSnapshot,
    },
    target::Target,
    time::Timestamp,
};

impl Engine {
    /// A picture of everything, for people.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        Snapshot {
            at: now,
            groups: self
                .order
                .iter()
                .filter_map(|id| self.group(*id))
                .map(|group| self.group_picture(group))
                .collect(),
            stalls: self.stalls,
            skipped_slots: self.skipped_slots,
        }
    }

    /// Worst case of detection and repair in a group by the schedule; `None` if none of its members is probed.
    ///
    /// A path that fails just after a probe has left loses the next five, and the last of these leaves at most five
    /// and a half slots later (each somewhere in the second half of its slot); then its reply is waited for. Repair
    /// takes ten answers likewise, the last of which is noticed with a later probe. Where only one of several targets
    /// answers, that one's answers count: its turn comes once in so many slots.
    pub fn bounds(&self, group: GroupId) -> Option<Bounds> {
        let half_slot = self.fdt_of(group).divided(2 * SLOTS_PER_FDT);
        let probed = || self.members_of(group).flat_map(Member::judged);
        let wait = probed().map(Detector::longest_wait).max()?;
        let targets = probed().map(Detector::active).max()? as u32;
        let halves = |probes: u32| half_slot.times(2 * u64::from(probes) + 1);
        // The next two probes are at least half a slot apart.
        let until_noticed = if wait > half_slot { 2 } else { 1 };
        Some(Bounds {
            detection: halves(LOSSES_TO_FAIL) + wait,
            repair: halves(REPLIES_TO_REPAIR + until_noticed),
            repair_by_one: halves(REPLIES_TO_REPAIR.saturating_mul(targets) + until_noticed),
        })
    }

    fn group_picture(&self, group: &Group) -> GroupSnapshot {
        GroupSnapshot {
            group: group.id,
            name: group.config.name.clone(),
            put_back: group.put_back,
            state: group.state.unwrap_or(GroupState::Failed),
            fdt: group.fdt,
            fdt_configured: group.config.failure_detection_time,
            bounds: self.bounds(group.id),
            withdrawn: group.sent.as_ref().is_some_and(|sent| sent.placement.withdrawn),
            members: self.members_of(group.id).map(member_picture).collect(),
            addresses: group
                .addresses
                .iter()
                .map(|placed| AddressSnapshot { address: placed.address, home: placed.home, on: placed.on })
                .collect(),
        }
    }
}

fn member_picture(member: &Member) -> MemberSnapshot {
    let (reason, since) = member.shown_reason();
    MemberSnapshot {
        member: member.id,
        name: member.config.name.clone(),
        ifindex: member.ifindex.unwrap_or(0),
        state: member.shown_state(),
        active: member.active(),
        standby: member.config.standby,
        link_up: member.ifindex.and(member.link),
        probe: member.probe_state(),
        reason: reason.clone(),
        since,
        deferred: member
            .awaited_until
            .map(|until| Reason::Awaited { until })
            .or_else(|| member.damped.deferred.clone()),
        targets: member
            .detectors()
            .flat_map(|detector| detector.targets.iter().map(|target| target_picture(detector, target)))
            .collect::<Vec<_>>(),
    }
}

const fn target_picture(detector: &Detector, target: &Target) -> TargetSnapshot {
    TargetSnapshot {
        session: target.session,
        address: target.address,
        state: target.state,
        source: detector.source,
        rtt_kernel: target.rtt_kernel,
        rtt_daemon: target.rtt_daemon,
        sent: target.sent,
        acked: target.acked,
        lost: target.lost,
        unsent: target.unsent,
    }
}
