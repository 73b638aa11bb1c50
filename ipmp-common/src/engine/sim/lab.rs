//! The host: the engine, a model of the daemon's loop, and what tests do to both.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use super::{
    setup::{Setup, v4_test, v6_test},
    watch::Watch,
    wire::{Loss, Wire},
};
use crate::engine::{
    Engine,
    action::{Action, Session},
    event::{Applied, CarrierSource, Command, Event, Presence},
    ids::{Family, GroupId, MemberId},
    reason::{Kind, Record},
    snapshot::{MemberSnapshot, ShownState},
    time::{Nanos, Timestamp},
};

/// Where the clock stands when a test begins.
const BOOT: Timestamp = Timestamp(1_000_000_000_000);

/// The group that every lab has.
pub const GROUP: GroupId = GroupId(0);

/// Engine, daemon and network of one test.
#[derive(Debug)]
pub struct Lab {
    /// What it started from.
    pub setup: Setup,
    /// The engine under test.
    pub engine: Engine,
    /// The host's clock.
    pub now: Timestamp,
    /// Ports and targets.
    pub wire: Wire,
    /// How much later than asked for the daemon wakes.
    pub lateness: Nanos,
    /// Keep no events and no probes, and check only the order of actions: for runs of millions of probes.
    pub lean: bool,
    /// Probes that left.
    pub probes: u64,
    /// Everything that was asked for.
    pub actions: Vec<(Timestamp, Action)>,
    /// Everything that was handed in.
    pub events: Vec<(Timestamp, Event)>,
    /// Facts on their way to the daemon.
    inbox: BTreeMap<(Timestamp, u64), Event>,
    serial: u64,
    ifindexes: BTreeMap<MemberId, u32>,
    stalled_until: Timestamp,
    watch: Watch,
}

impl Lab {
    /// Starts the daemon: it hands in what is there, then judges.
    pub fn start(setup: Setup) -> Self {
        let mut lab = Self {
            engine: Engine::new(setup.config()),
            now: BOOT,
            wire: Wire::new(setup.members.len() * setup.groups, setup.rtt, setup.seed),
            lateness: Nanos(0),
            lean: false,
            probes: 0,
            actions: Vec::new(),
            events: Vec::new(),
            inbox: BTreeMap::new(),
            serial: 0,
            ifindexes: BTreeMap::new(),
            stalled_until: BOOT,
            watch: Watch::default(),
            setup,
        };
        for (id, member) in (0..).map(MemberId).zip(lab.setup.all_members()) {
            if member.present {
                lab.appear(id);
            } else if lab.setup.boot_wait > Nanos(0) {
                lab.tell(Event::InterfaceAwaited { member: id, until: lab.now + lab.setup.boot_wait });
            }
        }
        lab.turn();
        lab
    }

    /// Starts, and waits until the first probes have been answered.
    pub fn settled(setup: Setup) -> Self {
        let fdt = setup.fdt;
        let mut lab = Self::start(setup);
        lab.run(fdt.times(2));
        lab
    }

    /// Lets time pass, waking the daemon whenever something is due.
    pub fn run(&mut self, span: Nanos) {
        let end = self.now + span;
        while let Some(at) = self.next_wake().filter(|at| *at <= end) {
            self.wake(at);
        }
        self.now = end;
        self.wire.run(end);
    }

    /// Like `run`, but stops as soon as `reached` holds; returns whether it does.
    pub fn run_until(&mut self, limit: Nanos, reached: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !reached(self) {
            let Some(at) = self.next_wake().filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            self.wake(at);
        }
        true
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let timeout = self.engine.poll_timeout().map(|at| at + self.lateness);
        let fact = self.inbox.first_key_value().map(|((at, _), _)| *at);
        let wake = [timeout, fact].into_iter().flatten().min()?;
        Some(wake.max(self.now).max(self.stalled_until))
    }

    fn wake(&mut self, at: Timestamp) {
        self.now = at;
        self.turn();
    }

    /// The daemon is stopped for a while; the network goes on.
    pub fn stall(&mut self, span: Nanos) {
        self.stalled_until = self.now + span;
    }

