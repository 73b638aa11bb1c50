//! Targets turned into probe sessions, one for each member, family and target.

use alloc::{collections::BTreeSet, vec::Vec};
use core::net::{IpAddr, Ipv6Addr};

use super::{
    action::{Action, Session},
    config::MAX_TARGETS,
    core_loop::Engine,
    detector::{Detector, MAX_ACTIVE_TARGETS, SLOTS_PER_FDT},
    ids::{Family, MemberId, SessionId},
    member::{Member, slot},
    reason::{Kind, Reason},
    snapshot::TargetState,
    target::Target,
    time::Timestamp,
    timer::TimerKey,
};

/// The targets a member knows in one family.
struct Known {
    targets: Vec<IpAddr>,
    /// Configured, or routers: they count without having answered.
    trusted: bool,
}

impl Engine {
    /// Brings a member's sessions in line with its interface, test addresses and targets.
    pub(super) fn rebuild_sessions(&mut self, now: Timestamp, id: MemberId) {
        for family in Family::ALL {
            let wanted = self.wanted_probing(id, family);
            self.rebuild_family(now, id, family, wanted);
        }
        self.tell_probing(now, id);
        self.mark_dirty(id);
        self.settle_discovery(now, id);
    }

    /// From where to where a member shall probe: its source and at least one target.
    fn wanted_probing(&self, id: MemberId, family: Family) -> Option<(IpAddr, Known)> {
        let member = self.member(id)?;
        member.ifindex?;
        let source = member.sources[slot(family)].filter(|_| !member.identity.shares_source(family))?;
        let group = self.group(member.group)?;
        let own = self.own_addresses();
        let usable = |target: &IpAddr| !own.contains(target) && *target != source && is_unicast(*target);
        let list = |targets: &[IpAddr]| -> Vec<IpAddr> {
            let fitting = targets.iter().filter(|target| Family::of(**target) == family && usable(target));
            fitting.copied().take(MAX_TARGETS).collect()
        };
        // Configured targets replace whatever could be discovered, in both families.
        let known = if !group.config.targets.is_empty() {
            Known { targets: list(&group.config.targets), trusted: true }
        } else if member.config.test.is_empty() {
            // Without a test address a member is judged by its link alone.
            return None;
        } else if self.probes_hosts(member.group, family) {
            Known { targets: list(&group.hosts[slot(family)]), trusted: false }
        } else {
            Known { targets: list(&group.discovered[slot(family)]), trusted: true }
        };
        (!known.targets.is_empty()).then_some((source, known))
    }

    /// An own address as a target would prove nothing: the kernel answers without the wire.
    pub(super) fn own_addresses(&self) -> BTreeSet<IpAddr> {
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
        wanted: Option<(IpAddr, Known)>,
    ) {
        let Some(member) = self.member_mut(id) else { return };
        let old = member.detectors[slot(family)].take();
        let Some((ifindex, (source, known))) = member.ifindex.zip(wanted) else {
            self.timers.cancel(TimerKey::Slot(id, family));
            self.timers.cancel(TimerKey::Verdict(id, family));
            self.drop_sessions(old);
            return;
        };
        let same_place = |detector: &Detector| detector.source == source && detector.ifindex == ifindex;
        let (group, quiet) = (member.group, member.link_changed_at);
        match old {
            Some(mut detector) if same_place(&detector) => {
                if detector.targets.iter().map(|target| target.address).ne(known.targets.iter().copied()) {
                    self.update_targets(id, family, &mut detector, &known);
                }
                self.put_detector(id, family, detector);
            }
            other => {
                self.drop_sessions(other);
                let quiet_until = self.group(group).map_or(quiet, |group| quiet + group.config.quiet_period);
                let fdt = self.fdt_of(group);
                let suspicion = self.group(group).is_some_and(|group| group.config.suspicion);
                let mut detector =
                    Detector::new(source, ifindex, fdt, Vec::new(), quiet_until).with_suspicion(suspicion);
                self.update_targets(id, family, &mut detector, &known);
                if detector.probed_targets() == 0 {
                    self.rebuild_family(now, id, family, None);
                    return;
                }
                self.put_detector(id, family, detector);
                self.start_probing(now, id, family);
            }
        }
    }

