//! Targets turned into probe sessions, one for each member, family and target.

use alloc::{collections::BTreeSet, vec::Vec};
use core::net::{IpAddr, Ipv6Addr};

use super::{
    action::{Action, Session},
    core_loop::Engine,
    detector::{Detector, MAX_ACTIVE_TARGETS, SLOTS_PER_FDT},
    ids::{Family, MemberId},
    member::slot,
    reason::{Kind, Reason},
    target::Target,
    time::Timestamp,
    timer::TimerKey,
};

impl Engine {
    /// Brings a member's sessions in line with its interface, test addresses and targets.
    pub(super) fn rebuild_sessions(&mut self, now: Timestamp, id: MemberId) {
        for family in Family::ALL {
            let wanted = self.wanted_probing(id, family);
            self.rebuild_family(now, id, family, wanted);
        }
        self.tell_probing(now, id);
        self.mark_dirty(id);
    }

    /// From where to where a member shall probe: its source and at least one target.
    fn wanted_probing(&self, id: MemberId, family: Family) -> Option<(IpAddr, Vec<IpAddr>)> {
        let member = self.member(id)?;
        member.ifindex?;
        let source = member.sources[slot(family)]?;
        let group = self.group(member.group)?;
        let listed = group.config.targets.iter().filter(|target| Family::of(**target) == family);
        let known: Vec<IpAddr> = if group.config.targets.is_empty() {
            // Without a test address a member is judged by its link alone.
            if member.config.test.is_empty() {
                return None;
            }
            group.discovered[slot(family)].clone()
        } else {
            listed.copied().collect()
        };
        let own = self.own_addresses();
        let targets: Vec<IpAddr> = known
            .into_iter()
            .filter(|target| !own.contains(target) && *target != source && is_unicast(*target))
            .take(MAX_ACTIVE_TARGETS)
            .collect();
        (!targets.is_empty()).then_some((source, targets))
    }

    /// An own address as a target would prove nothing: the kernel answers without the wire.
    fn own_addresses(&self) -> BTreeSet<IpAddr> {
        let data = self.groups.iter().flat_map(|group| &group.addresses).map(|placed| placed.address.addr());
        let test = self.members.iter().flat_map(|member| member.config.test.iter().copied());
        let sources = self.members.iter().flat_map(|member| member.sources.into_iter().flatten());
        data.chain(test).chain(sources).collect()
    }

    fn rebuild_family(
        &mut self,
        now: Timestamp,
        id: MemberId,
        family: Family,
        wanted: Option<(IpAddr, Vec<IpAddr>)>,
    ) {
        let Some(member) = self.member_mut(id) else { return };
        let old = member.detectors[slot(family)].take();
        let Some((ifindex, (source, addresses))) = member.ifindex.zip(wanted) else {
            self.timers.cancel(TimerKey::Slot(id, family));
            self.timers.cancel(TimerKey::Verdict(id, family));
            let targets = old.map(|detector| detector.targets).unwrap_or_default();
            self.drop_sessions(targets);
            return;
        };
        let same_place = |detector: &Detector| detector.source == source && detector.ifindex == ifindex;
        let (group, quiet) = (member.group, member.link_changed_at);
        match old {
            Some(mut detector) if same_place(&detector) => {
                if detector.targets.iter().map(|target| target.address).ne(addresses.iter().copied()) {
                    let old_targets = detector.targets.clone();
                    let targets = self.make_targets(id, family, source, &addresses, old_targets);
                    detector.set_targets(targets);
                }
                self.put_detector(id, family, detector);
            }
            other => {
                self.drop_sessions(other.map(|detector| detector.targets).unwrap_or_default());
                let targets = self.make_targets(id, family, source, &addresses, Vec::new());
                if targets.is_empty() {
                    self.rebuild_family(now, id, family, None);
                    return;
                }
                let quiet_until = self.group(group).map_or(quiet, |group| quiet + group.config.quiet_period);
                let fdt = self.fdt_of(group);
                let detector = Detector::new(source, ifindex, fdt, targets, quiet_until)
                    .with_suspicion(self.group(group).is_some_and(|group| group.config.suspicion));
                self.put_detector(id, family, detector);
                self.start_probing(now, id, family);
            }
        }
    }

