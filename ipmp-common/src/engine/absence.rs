//! Interfaces that are to be removed, and those that are missing at start.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    core_loop::{Engine, Refusal},
    ids::{Family, MemberId},
    member::Member,
    reason::{Kind, Reason},
    time::Timestamp,
    timer::TimerKey,
};

impl Engine {
    /// in.mpathd's minimum redundancy of one: whoever is given up together counts as gone together.
    pub(super) fn check_detach(&self, id: MemberId, all: &[MemberId], force: bool) -> Result<(), Refusal> {
        let member = self.member(id).ok_or(Refusal::NoSuchMember)?;
        if member.ifindex.is_none() {
            return Err(Refusal::Absent);
        }
        let other = self.siblings(id).any(|sibling| sibling.functioning() && !all.contains(&sibling.id));
        match (force, self.is_anonymous(member.group)) {
            (true, _) => Ok(()),
            (false, true) => Err(Refusal::Ungrouped),
            (false, false) if other => Ok(()),
            (false, false) => Err(Refusal::LastFunctioning),
        }
    }

    pub(super) fn await_interface(&mut self, id: MemberId, until: Timestamp) {
        let Some(member) =
            self.member_mut(id).filter(|member| member.ifindex.is_none() && !member.absence_told)
        else {
            return;
        };
        member.awaited_until = Some(until);
        self.timers.set(TimerKey::Awaited(id), until);
        self.mark_dirty(id);
    }

    /// It is there, with its carrier.
    pub(super) fn end_wait(&mut self, id: MemberId) {
        if let Some(member) = self.member_mut(id)
            && member.awaited_until.take().is_some()
        {
            self.timers.cancel(TimerKey::Awaited(id));
        }
    }

    /// Returns it if it is still missing.
    pub(super) fn awaited_in_vain(&mut self, id: MemberId) -> Option<MemberId> {
        let member = self.member_mut(id)?;
        member.awaited_until.take()?;
        let missing = member.ifindex.is_none();
        self.mark_dirty(id);
        missing.then_some(id)
    }

    /// One line a family for all that were missed together, as Solaris's start-up script had it.
    pub(super) fn tell_missing(&mut self, now: Timestamp, missing: &[MemberId]) {
        for family in Family::ALL {
            let moved: Vec<(MemberId, Vec<MemberId>)> =
                missing.iter().filter_map(|id| Some((*id, self.stand_ins(*id, family)?))).collect();
            if !moved.is_empty() {
                self.publish(now, Kind::Missing, None, None, Reason::Missing { family, moved });
            }
        }
    }

    /// Who serves its addresses of a family, most first; `None` if it has none.
    fn stand_ins(&self, id: MemberId, family: Family) -> Option<Vec<MemberId>> {
        let group = self.member(id).and_then(|member| self.group(member.group))?;
        let mut places: BTreeMap<MemberId, usize> = BTreeMap::new();
        for placed in &group.addresses {
            if placed.home == id && Family::of(placed.address.addr()) == family {
                *places.entry(placed.on).or_default() += 1;
            }
        }
        let any = !places.is_empty();
        let works = |on: &MemberId| self.member(*on).is_some_and(Member::active);
        let mut hosts: Vec<(usize, MemberId)> =
            places.into_iter().filter(|(on, _)| works(on)).map(|(on, count)| (count, on)).collect();
        hosts.sort_by_key(|(count, on)| (core::cmp::Reverse(*count), *on));
        any.then(|| hosts.into_iter().map(|(_, on)| on).collect())
    }
}