    /// All that probing has shown, and its sessions.
    pub(super) fn forget_probing(&mut self, now: Timestamp, id: MemberId) {
        for family in Family::ALL {
            self.rebuild_family(now, id, family, None);
        }
    }

    pub(super) fn put_detector(&mut self, id: MemberId, family: Family, detector: Detector) {
        if let Some(member) = self.member_mut(id) {
            member.detectors[slot(family)] = Some(detector);
        }
    }

    /// Brings the list of known targets up to date, keeping what is known of those that stay.
    fn update_targets(&mut self, id: MemberId, family: Family, detector: &mut Detector, known: &Known) {
        let mut old = core::mem::take(&mut detector.targets);
        let mut targets = Vec::new();
        for address in &known.targets {
            let known_before = old.iter().position(|target| target.address == *address);
            let fresh = || {
                let trusted = known.trusted || self.proved_by_sibling(id, family, *address);
                Target::new(*address, trusted)
            };
            targets.push(known_before.map_or_else(fresh, |position| old.swap_remove(position)));
        }
        for session in old.into_iter().filter_map(|target| target.session) {
            detector.release(session);
            self.free_session(session);
        }
        detector.set_targets(targets);
        for position in 0..detector.targets.len() {
            let fresh = |target: &Target| target.state == TargetState::Unused && target.trusted;
            if detector.active() < MAX_ACTIVE_TARGETS && detector.targets.get(position).is_some_and(fresh) {
                self.activate(id, family, detector, position, TargetState::Active);
            }
        }
        self.fill(id, family, detector);
    }

    fn proved_by_sibling(&self, id: MemberId, family: Family, address: IpAddr) -> bool {
        self.siblings(id)
            .filter_map(|sibling| sibling.detectors[slot(family)].as_ref())
            .flat_map(|detector| &detector.targets)
            .any(|target| target.address == address && target.is_active())
    }

    /// Takes a free session for a target.
    pub(super) fn arm(
        &mut self,
        id: MemberId,
        family: Family,
        source: IpAddr,
        address: IpAddr,
    ) -> Option<SessionId> {
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
        Some(session)
    }

    fn drop_sessions(&mut self, detector: Option<Detector>) {
        let targets = detector.map(|detector| detector.targets).unwrap_or_default();
        for session in targets.into_iter().filter_map(|target| target.session) {
            self.free_session(session);
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
        let may = member.link_is_up() && !member.is_offline();
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
        self.restart_discovery(now, id);
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

    /// Whether it is to be judged by probes, once its source addresses are there: it has test addresses, or the group
    /// has IPv6 targets, which are probed from the link-local address.
    pub(super) fn is_tested(&self, member: &Member) -> bool {
        let targets = || self.group(member.group).into_iter().flat_map(|group| &group.config.targets);
        !member.config.test.is_empty()
            || member.identity.carries(Family::V6) && targets().any(IpAddr::is_ipv6)
    }

    pub(super) fn tell_probing(&mut self, now: Timestamp, id: MemberId) {
        let tested = self.member(id).is_some_and(|member| self.is_tested(member));
        let Some(member) = self.member_mut(id) else { return };
        let probed = member.probed();
        if member.ifindex.is_none() || member.probing_told == Some(probed) {
            return;
        }
        if !probed && member.identity.shares_any_source() {
            // Told with its own reason.
            return;
        }
        let first_time = member.probing_told.is_none();
        let has_source = member.sources.iter().any(Option::is_some) && !member.config.test.is_empty();
        if !probed && first_time && tested && now < member.probing_expected_by {
            return;
        }
        member.probing_told = Some(probed);
        let group = member.group;
        let reason = if probed {
            let targets = member.judged().map(|detector| detector.active() as u32).sum();
            Reason::TargetsKnown { targets }
        } else if has_source {
            Reason::NoTargets
        } else {
            Reason::NoTestAddress
        };
        self.publish(now, Kind::Probing, Some(group), Some(id), reason);
    }
}

pub(super) const fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified() && !v4.is_loopback()
        }
        IpAddr::V6(v6) => !v6.is_multicast() && !matches!(v6, Ipv6Addr::UNSPECIFIED | Ipv6Addr::LOCALHOST),
    }
}
