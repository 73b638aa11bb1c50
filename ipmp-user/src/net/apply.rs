//! Carries placements out: make before break, one failing request never stops the rest.

mod ahead;
mod announcing;
mod exchange;
mod job;
mod opening;
mod outbound;
mod step;
mod watch;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

use ipmp_common::engine::{ids::GroupId, time::Timestamp};

use self::{
    ahead::Ahead,
    opening::Opened,
    outbound::Spreading,
    watch::{PATIENCE, Watch},
};
pub use self::{
    job::{Failure, Job, Outcome},
    step::{Step, Taken, Work},
    watch::News,
    worker::{Handle, spawn},
};
use super::{
    NetError,
    base::{Base, presence},
    inventory::Inventory,
    memberships::Memberships,
    plan::{
        self, AddressPlan, Op, Wanted,
        neighbours::{Moving, Neighbours},
        placement::Placement,
    },
    rules,
    socket::Socket,
    state::StateFile,
};
use crate::announce::Announcer;

/// Owns the netlink socket, the base and the state file. Not for two at the same time on the same members.
#[derive(Debug)]
pub struct Applier {
    socket: Socket,
    announcer: Option<Announcer>,
    base: Base,
    wanted: BTreeMap<GroupId, Wanted>,
    present: BTreeSet<Vec<u8>>,
    state: StateFile,
    /// Trouble met outside of a job, reported with the next.
    pending: Vec<Failure>,
    watch: Watch,
    /// What is known of the kernel's state before the next job.
    ahead: Option<Ahead>,
    /// What each group may be ordered next.
    foreseen: BTreeMap<GroupId, Vec<Wanted>>,
    /// Addresses that the last job deleted.
    deleted: BTreeSet<(u32, IpAddr)>,
    /// What was heard after the kernel was read, or meanwhile: it explains what is missing in what was read, or what will be
    /// missing the next time.
    late: News,
    spreading: Spreading,
    memberships: Memberships,
}

impl Applier {
    /// Opens it in the network namespace of the calling thread; `runtime_dir` holds the state file. A state file that
    /// cannot be used is put aside and reported with the first outcome; without permission for packet sockets addresses
    /// move unannounced, which is reported too.
    pub fn open(runtime_dir: impl Into<PathBuf>) -> Result<Self, NetError> {
        let mut pending = Vec::new();
        let socket = Socket::open()?;
        let state = StateFile::new(runtime_dir);
        let base = state.load().unwrap_or_else(|error| {
            pending.push(Failure { what: error.to_string(), errno: error.errno() });
            Base::default()
        });
        let announcer = match Announcer::open() {
            Ok(announcer) => Some(announcer),
            Err(error) => {
                pending.push(Failure::of("moved addresses will not be announced", &error));
                None
            }
        };
        Ok(Self {
            watch: Watch::open(socket.port())?,
            socket,
            announcer,
            base,
            wanted: BTreeMap::new(),
            present: BTreeSet::new(),
            state,
            pending,
            ahead: None,
            foreseen: BTreeMap::new(),
            deleted: BTreeSet::new(),
            late: News::default(),
            spreading: Spreading::default(),
            memberships: Memberships::default(),
        })
    }

    /// The home state as known now.
    pub const fn base(&self) -> &Base {
        &self.base
    }

    /// Carries a job out and saves the state. Total: whatever fails is in the outcome, or in the next one if it is the
    /// state file.
    pub fn apply(&mut self, job: &Job) -> Outcome {
        let outcome = self.carry_out(job);
        let failure = self.save();
        self.pending.extend(failure);
        self.look_ahead();
        outcome
    }

    /// Saves the state if it changed, and says what went wrong. Not part of carrying out, because a disk takes its time and
    /// nothing depends on it: after a crash in between, the addresses in the kernel say where things are.
    pub fn save(&mut self) -> Option<Failure> {
        let error = self.state.save(&self.base).err()?;
        Some(Failure { what: error.to_string(), errno: error.errno() })
    }

