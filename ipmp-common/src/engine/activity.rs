//! Which members serve: as many as were configured, standbys only while needed.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{
    core_loop::Engine,
    ids::{GroupId, MemberId},
    member::Member,
    reason::{Kind, Reason},
    snapshot::GroupState,
    time::Timestamp,
};

impl Engine {
    /// in.mpathd's rules for INACTIVE, as a fixpoint instead of a case for each event:
    /// a normal member serves if failback is on or it was recalled; while fewer serve than configured, an
    /// inactive one is put into service, standbys first; while more serve, a standby is retired.
    ///
    /// With failback off this follows Oracle's guide, not the code: a repaired member is redeployed when
    /// fewer members serve than are configured.
    pub(super) fn settle_activity(&mut self, now: Timestamp, group: GroupId) {
        let Some((wanted, failback)) =
            self.group(group).map(|group| (group.wanted_active(), group.config.failback))
        else {
            return;
        };
        let returning: Vec<MemberId> = self
            .members_of(group)
            .filter(|member| member.functioning() && member.inactive && !member.config.standby)
            .filter(|member| failback || member.recalled)
            .filter(|member| !member.damped.failback_waits(now))
            .map(|member| member.id)
            .collect();
        for member in returning {
            self.set_inactive(now, member, false, wanted);
        }
        // Each round changes one member, and none changes twice.
        for _ in 0..self.members_of(group).count() {
            let Some((chosen, inactive)) = self.next_change(now, group, wanted) else { break };
            self.set_inactive(now, chosen, inactive, wanted);
        }
    }

    /// The member to put into service or to retire, if the count of active members is not as wanted.
    fn next_change(&self, now: Timestamp, group: GroupId, wanted: usize) -> Option<(MemberId, bool)> {
        let active = self.members_of(group).filter(|member| member.active()).count();
        // One that may still come holds its place, but nobody rests for it if there is nobody else.
        let awaited = self.members_of(group).filter(|member| member.is_awaited() && active > 0).count();
        match (active + awaited).cmp(&wanted) {
            Ordering::Less => {
                // One that waits for its failback serves only if nobody else does.
                let waits = |member: &Member| member.damped.failback_waits(now);
                let idle = |member: &&Member| {
                    member.functioning() && member.inactive && (active == 0 || !waits(member))
                };
                let hosts = |id| self.group(group).is_some_and(|group| group.hosts(id));
                let rank = |member: &&Member| (waits(member), !member.config.standby, !hosts(member.id));
                Some((self.members_of(group).filter(idle).min_by_key(rank)?.id, false))
            }
            // Not even where several may still come: whoever rested would be called at once, and so on.
            Ordering::Greater if active == 1 => None,
            Ordering::Equal => None,
            Ordering::Greater => {
                let spare = |member: &&Member| member.active() && member.config.standby;
                Some((self.members_of(group).filter(spare).last()?.id, true))
            }
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
