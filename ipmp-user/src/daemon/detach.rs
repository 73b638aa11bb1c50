//! Giving interfaces up, as a preparation of their removal: a transaction over several turns of the loop.
//!
//! ```text
//!  data addresses away ─▶ test addresses off ─▶ programs and settings off ─▶ link down ─▶ given up
//!         │ failed               │ failed                │ failed              │ failed
//!         ▼                      ▼                       ▼                     ▼
//!    online again ◀──── test addresses on ◀──── programs and settings ◀──── link up
//! ```
//! Every step back is tried, whatever became of the one before, and the answer tells of those that failed. Linux cannot
//! veto the removal itself: whoever pulls a card without asking gets a failover, not a refusal.

use std::ops::RangeInclusive;

use ipmp_common::engine::{
    event::{Command, Event},
    ids::{GroupId, MemberId},
    time::Timestamp,
};

use super::{
    Daemon,
    reload::{Reply, answer},
};
use crate::{
    control::{Response, protocol::Detach},
    net::{
        address::Address,
        apply::{Failure, Outcome, Taken, Work},
        inventory::Link,
    },
};

mod check;
mod undo;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The engine was told; its placement is on its way.
    Away,
    /// All placements asked for so far are being carried out.
    Settling,
    TestAddresses,
    /// In the loop itself, at once.
    Programs,
    LinkDown,
    /// From here on everything is undone.
    LinkUp,
    TestAddressesBack,
    /// As `Away`, on the way back.
    Back,
    /// As `Settling`.
    SettlingBack,
}

impl Stage {
    /// What was being done, for people.
    const fn words(self) -> &'static str {
        match self {
            Self::Away | Self::Settling => "moving its data addresses away",
            Self::TestAddresses => "taking its test addresses off",
            Self::Programs => "taking its programs and settings away",
            Self::LinkDown => "setting its link down",
            Self::LinkUp | Self::TestAddressesBack | Self::Back | Self::SettlingBack => "undoing",
        }
    }
}

/// One interface on its way out.
#[derive(Debug)]
struct Leaving {
    /// `None`: it is in no group.
    member: Option<MemberId>,
    name: String,
    ifindex: u32,
    was_offline: bool,
    /// Its programs and settings were taken back, or that was tried.
    bare: bool,
    /// It was up, and was to be set down.
    set_down: bool,
}

/// A detach that is under way.
#[derive(Debug)]
pub(super) struct Detaching {
    stage: Stage,
    force: bool,
    leaving: Vec<Leaving>,
    groups: Vec<GroupId>,
    /// A later placement than the first was waited for too.
    resettled: bool,
    /// Addresses that were taken off.
    removed: Vec<Address>,
    /// Those of the stage; it is over with the last of them.
    tickets: RangeInclusive<u64>,
    errors: Vec<Failure>,
    /// Why it is undone.
    cause: Option<String>,
    reply: Reply,
}

impl Daemon {
    pub(super) fn detach(&mut self, now: Timestamp, wanted: &Detach, reply: Reply) {
        match self.leaving(wanted) {
            Err(refusal) => answer(reply, Response::Refused(refusal)),
            Ok(leaving) if wanted.check => answer(reply, Response::Done(self.foretell(&leaving))),
            Ok(leaving) => self.begin_detach(now, leaving, wanted.force, reply),
        }
    }

    fn begin_detach(&mut self, now: Timestamp, leaving: Vec<Leaving>, force: bool, reply: Reply) {
        let members: Vec<MemberId> = leaving.iter().filter_map(|one| one.member).collect();
        let mut groups = Vec::new();
        for member in self.members.iter_mut().filter(|member| members.contains(&member.id)) {
            member.leaving = true;
            if !groups.contains(&member.group) {
                groups.push(member.group);
            }
        }
        if force {
            let names: Vec<&str> = leaving.iter().map(|one| one.name.as_str()).collect();
            tracing::warn!("detach by force: {}", names.join(", "));
        }
        self.engine.handle(now, Event::Command(Command::Detach { members, force }));
        self.admin.detaching = Some(Detaching {
            stage: Stage::Away,
            force,
            leaving,
            groups,
            resettled: false,
            removed: Vec::new(),
            tickets: 0..=0,
            errors: Vec::new(),
            cause: None,
            reply,
        });
    }

    /// Once a turn, behind the engine's actions.
    pub(super) fn go_on_detaching(&mut self) {
        let Some(detaching) = &self.admin.detaching else { return };
        let settling = match detaching.stage {
            Stage::Away => Stage::Settling,
            Stage::Back => Stage::SettlingBack,
            Stage::Settling
            | Stage::TestAddresses
            | Stage::Programs
            | Stage::LinkDown
            | Stage::LinkUp
            | Stage::TestAddressesBack
            | Stage::SettlingBack => return,
        };
        let groups = detaching.groups.clone();
        // Also without a move: the test addresses are to be defended no longer, or again.
        for group in groups {
            if let Some(placement) = self.placements.get(&group).cloned() {
                self.set_placement(super::clock::now(), placement);
            }
        }
        // Behind every placement in the queue; its answer tells that they were carried out.
        self.detach_step(settling, Vec::new());
    }

    /// Refusals of placements that belong to the move.
    pub(super) fn note_detach_outcome(&mut self, outcome: &Outcome) {
        if let Some(detaching) = &mut self.admin.detaching
            && detaching.groups.contains(&outcome.group)
            && matches!(detaching.stage, Stage::Away | Stage::Settling | Stage::Back | Stage::SettlingBack)
        {
            detaching.errors.extend(outcome.errors.iter().cloned());
        }
    }