    /// Carries a job out without saving the state. Total: whatever fails is in the outcome.
    pub fn carry_out(&mut self, job: &Job) -> Outcome {
        self.wanted.insert(job.group, job.wanted.clone());
        self.foreseen.remove(&job.group);
        let mut outcome = Outcome::nothing(job, std::mem::take(&mut self.pending));
        let wanted = self.merged();
        let (mut ahead, stale) = self.recall();
        let opened = ahead.as_mut().and_then(|ahead| self.open_move(ahead, &wanted, job, &mut outcome));
        let undisturbed = self.watch.heard_nothing();
        let known = ahead.filter(|_| !stale && opened.is_none());
        let known = known.map(|ahead| Ok((ahead.inventory, undisturbed.then_some(ahead.learned))));
        match known.unwrap_or_else(|| Ok((self.look()?, None))) {
            Ok((inventory, learned)) => {
                if let Some(opened) = &opened {
                    self.note_opening(&inventory, &wanted, opened);
                }
                self.learn_from(&inventory, &wanted, learned);
                self.converge(inventory, &wanted, opened, job, &mut outcome);
            }
            Err(error) => {
                outcome.errors.push(Failure::of("reading the kernel's addresses and routes", &error));
            }
        }
        outcome
    }

    fn merged(&self) -> Wanted {
        self.wanted.values().collect()
    }

    fn converge(
        &mut self,
        mut inventory: Inventory,
        wanted: &Wanted,
        opened: Option<Opened>,
        job: &Job,
        outcome: &mut Outcome,
    ) {
        if self.state.is_blank() {
            // Whoever comes after a crash in the first move must know what was there before it.
            let failure = self.save();
            outcome.errors.extend(failure);
        }
        let mut addresses = plan::addresses(&inventory, &self.base, wanted, monotonic());
        outcome.left_alone.append(&mut addresses.left_alone);
        let blocked = addresses.blocked.drain(..).map(|what| Failure { what, errno: libc::ENETDOWN });
        outcome.errors.extend(blocked);
        self.narrow_outbound(&mut inventory, wanted, outcome);
        if opened.is_none() {
            self.watch.begin();
        }
        let opened = opened.unwrap_or_default();
        let (first, later) = addresses.stages(&inventory);
        let known = &job.neighbours;
        let mut failed = self.add_and_route(&mut inventory, wanted, &addresses, first, known, outcome);
        addresses.moved.splice(0..0, opened.moved.iter().copied());
        self.base.news = std::mem::take(&mut self.late);
        outcome.moved = addresses.arrived(&failed);
        let told = opened.arrived();
        let untold: Vec<(u32, IpAddr)> =
            outcome.moved.iter().copied().filter(|place| !told.contains(place)).collect();
        outcome.announced_at =
            self.announce(&inventory, &untold, &mut outcome.errors).or(outcome.announced_at);
        if !later.is_empty() {
            failed.extend(self.execute(&later, outcome).addresses);
            outcome.moved = addresses.arrived(&failed);
        }
        if !addresses.remove.is_empty() {
            let mut added = addresses.added_v6();
            added.extend(opened.added_v6());
            added.retain(|place| !failed.contains(place));
            self.watch.wait_serving(added, PATIENCE, &mut self.base.news);
        }
        let moving = Moving { wanted, known, moved: &addresses.moved, routes: &[] };
        self.remove(&moving, &addresses, &failed, outcome);
        if !later.is_empty() {
            // Now nobody else answers for them, and what was refused stands where it was.
            self.announce(&inventory, &addresses.places(&failed), &mut outcome.errors);
        }
        self.conclude(inventory, wanted, &addresses, &failed, outcome);
    }

    /// What nobody waits for: what the kernel took along, flows onto members that returned, and notes of where things are.
    fn conclude(
        &mut self,
        mut inventory: Inventory,
        wanted: &Wanted,
        addresses: &AddressPlan,
        failed: &BTreeSet<(u32, IpAddr)>,
        outcome: &mut Outcome,
    ) {
        self.watch.collect(None, &self.deleted, &mut self.base.news);
        // Of these all has been heard: whoever deletes one of them from now on is somebody else.
        self.deleted.clear();
        let flushed = self.watch.saw_carrier_loss() && !inventory.nexthops.is_empty();
        if addresses.orphans || flushed {
            self.restore_orphans(wanted, outcome);
        }
        self.spread_outbound(&mut inventory, wanted, outcome);
        outcome.errors.extend(rules::follow(&mut self.socket, &inventory, &self.base, wanted));
        outcome.errors.extend(self.memberships.follow(wanted));
        self.base.note_placement(&inventory, wanted, failed);
        if outcome.errors.is_empty() {
            self.base.claim(&inventory, wanted);
        }
    }

