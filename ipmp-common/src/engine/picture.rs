//! The engine's state as a snapshot.

use alloc::vec::Vec;

use super::{
    core_loop::Engine,
    detector::Detector,
    group::Group,
    member::Member,
    snapshot::{AddressSnapshot, GroupSnapshot, GroupState, MemberSnapshot, Snapshot, TargetSnapshot},
    target::Target,
    time::Timestamp,
};

impl Engine {
    /// A picture of everything, for people.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        Snapshot {
            at: now,
            groups: self.groups.iter().map(|group| self.group_picture(group)).collect(),
            stalls: self.stalls,
        }
    }

    fn group_picture(&self, group: &Group) -> GroupSnapshot {
        GroupSnapshot {
            group: group.id,
            name: group.config.name.clone(),
            state: group.state.unwrap_or(GroupState::Failed),
            fdt: group.fdt,
            fdt_configured: group.config.failure_detection_time,
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
    MemberSnapshot {
        member: member.id,
        name: member.config.name.clone(),
        ifindex: member.ifindex.unwrap_or(0),
        state: member.shown_state(),
        active: member.active(),
        standby: member.config.standby,
        link_up: member.ifindex.and(member.link),
        probe: member.probe_state(),
        reason: member.reason.clone(),
        since: member.since,
        deferred: member.damped.deferred.clone(),
        targets: member
            .judged()
            .flat_map(|detector| detector.targets.iter().map(|target| target_picture(detector, target)))
            .collect::<Vec<_>>(),
    }
}

const fn target_picture(detector: &Detector, target: &Target) -> TargetSnapshot {
    TargetSnapshot {
        session: target.session,
        address: target.address,
        source: detector.source,
        rtt_kernel: target.rtt_kernel,
        rtt_daemon: target.rtt_daemon,
        sent: target.sent,
        acked: target.acked,
        lost: target.lost,
        unsent: target.unsent,
    }
}