    /// One turn of the daemon's loop: facts, kernel stamps, judgement, actions.
    pub fn turn(&mut self) {
        self.wire.run(self.now);
        let first_action = self.actions.len();
        while let Some(entry) = self.inbox.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let event = entry.remove();
            self.handle(event);
        }
        let open: Vec<_> = self.engine.unanswered().collect();
        for (session, seq) in open {
            if let Some(received_at) = self.wire.received(session, seq) {
                self.handle(Event::Reply { session, seq, received_at });
            }
        }
        self.handle(Event::Judge);
        self.drain();
        if self.lean {
            return;
        }
        let snapshot = self.engine.snapshot(self.now);
        self.watch.after_turn(&snapshot, self.actions.get(first_action..).unwrap_or_default());
    }

    /// Hands in one event and nothing else.
    pub fn handle(&mut self, event: Event) {
        if !self.lean {
            self.events.push((self.now, event.clone()));
        }
        self.engine.handle(self.now, event);
    }

    fn drain(&mut self) {
        let mut facts = VecDeque::new();
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.watch.before(&action);
                facts.extend(self.carry_out(&action));
                if !(self.lean && matches!(action, Action::SendProbe { .. })) {
                    self.actions.push((self.now, action));
                }
            }
            let Some(fact) = facts.pop_front() else { break };
            self.handle(fact);
        }
    }

    fn carry_out(&mut self, action: &Action) -> Option<Event> {
        match action {
            Action::SendProbe { session, seq } => {
                let (session, seq) = (*session, *seq);
                let armed = self.watch.session(session)?;
                let (member, target) = (armed.member, armed.target);
                self.probes += 1;
                Some(match self.wire.send(self.now, member, session, seq, target) {
                    Ok(()) => Event::ProbeSent { session, seq, at: self.now },
                    Err(cause) => Event::ProbeNotSent { session, seq, cause },
                })
            }
            Action::SetPlacement(placement) => {
                let done = self.now + self.setup.apply_delay;
                let applied = Applied {
                    group: placement.group,
                    epoch: placement.epoch,
                    applied_at: done,
                    announced_at: Some(done),
                    changes: 1,
                };
                self.fact(done, Event::Applied(applied));
                None
            }
            Action::ArmSession(session) => {
                self.wire.forget(session.session);
                None
            }
            Action::DisarmSession { session } => {
                self.wire.forget(*session);
                None
            }
            Action::SetLateAfter { .. }
            | Action::Discover { .. }
            | Action::Release { .. }
            | Action::Announce { .. }
            | Action::Publish(_) => None,
        }
    }

    /// Something that the daemon learns at `at`.
    pub fn fact(&mut self, at: Timestamp, event: Event) {
        self.serial += 1;
        self.inbox.insert((at, self.serial), event);
    }

    /// Something that the daemon learns in its next turn.
    pub fn tell(&mut self, event: Event) {
        self.fact(self.now, event);
    }

    /// Plugs a cable in or pulls it.
    pub fn set_carrier(&mut self, member: MemberId, up: bool) {
        let port = &mut self.wire.ports[member.0 as usize];
        if core::mem::replace(&mut port.carrier, up) == up {
            return;
        }
        let (at, source) = (self.now, CarrierSource::Fentry);
        self.tell(Event::Carrier { member, up, at, source, downs: u64::from(!up) });
    }

    /// Both directions of a port at once.
    pub fn set_loss(&mut self, member: MemberId, loss: Loss) {
        let port = &mut self.wire.ports[member.0 as usize];
        (port.out, port.back) = (loss, Loss::None);
    }

    /// Nothing passes any more.
    pub fn cut(&mut self, member: MemberId) {
        self.set_loss(member, Loss::Cut);
    }

    /// Everything passes again.
    pub fn mend(&mut self, member: MemberId) {
        self.set_loss(member, Loss::None);
    }

    /// The administrator orders something.
    pub fn command(&mut self, command: Command) {
        self.tell(Event::Command(command));
    }

    /// Whether the interface is there.
    pub fn is_present(&self, member: MemberId) -> bool {
        self.ifindexes.contains_key(&member)
    }

    /// The interface appears, with its test addresses.
    pub fn appear(&mut self, member: MemberId) {
        self.serial += 1;
        let ifindex = 100 + self.serial as u32;
        self.ifindexes.insert(member, ifindex);
        let link_up = Some(self.wire.ports[member.0 as usize].carrier);
        self.tell(Event::InterfacePresent(Presence {
            member,
            ifindex,
            link_up,
            adopted: Vec::new(),
            displaced: false,
        }));
        self.tell_test_address(member);
    }

    /// A member's test addresses are as they were set up.
    pub fn tell_test_address(&mut self, member: MemberId) {
        let (number, wants) = (member.0, self.setup.members[member.0 as usize % self.setup.members.len()]);
        if wants.v4 {
            let address = Some(v4_test(number));
            self.tell(Event::TestAddress { member, family: Family::V4, address });
        }
        if wants.v6 {
            let address = Some(v6_test(number));
            self.tell(Event::TestAddress { member, family: Family::V6, address });
        }
    }

    /// The interface disappears.
    pub fn vanish(&mut self, member: MemberId) {
        if self.ifindexes.remove(&member).is_some() {
            self.tell(Event::InterfaceGone { member });
        }
    }

    /// What the engine tells of a member.
    pub fn member(&self, member: MemberId) -> MemberSnapshot {
        let snapshot = self.engine.snapshot(self.now);
        let mut members = snapshot.groups.into_iter().flat_map(|group| group.members);
        members.find(|known| known.member == member).expect("a member of some group")
    }

    /// A member's state.
    pub fn state(&self, member: MemberId) -> ShownState {
        self.member(member).state
    }

    /// Which member each data address of the first group is on, in the order of the configuration.
    pub fn places(&self) -> Vec<MemberId> {
        self.engine.snapshot(self.now).groups[0].addresses.iter().map(|address| address.on).collect()
    }

    /// Published records of one kind, oldest first.
    pub fn records(&self, kind: Kind) -> Vec<Record> {
        let published = self.actions.iter().filter_map(|(_, action)| match action {
            Action::Publish(record) => Some(record),
            Action::SendProbe { .. }
            | Action::ArmSession(_)
            | Action::SetLateAfter { .. }
            | Action::DisarmSession { .. }
            | Action::SetPlacement(_)
            | Action::Discover { .. }
            | Action::Release { .. }
            | Action::Announce { .. } => None,
        });
        published.filter(|record| record.kind == kind).cloned().collect()
    }

    /// How many records of one kind concern one member.
    pub fn count(&self, kind: Kind, member: MemberId) -> usize {
        self.records(kind).iter().filter(|record| record.member == Some(member)).count()
    }

    /// Forgets what was recorded so far, so that a test sees only what follows.
    pub fn forget_history(&mut self) {
        self.actions.clear();
    }

    /// Sessions as they are armed now.
    pub fn sessions(&self) -> Vec<Session> {
        self.watch.sessions().cloned().collect()
    }

    /// Sessions armed now.
    pub fn armed(&self) -> usize {
        self.watch.armed()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("simulation: seed {}, {} after boot", self.setup.seed, self.now.since(BOOT));
        }
    }
}