    /// Puts back what the kernel took during the move: secondary addresses, together with a primary one, and their routes;
    /// the routes by nexthop objects of a link that lost its carrier before they were moved.
    fn restore_orphans(&mut self, wanted: &Wanted, outcome: &mut Outcome) {
        // What the kernel took was not removed by an administrator.
        self.present.clear();
        match Inventory::dump_without_neighbours(&mut self.socket) {
            Ok(mut inventory) => {
                let addresses = plan::addresses(&inventory, &self.base, wanted, monotonic());
                let (add, known) = (addresses.add.clone(), Neighbours::new());
                let applied_at = outcome.applied_at;
                self.add_and_route(&mut inventory, wanted, &addresses, add, &known, outcome);
                outcome.applied_at = applied_at;
            }
            Err(error) => {
                outcome.errors.push(Failure::of("reading the kernel's addresses after the move", &error));
            }
        }
    }

    /// Additions and routes; additions in one exchange where the kernel adds no routes of its own. Routes go where nothing
    /// was refused. Returns the additions that failed.
    fn add_and_route(
        &mut self,
        inventory: &mut Inventory,
        wanted: &Wanted,
        addresses: &AddressPlan,
        mut ops: Vec<Op>,
        neighbours: &Neighbours,
        outcome: &mut Outcome,
    ) -> BTreeSet<(u32, IpAddr)> {
        let mut failed = BTreeSet::new();
        if addresses.brings_routes {
            failed = self.execute(&ops, outcome).addresses;
            // The kernel appends their connected routes: no order that somebody wants.
            self.base.news.robbed.extend(ops.iter().filter_map(Op::brings_route));
            ops.clear();
            match inventory.reload_routes(&mut self.socket) {
                Ok(()) => {
                    self.hear();
                    self.base.learn(inventory, wanted, &self.present);
                }
                Err(error) => outcome.errors.push(Failure::of("reading the kernel's routes", &error)),
            }
        }
        let mut routes = plan::routes::routes(inventory, &self.base, wanted);
        outcome.left_alone.append(&mut routes.left_alone);
        let moving = Moving { wanted, known: neighbours, moved: &addresses.moved, routes: &routes.add };
        ops.append(&mut moving.copies());
        ops.append(&mut routes.add);
        let complete = self.base.complete(inventory, wanted);
        let placement = Placement::new(&self.base, &complete.wanted);
        let ours = inventory.routes.values().flatten().filter(|route| placement.moves(route));
        let objects = inventory.nexthops.keys().map(|id| presence(*id));
        self.present = ours.map(|route| route.identity().to_vec()).chain(objects).collect();
        let refused = self.execute(&ops, outcome);
        let removable = routes.removable(&refused.routes);
        self.execute(&removable, outcome);
        let did_nothing = ops.is_empty() && removable.is_empty() && !addresses.brings_routes;
        if outcome.applied_at == Timestamp::default() || !did_nothing {
            outcome.applied_at = monotonic();
        }
        self.execute(&routes.broadcasts, outcome);
        failed.extend(refused.addresses);
        failed
    }

    /// Takes addresses off their old interfaces, except where the new one did not accept them, and those that shall be
    /// nowhere off whatever they are on; what stays there by mistake of the kernel comes back, and neighbours are forgotten.
    fn remove(
        &mut self,
        moving: &Moving<'_>,
        addresses: &AddressPlan,
        failed: &BTreeSet<(u32, IpAddr)>,
        outcome: &mut Outcome,
    ) {
        let wanted = moving.wanted;
        let places: BTreeMap<IpAddr, u32> = wanted
            .data
            .iter()
            .filter_map(|placed| Some((placed.address.addr(), wanted.ifindex(placed.on)?)))
            .collect();
        let stands = |ip: IpAddr| places.get(&ip).is_some_and(|on| !failed.contains(&(*on, ip)));
        let goes = |op: &&Op| {
            matches!(op, Op::DelAddress(address)
                if stands(address.ip()) || wanted.withdraws(address.ip()))
        };
        let mut ops: Vec<Op> = addresses.remove.iter().filter(goes).cloned().collect();
        ops.extend(addresses.bystanders.iter().cloned());
        ops.extend(moving.deletions());
        self.execute(&ops, outcome);
        if !wanted.withdrawn.is_empty() {
            // The routes that the kernel takes along with an address were not removed by an administrator.
            self.present.clear();
        }
    }
}

/// `CLOCK_MONOTONIC` now. The applier's outcome carries times because it is the only place that knows them.
pub(super) fn monotonic() -> Timestamp {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(Timestamp::default(), |t| {
        Timestamp(t.tv_sec().cast_unsigned() * 1_000_000_000 + t.tv_nsec().cast_unsigned())
    })
}

#[cfg(test)]
mod tests;
