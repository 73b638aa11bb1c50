//! The carrier where no tracing program tells: polled at a bounded cost. `RTM_NEWLINK` may be withheld for a second, and comes
//! when linkwatch has done all else; the kernel counts at once.

mod counts;
mod polling;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

pub use self::counts::Sysfs;
use self::{
    counts::{Counter, Counts},
    polling::{Order, Pass, Polled, Source},
};
use crate::daemon::clock;

/// How long the loop waits for drivers to be asked: some hundred times what it takes, and no harm to any failure detection
/// time.
const PATIENCE: Duration = Duration::from_micros(500);

/// So many counts are looked at in each turn of the loop, which its probes wake oftener than the thread: at some 2 µs each no
/// more than a sixth of what a turn takes.
const EACH_TURN: usize = 4;

/// A carrier change that polling saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierChange {
    /// The interface.
    pub ifindex: u32,
    /// Whether the link is up now.
    pub up: bool,
    /// When it was seen, `CLOCK_MONOTONIC` nanoseconds: at most one interval after it happened, unless a driver's answer
    /// had to be waited for.
    pub at_ns: u64,
}

/// The members that are polled, by a thread of its own: it need not wake the loop while nothing changes, and where the counts
/// cannot be had it asks the driver, which takes the RTNL lock that others may hold for a hundred milliseconds. It keeps
/// nothing but what it saw last.
#[derive(Debug)]
pub(super) struct Poller {
    /// Where the counts are, if they can be had.
    sysfs: Option<Sysfs>,
    thread: Option<Thread>,
    members: BTreeMap<u32, Member>,
    orders: u64,
    /// Drivers are to be asked, and have not been yet.
    asked: bool,
    /// Counts are to be looked at.
    look: bool,
    priority: u8,
    bell: Arc<Notify>,
}

/// One who is polled.
#[derive(Debug)]
struct Member {
    /// The number of the order.
    order: u64,
    /// And how the counts stood when they were looked at last; none where its driver is asked.
    counter: Option<(Arc<Counter>, Counts)>,
}

#[derive(Debug)]
struct Thread {
    orders: mpsc::Sender<Order>,
    passes: mpsc::Receiver<Pass>,
}

impl Poller {
    /// Its thread will have this real-time priority.
    pub(super) fn new(priority: u8, sysfs: Option<Sysfs>) -> Self {
        let (members, bell) = (BTreeMap::new(), Arc::default());
        Self { sysfs, thread: None, members, orders: 0, asked: false, look: false, priority, bell }
    }

    /// Starts to poll an interface, which is in this state.
    pub(super) fn add(&mut self, ifindex: u32, name: &str, up: bool) -> io::Result<()> {
        if self.thread.is_none() {
            self.thread = Some(polling::start(self.priority, Arc::clone(&self.bell))?);
        }
        let counter = self.counter(name).inspect_err(|error| {
            tracing::info!(
                interface = name,
                "carrier changes are not counted for us ({error}): its driver is asked, which may have to wait"
            );
        });
        let counter = counter.ok();
        let source = match &counter {
            Some((counter, known)) => Source::Counter { counter: Arc::clone(counter), known: *known },
            None => Source::Driver { name: name.to_owned(), up },
        };
        self.orders += 1;
        self.members.insert(ifindex, Member { order: self.orders, counter });
        self.order(Order::Add(Polled { ifindex, order: self.orders, source }));
        Ok(())
    }

    fn counter(&self, name: &str) -> io::Result<(Arc<Counter>, Counts)> {
        let sysfs = self.sysfs.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        let counter = Counter::open(sysfs, name)?;
        let known = counter.counts()?;
        Ok((Arc::new(counter), known))
    }

    pub(super) fn remove(&mut self, ifindex: u32) {
        if self.members.remove(&ifindex).is_some() {
            self.order(Order::Remove(ifindex));
        }
    }

    /// Links fail in company (a switch, a dual-port card), so the others are looked at in the same turn, before
    /// anything is moved to one of them.
    pub(super) fn link_event(&mut self) {
        if !self.members.is_empty() && !self.look {
            self.look = true;
            self.asked = self.members.values().any(|member| member.counter.is_none());
            self.order(Order::Look);
        }
    }

    fn order(&self, order: Order) {
        // Without a thread nobody is polled.
        let sent = self.thread.as_ref().is_none_or(|thread| thread.orders.send(order).is_ok());
        if !sent {
            tracing::error!("carriers are polled no more: the thread that did it has ended");
        }
    }

    /// What changed since this was asked last. After a link event, or if the thread saw a change, all have been looked at,
    /// but for drivers whose answer the kernel keeps.
    pub(super) fn take(&mut self) -> Vec<CarrierChange> {
        let mut changes = self.take_passes();
        let few = self.members.len() <= EACH_TURN;
        if std::mem::take(&mut self.look) || few || !changes.is_empty() {
            self.look_at_counts(&mut changes);
        }
        changes
    }

    /// What the thread saw. Counts are looked at here again, so of these it only says that they changed.
    fn take_passes(&mut self) -> Vec<CarrierChange> {
        let Some(thread) = &self.thread else { return Vec::new() };
        let mut changes = Vec::new();
        let until = self.asked.then(|| Instant::now() + PATIENCE);
        loop {
            let pass = match until.filter(|_| self.asked) {
                Some(until) => {
                    thread.passes.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
                }
                None => thread.passes.try_recv().ok(),
            };
            let Some(pass) = pass else { break };
            self.asked &= !pass.asked;
            self.look |= pass.counted;
            let current = |seen: &(u64, CarrierChange)| {
                self.members.get(&seen.1.ifindex).is_some_and(|member| member.order == seen.0)
            };
            changes.extend(pass.changes.into_iter().filter(current).map(|(_, change)| change));
        }
        self.asked = false;
        changes
    }

    fn look_at_counts(&mut self, changes: &mut Vec<CarrierChange>) {
        for (ifindex, member) in &mut self.members {
            let Some((counter, known)) = &mut member.counter else { continue };
            // One that is gone is netlink's to tell.
            let Ok(Some(counts)) = counter.other_than(*known) else { continue };
            if let Some(up) = counts.news_since(*known) {
                changes.push(CarrierChange { ifindex: *ifindex, up, at_ns: clock::now().0 });
            }
            *known = counts;
        }
    }

    /// Rings when there is something to take.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}

#[cfg(test)]
mod tests;
