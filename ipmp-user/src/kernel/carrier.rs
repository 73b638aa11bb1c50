//! The carrier where no tracing program tells: `ETHTOOL_GLINK`, polled at a bounded cost. It costs about a
//! microsecond and sees the truth at once, while `RTM_NEWLINK` may be withheld for a second (linkwatch).

mod polling;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::polling::{Order, Pass, Polled};

/// How long the loop waits for the others to be looked at: some hundred times what it takes, and no harm to any failure
/// detection time.
const PATIENCE: Duration = Duration::from_micros(500);

/// A carrier change that polling saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierChange {
    /// The interface.
    pub ifindex: u32,
    /// Whether the link is up now.
    pub up: bool,
    /// When it was seen, `CLOCK_MONOTONIC` nanoseconds: at most one interval after it happened, unless the
    /// kernel kept the answer.
    pub at_ns: u64,
}

/// The members that are polled: by a thread of its own, for the question takes the RTNL lock (`dev_ethtool` in
/// net/ethtool/ioctl.c), which others may hold for a hundred milliseconds. It hands over what it sees, and keeps nothing but
/// what it saw last.
#[derive(Debug)]
pub(super) struct Poller {
    thread: Option<Thread>,
    /// Those who are polled, by the number of the order.
    members: BTreeMap<u32, u64>,
    orders: u64,
    /// The others are to be looked at, and have not been yet.
    asked: bool,
    priority: u8,
    bell: Arc<Notify>,
}

#[derive(Debug)]
struct Thread {
    orders: mpsc::Sender<Order>,
    passes: mpsc::Receiver<Pass>,
}

impl Poller {
    /// Its thread will have this real-time priority.
    pub(super) fn new(priority: u8) -> Self {
        let (members, bell) = (BTreeMap::new(), Arc::default());
        Self { thread: None, members, orders: 0, asked: false, priority, bell }
    }

    /// Starts to poll an interface, which is in this state.
    pub(super) fn add(&mut self, ifindex: u32, name: &str, up: bool) -> io::Result<()> {
        if self.thread.is_none() {
            self.thread = Some(polling::start(self.priority, Arc::clone(&self.bell))?);
        }
        self.orders += 1;
        self.members.insert(ifindex, self.orders);
        let member = Polled { ifindex, order: self.orders, name: name.to_owned(), up };
        self.order(Order::Add(member));
        Ok(())
    }

    pub(super) fn remove(&mut self, ifindex: u32) {
        if self.members.remove(&ifindex).is_some() {
            self.order(Order::Remove(ifindex));
        }
    }

    /// Links fail in company (a switch, a dual-port card), so the others are looked at in the same turn, before
    /// anything is moved to one of them.
    pub(super) fn link_event(&mut self) {
        if !self.members.is_empty() && !self.asked {
            self.asked = true;
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

    /// What changed since this was asked last. After a link event the others have been looked at, unless the kernel keeps
    /// the answer.
    pub(super) fn take(&mut self) -> Vec<CarrierChange> {
        let Some(thread) = &self.thread else { return Vec::new() };
        let mut changes = Vec::new();
        let until = Instant::now() + PATIENCE;
        loop {
            let pass = if self.asked {
                thread.passes.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
            } else {
                thread.passes.try_recv().ok()
            };
            let Some(pass) = pass else { break };
            self.asked &= !pass.asked;
            let current = |seen: &(u64, CarrierChange)| self.members.get(&seen.1.ifindex) == Some(&seen.0);
            changes.extend(pass.changes.into_iter().filter(current).map(|(_, change)| change));
        }
        self.asked = false;
        changes
    }

    /// Rings when there is something to take.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}

#[cfg(test)]
mod tests;
