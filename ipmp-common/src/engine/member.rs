//! One member interface: what is known of it, and the state that follows.

use core::net::IpAddr;

use super::{
    config::InterfaceConfig,
    consistency::Identity,
    damping::Damped,
    detector::Detector,
    event::CarrierSource,
    ids::{Family, GroupId, MemberId},
    reason::Reason,
    snapshot::{ProbeState, ShownState},
    time::{Nanos, Timestamp},
};

/// Link-ups within this span count against an immediate repair (in.mpathd: a minute).
pub(super) const FLAP_WINDOW: Nanos = Nanos::from_secs(60);

/// How long an interface that appeared may take to get its test addresses (in.mpathd: 20 s).
pub(super) const TEST_ADDRESS_GRACE: Nanos = Nanos::from_secs(20);

/// A member. `failed`, `inactive` and `offline` are the flags of the same names in IPMP; `failed` and
/// `inactive` exclude each other.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, as IPMP defines them")]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) group: GroupId,
    pub(super) config: InterfaceConfig,
    /// `None` = the interface does not exist.
    pub(super) ifindex: Option<u32>,
    /// Whether this absence was told.
    pub(super) absence_told: bool,
    /// `None` = the driver cannot tell; treated as up.
    pub(super) link: Option<bool>,
    pub(super) link_changed_at: Timestamp,
    pub(super) link_source: CarrierSource,
    pub(super) link_downs: u64,
    pub(super) failed: bool,
    /// Probes said so, not the link: only probes may say otherwise.
    pub(super) failed_by_probes: bool,
    pub(super) inactive: bool,
    /// Offline because the administrator is about to remove it.
    pub(super) detached: bool,
    /// Missing at start, and expected until then.
    pub(super) awaited_until: Option<Timestamp>,
    /// Set by "online": it returns to service even without failback.
    pub(super) recalled: bool,
    pub(super) sources: [Option<IpAddr>; 2],
    pub(super) detectors: [Option<Detector>; 2],
    /// The two newest link-ups, newest last.
    pub(super) link_ups: [Option<Timestamp>; 2],
    /// Link-based repair is deferred until then.
    pub(super) repair_after: Option<Timestamp>,
    /// Until then test addresses are expected; the link alone does not repair.
    pub(super) test_address_until: Option<Timestamp>,
    pub(super) flap_told: bool,
    pub(super) damped: Damped,
    pub(super) identity: Identity,
    pub(super) probing_told: Option<bool>,
    /// That it is not probed is news only then: its test addresses are only being configured, its targets looked for.
    pub(super) probing_expected_by: Timestamp,
    /// Why it works or does not.
    pub(super) reason: Reason,
    pub(super) since: Timestamp,
    /// While it is offline: why and since when, whatever its state is beneath.
    pub(super) aside: Option<(Reason, Timestamp)>,
}

