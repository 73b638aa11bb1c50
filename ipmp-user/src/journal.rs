//! The flight recorder: the newest records in memory, the same that the log, `ipmp events` and `ipmp explain`
//! show, and a way to follow them.
//!
//! [`Journal::publish`] costs the daemon's loop one clone and one atomic push. Everything dear — names, JSON,
//! log text — is done by [`Journal::pump`], which runs on the control thread. The two share no lock, so a starved
//! reader can never hold up a verdict.

mod event;
mod message;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ipmp_common::engine::{
    config::Config,
    ids::{GroupId, MemberId},
    reason::Record,
    snapshot::Snapshot,
    time::Timestamp,
};
use tokio::sync::{Notify, mpsc};

pub use event::Event;
pub(crate) use event::{reason_object, reason_text};

/// Records kept: a failover of a thousand addresses leaves about two thousand, and the cause of today's trouble
/// is often the failover before last. About 6 MB when full.
pub const CAPACITY: usize = 8192;
/// Records that may wait for the pump; one full journal, because older ones would be forgotten anyway.
const INBOX: usize = CAPACITY;
/// Records taken out of the inbox at once, so that followers are woken once for a burst.
const BATCH: usize = 256;

/// The names behind the engine's numbers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Names(Arc<NameLists>);

#[derive(Debug)]
struct NameLists {
    groups: BTreeMap<GroupId, String>,
    members: BTreeMap<MemberId, String>,
}

impl Names {
    /// The names of a configuration, numbered as the engine numbers them.
    pub fn of(config: &Config) -> Self {
        let groups = config.groups.iter().map(|group| group.name.clone());
        let members = config.groups.iter().flat_map(|group| &group.interfaces);
        let members = members.map(|member| member.name.clone());
        Self(Arc::new(NameLists {
            groups: (0..).map(GroupId).zip(groups).collect(),
            members: (0..).map(MemberId).zip(members).collect(),
        }))
    }

    /// The same with other names for some numbers; names of numbers that are free now stay, for what is told of them
    /// afterwards.
    #[must_use]
    pub fn with(
        &self,
        groups: impl Iterator<Item = (GroupId, String)>,
        members: impl Iterator<Item = (MemberId, String)>,
    ) -> Self {
        let NameLists { groups: known_groups, members: known_members } = &*self.0;
        let mut lists = NameLists { groups: known_groups.clone(), members: known_members.clone() };
        lists.groups.extend(groups);
        lists.members.extend(members);
        Self(Arc::new(lists))
    }

    /// The names in a snapshot.
    pub fn in_snapshot(snapshot: &Snapshot) -> Self {
        let groups = snapshot.groups.iter();
        let members = snapshot.groups.iter().flat_map(|group| &group.members);
        Self(Arc::new(NameLists {
            groups: groups.map(|group| (group.group, group.name.clone())).collect(),
            members: members.map(|member| (member.member, member.name.clone())).collect(),
        }))
    }

    /// A group's name.
    pub fn group(&self, group: GroupId) -> String {
        let name = self.0.groups.get(&group);
        name.cloned().unwrap_or_else(|| format!("group {}", group.0))
    }

    /// A member interface's name.
    pub fn member(&self, member: MemberId) -> String {
        let name = self.0.members.get(&member);
        name.cloned().unwrap_or_else(|| format!("member {}", member.0))
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct Journal {
    inbox: mpsc::Sender<(Record, Names)>,
    /// Taken by the pump while it runs.
    outlet: Mutex<Option<mpsc::Receiver<(Record, Names)>>>,
    /// Records that found the inbox full.
    overrun: AtomicU64,
    ring: Mutex<Ring>,
    grown: Notify,
}

/// A reader's place in the journal.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    next: u64,
}

/// What a reader gets at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// In order.
    pub events: Vec<Arc<Event>>,
    /// Events that were forgotten before this reader came to them.
    pub dropped: u64,
}

impl Journal {
    /// An empty journal.
    pub fn new() -> Arc<Self> {
        let (inbox, outlet) = mpsc::channel(INBOX);
        Arc::new(Self {
            inbox,
            outlet: Mutex::new(Some(outlet)),
            overrun: AtomicU64::new(0),
            ring: Mutex::new(Ring::default()),
            grown: Notify::new(),
        })
    }