    /// Goes to a stage that is over when all this is done, which may be nothing.
    fn detach_step(&mut self, stage: Stage, works: Vec<Work>) {
        let first = self.admin.tickets + 1;
        for work in works {
            self.step(work);
        }
        let last = self.step(Work::Restore(Vec::new()));
        if let Some(detaching) = &mut self.admin.detaching {
            detaching.stage = stage;
            detaching.tickets = first..=last;
        }
    }

    /// Whether a step was this transaction's.
    pub(super) fn detach_step_taken(&mut self, now: Timestamp, taken: &Taken) -> bool {
        let Some(detaching) = &mut self.admin.detaching else { return false };
        if !detaching.tickets.contains(&taken.ticket) {
            return false;
        }
        detaching.errors.extend(taken.errors.iter().cloned());
        if taken.ticket < *detaching.tickets.end() {
            return true;
        }
        // What netlink told of it must be known before it is judged.
        self.gather(now);
        let Some(mut detaching) = self.admin.detaching.take() else { return true };
        if detaching.leaving.iter().all(|one| self.inventory.link(one.ifindex).is_none()) {
            answer(detaching.reply.take(), Response::Done(done(&detaching.leaving, "has gone")));
            return true;
        }
        let stage = detaching.stage;
        self.admin.detaching = Some(detaching);
        match stage {
            Stage::Away | Stage::Programs | Stage::Back => {}
            Stage::Settling => self.addresses_away(),
            Stage::TestAddresses => self.test_addresses_off(),
            Stage::LinkDown => self.links_down(now),
            Stage::LinkUp => self.links_up(),
            Stage::TestAddressesBack => self.test_addresses_back(now),
            Stage::SettlingBack => self.undone(),
        }
        true
    }

    /// What failed last, or what the kernel said.
    fn trouble(&mut self) -> Option<String> {
        let errors = std::mem::take(&mut self.admin.detaching.as_mut()?.errors);
        errors.first().map(|failure| failure.what.clone())
    }

    fn addresses_away(&mut self) {
        let said = self.trouble();
        let Some(detaching) = &self.admin.detaching else { return };
        let mut parked = Vec::new();
        let mut off = Vec::new();
        let mut moving = false;
        for one in &detaching.leaving {
            let Some(member) = self.members.iter().find(|member| Some(member.id) == one.member) else {
                continue;
            };
            let data = self.placements.get(&member.group).map_or(&[][..], |placement| &placement.data);
            let here = self.inventory.addresses(one.ifindex);
            let is_data =
                |address: &&Address| data.iter().any(|placed| placed.address.addr() == address.ip());
            parked.extend(here.iter().filter(is_data).cloned());
            let is_here = |ip| here.iter().any(|address| address.ip() == ip);
            moving |= data.iter().any(|placed| placed.on != member.id && is_here(placed.address.addr()));
            let is_test = |address: &&Address| member.config.test.contains(&address.ip());
            off.extend(here.iter().filter(is_test).filter(|a| !a.is_link_local_v6()).cloned());
        }
        if moving && said.is_none() && !detaching.resettled {
            // The engine learnt of something meanwhile, and decided anew behind what was waited for.
            if let Some(detaching) = &mut self.admin.detaching {
                detaching.resettled = true;
            }
            return self.detach_step(Stage::Settling, Vec::new());
        }
        if !parked.is_empty() && !detaching.force {
            let nets: Vec<String> = parked.iter().map(|address| address.net().to_string()).collect();
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            return self.undo(&format!("{} stay on it{said}", nets.join(", ")));
        }
        if !parked.is_empty() {
            tracing::warn!("{} data addresses are parked until an interface can take them", parked.len());
        }
        off.extend(parked);
        if let Some(detaching) = &mut self.admin.detaching {
            detaching.removed.clone_from(&off);
        }
        self.detach_step(Stage::TestAddresses, vec![Work::Remove(off)]);
    }

    fn test_addresses_off(&mut self) {
        if let Some(said) = self.trouble() {
            return self.undo(&said);
        }
        let Some(detaching) = &mut self.admin.detaching else { return };
        detaching.stage = Stage::Programs;
        let mut refused = None;
        for one in detaching.leaving.iter_mut().filter(|one| one.member.is_some()) {
            one.bare = true;
            if let Err(error) = self.kernel.detach(one.ifindex) {
                refused.get_or_insert_with(|| format!("{}: {error}", one.name));
            }
            if let Err(error) = self.sysctl.restore_of(&one.name) {
                refused.get_or_insert_with(|| format!("{}: {error}", one.name));
            }
        }
        if let Some(said) = refused {
            return self.undo(&said);
        }
        let mut down = Vec::new();
        for one in &mut detaching.leaving {
            one.set_down = self.inventory.link(one.ifindex).is_some_and(Link::admin_up);
            down.push(Work::SetLink { ifindex: one.ifindex, up: false });
        }
        self.detach_step(Stage::LinkDown, down);
    }

    fn links_down(&mut self, now: Timestamp) {
        if let Some(said) = self.trouble() {
            return self.undo(&said);
        }
        let Some(mut detaching) = self.admin.detaching.take() else { return };
        for one in &detaching.leaving {
            if let Some(member) = self.members.iter_mut().find(|member| Some(member.id) == one.member) {
                let event = member.gone();
                self.engine.handle(now, event);
            }
            self.admin.detached.add(&one.name, one.ifindex);
        }
        self.keep_offline();
        let text = done(&detaching.leaving, "is detached and may be removed");
        tracing::info!("{text}");
        answer(detaching.reply.take(), Response::Done(text));
    }
}

fn done(leaving: &[Leaving], what: &str) -> String {
    leaving.iter().map(|one| format!("{}: {what}", one.name)).collect::<Vec<_>>().join("\n")
}
