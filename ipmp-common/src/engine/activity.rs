//! Which members serve: as many as were configured, standbys only while needed.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{
    core_loop::Engine,
    group::Group,
    ids::{GroupId, MemberId},
    reason::{Kind, Reason},
    snapshot::GroupState,
    standing::Standing,
    time::Timestamp,
};

/// in.mpathd's rules for INACTIVE, as a fixpoint instead of a case for each event:
/// a normal member serves if failback is on or it was recalled; while fewer serve than configured, an
/// inactive one is put into service, standbys first; while more serve, a standby is retired.
///
/// With failback off this follows Oracle's guide, not the code: a repaired member is redeployed when
/// fewer members serve than are configured.
///
/// Returns who changes, in that order, and whether it is inactive then.
pub(super) fn settle(group: &Group, standings: &mut [Standing]) -> Vec<(MemberId, bool)> {
    let mut changes = Vec::new();
    for standing in standings.iter_mut() {
        let back = group.config.failback || standing.recalled;
        let resting = standing.functioning && standing.inactive && !standing.standby;
        if resting && back && !standing.failback_waits {
            changes.push(standing.turn());
        }
    }
    // Each round changes one member, and none changes twice.
    for _ in 0..standings.len() {
        let Some(chosen) = next_to_turn(group, standings) else { break };
        changes.push(chosen.turn());
    }
    changes
}

/// The member to put into service or to retire, if the count of active members is not as wanted.
fn next_to_turn<'a>(group: &Group, standings: &'a mut [Standing]) -> Option<&'a mut Standing> {
    let active = standings.iter().filter(|standing| standing.active()).count();
    // One that may still come holds its place, but nobody rests for it if there is nobody else.
    let awaited = standings.iter().filter(|standing| standing.awaited && active > 0).count();
    match (active + awaited).cmp(&group.wanted_active()) {
        Ordering::Less => {
            // One that waits for its failback serves only if nobody else does.
            let idle = |standing: &&mut Standing| {
                standing.functioning && standing.inactive && (active == 0 || !standing.failback_waits)
            };
            let rank = |standing: &&mut Standing| {
                (standing.failback_waits, !standing.standby, !group.hosts(standing.id))
            };
            standings.iter_mut().filter(idle).min_by_key(rank)
        }
        // Not even where several may still come: whoever rested would be called at once, and so on.
        Ordering::Greater if active == 1 => None,
        Ordering::Equal => None,
        Ordering::Greater => standings.iter_mut().rfind(|standing| standing.active() && standing.standby),
    }
}

impl Standing {
    /// It serves from now on, or rests.
    const fn turn(&mut self) -> (MemberId, bool) {
        self.inactive = !self.inactive;
        self.recalled = false;
        self.failback_waits = false;
        (self.id, self.inactive)
    }
}

impl Engine {
    /// Puts members into service, and retires them, as the rules say.
    pub(super) fn settle_activity(&mut self, now: Timestamp, id: GroupId) {
        let Some(group) = self.group(id) else { return };
        let wanted = group.wanted_active();
        for (member, inactive) in settle(group, &mut self.standings(now, group)) {
            self.set_inactive(now, member, inactive, wanted);
        }
    }

    fn set_inactive(&mut self, now: Timestamp, id: MemberId, inactive: bool, wanted: usize) {
        let Some(member) = self.member_mut(id) else { return };
        member.inactive = inactive;
        member.recalled = false;
        let group = member.group;
        self.end_failback_delay(id);
        let active = self.members_of(group).filter(|member| member.active()).count() as u32;
        let wanted = wanted as u32;
        let reason = if inactive {
            Reason::Deactivated { active, wanted }
        } else {
            Reason::Activated { active, wanted }
        };
        self.publish(now, Kind::Activity, Some(group), Some(id), reason);
    }

    /// Tells when the group changes between ok, degraded and failed.
    pub(super) fn settle_state(&mut self, now: Timestamp, id: GroupId) {
        if self.is_anonymous(id) {
            if let Some(group) = self.group_mut(id) {
                group.state = Some(GroupState::Ok);
            }
            return;
        }
        let members = self.members_of(id).count() as u32;
        let usable = self.members_of(id).filter(|member| member.functioning()).count() as u32;
        let state = match usable {
            0 => GroupState::Failed,
            _ if usable < members => GroupState::Degraded,
            _ => GroupState::Ok,
        };
        let Some(group) = self.group_mut(id) else { return };
        group.all_failed &= usable == 0;
        let before = group.state.replace(state);
        if before == Some(state) {
            return;
        }
        let reason = if group.all_failed {
            Reason::GroupFailure { members }
        } else {
            Reason::MembersUsable { usable, members }
        };
        // The one that ended the failure of the whole group is named.
        let saviour = self
            .members_of(id)
            .filter(|member| member.functioning() && before == Some(GroupState::Failed))
            .max_by_key(|member| (member.since, core::cmp::Reverse(member.id)))
            .map(|member| member.id);
        self.publish(now, Kind::GroupState, Some(id), saviour, reason);
    }
}
