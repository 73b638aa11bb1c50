//! The engine's contract: handle, drain, timeout.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use super::{
    action::Action,
    config::Config,
    event::{Command, Event},
    failures::Failures,
    group::Group,
    ids::{Family, GroupId, MemberId, SessionId},
    member::Member,
    reason::{Kind, Reason, Record},
    rng::Rng,
    time::{Nanos, Timestamp},
    timer::Timers,
};

/// The decision engine of all groups of a host.
#[derive(Debug)]
pub struct Engine {
    /// By number; a number may be free (`order` does not name it).
    pub(super) groups: Vec<Group>,
    /// The groups in force, in the order of the configuration.
    pub(super) order: Vec<GroupId>,
    /// By number; a number may be free (no group names it).
    pub(super) members: Vec<Member>,
    pub(super) sessions: BTreeMap<SessionId, (MemberId, Family)>,
    pub(super) free_sessions: BTreeSet<SessionId>,
    pub(super) timers: Timers,
    pub(super) rngs: Vec<Rng>,
    pub(super) seed: u64,
    pub(super) actions: VecDeque<Action>,
    pub(super) stalls: u64,
    pub(super) skipped_slots: u64,
    pub(super) failures: Failures,
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No member of that number.
    NoSuchMember,
    /// It is offline already.
    AlreadyOffline,
    /// It is not offline.
    NotOffline,
    /// in.mpathd's EHWADDRDUP: its hardware address is that of another member in use.
    DuplicateHardwareAddress,
    /// in.mpathd's EMINRED: no other functioning member is left in the group.
    LastFunctioning,
    /// It is in no group, so nobody could take its addresses.
    Ungrouped,
    /// Its interface is not there.
    Absent,
}

impl Engine {
    /// An engine that knows of no interface yet.
    pub fn new(config: Config) -> Self {
        let mut groups = Vec::new();
        let mut members = Vec::new();
        for (number, group_config) in (0u32..).zip(config.groups) {
            let mut group = Group::new(GroupId(number), group_config);
            for interface in group.config.interfaces.clone() {
                let id = MemberId(members.len() as u32);
                group.members.push(id);
                group.addresses.extend(super::facts::listed(id, &interface));
                members.push(Member::new(id, group.id, interface));
            }
            groups.push(group);
        }
        let rngs = (0..members.len() as u64).map(|stream| Rng::new(config.seed, stream)).collect();
        Self {
            order: groups.iter().map(|group| group.id).collect(),
            seed: config.seed,
            groups,
            members,
            sessions: BTreeMap::new(),
            free_sessions: (0..crate::abi::MAX_SESSIONS).map(SessionId).collect(),
            timers: Timers::default(),
            rngs,
            actions: VecDeque::new(),
            stalls: 0,
            skipped_slots: 0,
            failures: Failures::default(),
        }
    }