/// Position of a family in the pairs above.
pub(super) const fn slot(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

impl Member {
    pub(super) fn new(id: MemberId, group: GroupId, config: InterfaceConfig) -> Self {
        let inactive = config.standby;
        Self {
            id,
            group,
            config,
            ifindex: None,
            absence_told: false,
            link: None,
            link_changed_at: Timestamp(0),
            link_source: CarrierSource::Netlink,
            link_downs: 0,
            failed: false,
            failed_by_probes: false,
            inactive,
            detached: false,
            awaited_until: None,
            recalled: false,
            sources: [None; 2],
            detectors: [None, None],
            link_ups: [None; 2],
            repair_after: None,
            test_address_until: None,
            flap_told: false,
            damped: Damped::default(),
            identity: Identity::default(),
            probing_told: None,
            probing_expected_by: Timestamp(0),
            reason: Reason::NoInterface,
            aside: None,
            since: Timestamp(0),
        }
    }

    /// Present and not known to be without carrier; a loss that does not count yet is none.
    pub(super) fn link_is_up(&self) -> bool {
        self.ifindex.is_some() && (self.link != Some(false) || self.damped.link_in_doubt())
    }

    /// RUNNING, or NOTARGETS without FAILED.
    pub(super) const fn functioning(&self) -> bool {
        self.ifindex.is_some() && !self.failed && !self.is_offline()
    }

    /// Not there, or only just and still without carrier, but its addresses are kept for it.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited_until.is_some() && (self.ifindex.is_none() || self.link == Some(false))
    }

    /// May carry data addresses now.
    pub(super) const fn active(&self) -> bool {
        self.functioning() && !self.inactive
    }

    /// Families that can be judged: a source and at least one target that counts.
    pub(super) fn judged(&self) -> impl Iterator<Item = &Detector> {
        self.detectors().filter(|detector| detector.is_judged())
    }

    /// Families that are probed, be it on trial.
    pub(super) fn detectors(&self) -> impl Iterator<Item = &Detector> {
        self.detectors.iter().flatten()
    }

    pub(super) fn detector_mut(&mut self, family: Family) -> Option<&mut Detector> {
        self.detectors[slot(family)].as_mut()
    }

    pub(super) fn probed(&self) -> bool {
        self.judged().next().is_some()
    }

    /// Until when it may be repaired only by probes because its test addresses are still on their way.
    pub(super) fn awaits_test_address(&self, now: Timestamp) -> Option<Timestamp> {
        let without = self.sources.iter().all(Option::is_none);
        self.test_address_until.filter(|until| without && *until > now)
    }

    /// Failed by probes, and could be probed again if only there were targets.
    pub(super) fn awaits_targets(&self) -> bool {
        self.failed_by_probes && !self.probed() && self.sources.iter().any(Option::is_some)
    }

    /// Probes of no judged family leave the host: a fault of our own, which may last.
    pub(super) fn is_mute(&self) -> bool {
        self.judged().all(Detector::is_mute)
    }

    /// Every judged family has lost enough.
    pub(super) fn probes_say_failed(&self) -> bool {
        self.all_heard(Detector::says_failed)
    }

    /// The same for the losses by which the whole group fails.
    pub(super) fn probes_say_dead(&self) -> bool {
        self.all_heard(Detector::says_dead)
    }

    /// Failing needs both families, as IPv4 alone may be filtered. A family whose probes do not leave the host cannot
    /// speak for the path and is not waited for.
    fn all_heard(&self, says: impl Fn(&Detector) -> bool) -> bool {
        let mut heard = self.judged().filter(|detector| !detector.abstains()).peekable();
        heard.peek().is_some() && heard.all(says)
    }

    /// One judged family has answered enough: repairing needs one.
    pub(super) fn probes_say_repaired(&self) -> bool {
        self.judged().any(Detector::says_repaired)
    }

    /// Kernel time of the newest reply on either family.
    pub(super) fn last_reply_at(&self) -> Option<Timestamp> {
        self.judged().filter_map(|detector| detector.last_reply_at).max()
    }

    /// Whether an answer to this member shows that `other`'s losses are no target's fault. A target that died, or was
    /// away for a while, is no help to anybody: what was asked of it at that time was answered to none.
    pub(super) fn answered_during_losses_of(&self, other: &Self) -> bool {
        let speaking = |member: &Self, family| {
            let detector = member.detectors[slot(family)].as_ref();
            detector.is_some_and(|detector| detector.is_judged() && !detector.abstains())
        };
        let both = |family: &Family| speaking(self, *family) && speaking(other, *family);
        if Family::ALL.iter().any(both) {
            let pairs = Family::ALL.into_iter().filter(both).map(slot);
            let mut pairs = pairs.filter_map(|f| self.detectors[f].as_ref().zip(other.detectors[f].as_ref()));
            return pairs.any(|(own, lost)| own.answered_during_losses_of(lost));
        }
        // No family in common: IPv4 answers speak for a path on which IPv6 is lost.
        self.judged().any(|own| other.judged().any(|lost| own.answered_during_losses_of(lost)))
    }

    /// The family whose newest verdict stands for the member, for reasons.
    pub(super) fn telling_family(&self) -> Option<(Family, &Detector)> {
        Family::ALL
            .into_iter()
            .filter_map(|family| Some((family, self.detectors[slot(family)].as_ref()?)))
            .filter(|(_, detector)| detector.is_judged())
            .max_by_key(|(_, detector)| (detector.replies, detector.losses))
    }

    /// Remembers a link-up; the third within a minute defers link-based repair until a minute has passed since
    /// the older of the two that are then remembered (in.mpathd checks before it records).
    pub(super) fn remember_link_up(&mut self, at: Timestamp) {
        let earlier = self.link_ups;
        self.link_ups = [earlier[1], Some(at)];
        self.repair_after = match (earlier, self.link_ups[0]) {
            ([Some(oldest), Some(_)], Some(older)) if oldest + FLAP_WINDOW > at => Some(older + FLAP_WINDOW),
            _ => None,
        };
    }

    pub(super) fn shown_state(&self) -> ShownState {
        if self.ifindex.is_none() {
            ShownState::Absent
        } else if self.is_offline() {
            ShownState::Offline
        } else if self.failed {
            ShownState::Failed
        } else if self.without_targets() {
            ShownState::Unknown
        } else {
            ShownState::Ok
        }
    }

    /// Has a source address to probe from but nothing to probe.
    pub(super) fn without_targets(&self) -> bool {
        !self.config.test.is_empty() && !self.probed()
    }

    pub(super) const fn is_offline(&self) -> bool {
        self.aside.is_some()
    }

    /// It is offline no more. What made it fail is still the reason if it is failed.
    pub(super) fn serves_again(&mut self, now: Timestamp, reason: Reason) {
        self.aside = None;
        if !self.failed {
            self.reason = reason;
            self.since = now;
        }
    }

    /// Why it is in the state that is shown, and since when.
    pub(super) fn shown_reason(&self) -> (&Reason, Timestamp) {
        match &self.aside {
            Some((reason, since)) if self.ifindex.is_some() => (reason, *since),
            Some(_) | None => (&self.reason, self.since),
        }
    }

    pub(super) fn probe_state(&self) -> ProbeState {
        if self.is_offline() {
            return ProbeState::Disabled;
        }
        if !self.probed() {
            return if self.config.test.is_empty() { ProbeState::Disabled } else { ProbeState::Unknown };
        }
        if self.failed && !self.probes_say_repaired() || self.probes_say_failed() {
            return ProbeState::Failed;
        }
        if self.judged().all(|detector| detector.last_reply_at.is_none()) {
            return ProbeState::Unknown;
        }
        ProbeState::Ok
    }
}