    fn put_detector(&mut self, id: MemberId, family: Family, detector: Detector) {
        if let Some(member) = self.member_mut(id) {
            member.detectors[slot(family)] = Some(detector);
        }
    }

    fn make_targets(
        &mut self,
        id: MemberId,
        family: Family,
        source: IpAddr,
        addresses: &[IpAddr],
        mut known: Vec<Target>,
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        for address in addresses {
            if let Some(position) = known.iter().position(|target| target.address == *address) {
                targets.push(known.swap_remove(position));
            } else if let Some(target) = self.arm(id, family, source, *address) {
                targets.push(target);
            }
        }
        self.drop_sessions(known);
        targets
    }

    fn arm(&mut self, id: MemberId, family: Family, source: IpAddr, address: IpAddr) -> Option<Target> {
        let (ifindex, group) = self.member(id).and_then(|member| Some((member.ifindex?, member.group)))?;
        let late_after = self.fdt_of(group).divided(SLOTS_PER_FDT);
        let session = self.free_sessions.pop_first()?;
        self.sessions.insert(session, (id, family));
        self.actions.push_back(Action::ArmSession(Session {
            session,
            member: id,
            ifindex,
            source,
            target: address,
            late_after,
            notify: true,
        }));
        Some(Target::new(session, address))
    }

    fn drop_sessions(&mut self, targets: Vec<Target>) {
        for target in targets {
            self.sessions.remove(&target.session);
            self.free_sessions.insert(target.session);
            self.actions.push_back(Action::DisarmSession { session: target.session });
        }
    }

    /// Starts the schedule of one family at a random phase, if the member may probe now.
    fn start_probing(&mut self, now: Timestamp, id: MemberId, family: Family) {
        let Some(member) = self.members.get_mut(id.0 as usize) else {
            return;
        };
        let Some(rng) = self.rngs.get_mut(id.0 as usize) else {
            return;
        };
        let may = member.link_is_up() && !member.offline;
        if let Some(detector) = member.detector_mut(family).filter(|_| may) {
            let first = detector.restart(now, rng);
            self.timers.set(TimerKey::Slot(id, family), first);
        }
    }

    /// The link came up, or the member came online.
    pub(super) fn resume_probing(&mut self, now: Timestamp, id: MemberId) {
        for family in Family::ALL {
            self.start_probing(now, id, family);
        }
    }

    /// The link went down, or the member went offline: what is in flight proves nothing.
    pub(super) fn suspend_probing(&mut self, id: MemberId) {
        for family in Family::ALL {
            self.timers.cancel(TimerKey::Slot(id, family));
            self.timers.cancel(TimerKey::Verdict(id, family));
            if let Some(detector) = self.member_mut(id).and_then(|member| member.detector_mut(family)) {
                detector.forget();
            }
        }
    }

    fn tell_probing(&mut self, now: Timestamp, id: MemberId) {
        let Some(member) = self.member_mut(id) else { return };
        let probed = member.probed();
        if member.ifindex.is_none() || member.probing_told == Some(probed) {
            return;
        }
        let first_time = member.probing_told.is_none();
        let has_source = member.sources.iter().any(Option::is_some) && !member.config.test.is_empty();
        if !probed && first_time && !member.config.test.is_empty() {
            // Its test address is only being configured; absence is news only when it lasts.
            return;
        }
        member.probing_told = Some(probed);
        let group = member.group;
        let reason = if probed {
            let targets = member.judged().map(|detector| detector.targets.len() as u32).sum();
            Reason::TargetsKnown { targets }
        } else if has_source {
            Reason::NoTargets
        } else {
            Reason::NoTestAddress
        };
        self.publish(now, Kind::Probing, Some(group), Some(id), reason);
    }
}

const fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified() && !v4.is_loopback()
        }
        IpAddr::V6(v6) => !v6.is_multicast() && !matches!(v6, Ipv6Addr::UNSPECIFIED | Ipv6Addr::LOCALHOST),
    }
}