    /// Hands one record over. Never blocks: if the pump is a whole journal behind, the record is counted as
    /// dropped, and every reader is told.
    pub fn publish(&self, record: &Record, names: &Names) {
        if self.inbox.try_send((record.clone(), names.clone())).is_err() {
            self.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Logs and keeps what was published, for ever; what is still waiting when the future is dropped is kept and
    /// handled by the next [`pump`](Self::pump) or by [`flush`](Self::flush). Only one pump can run; a second
    /// one ends at once.
    pub async fn pump(&self) {
        let taken = lock(&self.outlet).take();
        let Some(outlet) = taken else { return };
        let mut outlet = Outlet { journal: self, outlet: Some(outlet) };
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(receiver) = &mut outlet.outlet {
            if receiver.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            self.keep(batch.drain(..));
        }
    }

    /// Handles what is waiting, without a runtime: at the daemon's end.
    pub fn flush(&self) {
        if let Some(outlet) = lock(&self.outlet).as_mut() {
            while let Ok(entry) = outlet.try_recv() {
                self.keep(std::iter::once(entry));
            }
        }
    }

    fn keep(&self, entries: impl Iterator<Item = (Record, Names)>) {
        let mut ring = lock(&self.ring);
        ring.next += self.overrun.swap(0, Ordering::Relaxed);
        for (record, names) in entries {
            let was_failed = ring.note_group_state(&record);
            message::log(&record, &names, was_failed);
            ring.push(Event::new(&record, &names));
        }
        drop(ring);
        self.grown.notify_waiters();
    }

    /// A place before the oldest event kept, or before the first one not older than `since`.
    pub fn cursor(&self, since: Option<Timestamp>) -> Cursor {
        let ring = lock(&self.ring);
        let wanted = |event: &Event| since.is_none_or(|since| event.t_ns >= since.0);
        let found = ring.entries.iter().find(|(_, event)| wanted(event));
        Cursor { next: found.map_or(ring.next, |(number, _)| *number) }
    }

    /// A place behind the newest event.
    pub fn end(&self) -> Cursor {
        Cursor { next: lock(&self.ring).next }
    }

    /// At most `max` events from the cursor on; moves the cursor behind them.
    pub fn read(&self, cursor: &mut Cursor, max: usize) -> Batch {
        let ring = lock(&self.ring);
        let start = ring.entries.partition_point(|(number, _)| *number < cursor.next);
        let mut batch = Batch { events: Vec::new(), dropped: 0 };
        for (number, event) in ring.entries.range(start..).take(max) {
            batch.dropped += number - cursor.next;
            cursor.next = number + 1;
            batch.events.push(Arc::clone(event));
        }
        if batch.events.len() < max {
            batch.dropped += ring.next - cursor.next;
            cursor.next = ring.next;
        }
        batch
    }

    /// Resolves as soon as there is something behind the cursor.
    pub async fn grown(&self, cursor: &Cursor) {
        loop {
            let notified = self.grown.notified();
            tokio::pin!(notified);
            // Registered before looking, so that nothing that happens in between is missed.
            notified.as_mut().enable();
            if lock(&self.ring).next > cursor.next {
                return;
            }
            notified.await;
        }
    }
}

/// Gives the receiver back when the pump's future is dropped.
struct Outlet<'j> {
    journal: &'j Journal,
    outlet: Option<mpsc::Receiver<(Record, Names)>>,
}

impl Drop for Outlet<'_> {
    fn drop(&mut self) {
        *lock(&self.journal.outlet) = self.outlet.take();
    }
}

/// A panic of another holder leaves data that are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Ring {
    /// Numbered events; numbers grow, with gaps where records were lost.
    entries: VecDeque<(u64, Arc<Event>)>,
    /// The number of the next event.
    next: u64,
    /// Groups whose failure was logged, and whose recovery is therefore worth its own words.
    failed: BTreeSet<GroupId>,
}

impl Ring {
    fn push(&mut self, event: Event) {
        if self.entries.len() >= CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back((self.next, Arc::new(event)));
        self.next += 1;
    }

    /// Remembers which groups have failed; tells whether this one had.
    fn note_group_state(&mut self, record: &Record) -> bool {
        let Some(group) = record.group else { return false };
        match message::usable_members(record) {
            Some(0) => !self.failed.insert(group),
            Some(_) => self.failed.remove(&group),
            None => false,
        }
    }
}