    /// Takes one event. Total: unknown members, groups and sessions are ignored, as they name things that
    /// have just ceased to exist.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Judge => self.judge(now),
            Event::InterfacePresent(presence) => self.interface_present(now, presence),
            Event::Hardware { member, hardware } => self.hardware_news(now, member, hardware),
            Event::InterfaceGone { member } => self.interface_gone(now, member),
            Event::Carrier { member, up, at, source, downs } => {
                self.carrier(now, member, super::facts::CarrierFact { up, at, source, downs });
            }
            Event::TestAddress { member, family, address } => {
                self.test_address(now, member, family, address);
            }
            Event::Targets { group, family, targets } => self.discovered(now, group, family, targets),
            Event::Hosts { group, family, hosts } => self.hosts_seen(now, group, family, &hosts),
            Event::ProbeSent { session, seq, at } => self.probe_sent(now, session, seq, at),
            Event::ProbeNotSent { session, seq, cause } => self.probe_not_sent(now, session, seq, cause),
            Event::Reply { session, seq, received_at } => self.reply(now, session, seq, received_at),
            Event::Applied(applied) => self.applied(now, &applied),
            Event::ApplyFailed { group, epoch, what, errno } => {
                self.action_failed(now, (group, epoch), what, errno);
            }
            Event::PutBack { group, changes, by } => self.put_back(now, group, changes, by),
            Event::Counted { member, within, errors } => self.counted(now, member, within, errors),
            Event::Command(command) => self.command(now, &command),
            Event::Reconfigure { groups } => self.reconfigure(now, groups),
            Event::InterfaceAwaited { member, until } => self.await_interface(member, until),
            Event::LeftAlone { member, address } => self.left_alone(now, member, address),
            Event::NeighbourMoved { member } => self.neighbour_moved(now, member),
            Event::Renamed { member, name } => self.renamed(now, member, name),
        }
    }

    /// The next thing to do; `None` = nothing until the next event.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `Event::Judge` is wanted at the latest.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Probes whose stamps the daemon shall read before each `Event::Judge`.
    pub fn unanswered(&self) -> impl Iterator<Item = (SessionId, u64)> + '_ {
        self.members.iter().flat_map(Member::detectors).flat_map(super::detector::Detector::unanswered)
    }

    /// Members that an administrator took offline.
    pub fn ordered_offline(&self) -> impl Iterator<Item = MemberId> + '_ {
        let ordered = |member: &&Member| member.is_offline() && !member.detached && !member.identity.held();
        self.members.iter().filter(ordered).map(|member| member.id)
    }

    /// Whether a command would be refused. `handle` ignores a refused command.
    pub fn check(&self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Offline { member, force } => {
                let known = self.member(*member).ok_or(Refusal::NoSuchMember)?;
                if known.is_offline() && !known.detached {
                    return Err(Refusal::AlreadyOffline);
                }
                let stand_in = !self.is_anonymous(known.group);
                let other = stand_in && self.siblings(*member).any(Member::functioning);
                if other || *force { Ok(()) } else { Err(Refusal::LastFunctioning) }
            }
            Command::Online { member } => {
                let known = self.member(*member).ok_or(Refusal::NoSuchMember)?;
                if !known.is_offline() {
                    return Err(Refusal::NotOffline);
                }
                match self.owner_of_mac(known) {
                    Some(_) => Err(Refusal::DuplicateHardwareAddress),
                    None => Ok(()),
                }
            }
            Command::Detach { members, force } => {
                members.iter().try_for_each(|member| self.check_detach(*member, members, *force))
            }
        }
    }

    pub(super) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(id.0 as usize)
    }

    pub(super) fn member_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.get_mut(id.0 as usize)
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id.0 as usize)
    }

    pub(super) fn group_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(id.0 as usize)
    }

    /// Members of a group, in the order of the configuration.
    pub(super) fn members_of(&self, group: GroupId) -> impl Iterator<Item = &Member> {
        self.group(group).into_iter().flat_map(|group| &group.members).filter_map(|id| self.member(*id))
    }

    /// The other members of a member's group.
    pub(super) fn siblings(&self, id: MemberId) -> impl Iterator<Item = &Member> {
        let group = self.member(id).map(|member| member.group);
        group.into_iter().flat_map(|group| self.members_of(group)).filter(move |member| member.id != id)
    }

    pub(super) fn mark_dirty(&mut self, member: MemberId) {
        let group = self.member(member).map(|member| member.group);
        if let Some(group) = group.and_then(|group| self.group_mut(group)) {
            group.dirty = true;
        }
    }

    pub(super) fn is_anonymous(&self, group: GroupId) -> bool {
        self.group(group).is_some_and(|group| group.config.is_anonymous())
    }

    pub(super) fn fdt_of(&self, group: GroupId) -> Nanos {
        self.group(group).map_or(Nanos(0), |group| group.fdt)
    }

    pub(super) fn publish(
        &mut self,
        now: Timestamp,
        kind: Kind,
        group: Option<GroupId>,
        member: Option<MemberId>,
        reason: Reason,
    ) {
        self.publish_with(Record { group, member, ..Record::new(now, kind, reason) });
    }

    pub(super) fn publish_with(&mut self, record: Record) {
        self.actions.push_back(Action::Publish(record));
    }
}
