//! The thread that polls.

use std::{
    ffi::CStr,
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    CarrierChange, Thread,
    counts::{Counter, Counts},
};
use crate::{beside, daemon::clock, kernel::driver::Drivers};

/// Between polls, normally: with up to 50 µs of CPU time for each wake-up, one hundredth of a CPU.
pub(super) const INTERVAL_NS: u64 = 5_000_000;
/// Between polls after a link event.
pub(super) const FAST_INTERVAL_NS: u64 = 1_000_000;
/// How long fast polling lasts: linkwatch withholds a second event for up to a second.
pub(super) const FAST_FOR_NS: u64 = 1_200_000_000;
/// Polls a second over all members; at two microseconds each, two hundredths of a CPU.
const MAX_POLLS_PER_SECOND: u64 = 10_000;

/// When to poll next. Pure; the clock is the caller's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Schedule {
    pub(super) next_ns: u64,
    fast_until_ns: u64,
}

impl Schedule {
    pub(super) fn link_event(&mut self, now_ns: u64) {
        self.fast_until_ns = now_ns.saturating_add(FAST_FOR_NS);
        self.next_ns = self.next_ns.min(now_ns);
    }

    pub(super) fn polled(&mut self, now_ns: u64, members: usize) {
        let wanted = if now_ns < self.fast_until_ns { FAST_INTERVAL_NS } else { INTERVAL_NS };
        let least = members as u64 * (1_000_000_000 / MAX_POLLS_PER_SECOND);
        self.next_ns = now_ns.saturating_add(wanted.max(least));
    }
}

/// One who is polled.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) ifindex: u32,
    /// The order's number.
    pub(super) order: u64,
    pub(super) source: Source,
}

/// Who tells of its carrier, and what was seen last.
#[derive(Debug)]
pub(super) enum Source {
    /// The kernel's counts.
    Counter { counter: Arc<Counter>, known: Counts },
    /// `ETHTOOL_GLINK`, by the interface's name.
    Driver { name: String, up: bool },
}

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Order {
    Add(Polled),
    Remove(u32),
    /// Some link changed: all are looked at now, and for a while more often.
    Look,
}

/// What it saw when it looked at all of them.
#[derive(Debug)]
pub(super) struct Pass {
    /// What drivers said, with the number of the order by which each is polled.
    pub(super) changes: Vec<(u64, CarrierChange)>,
    /// Some counts are not as they were.
    pub(super) counted: bool,
    /// It was asked to look, and drivers have been asked.
    pub(super) asked: bool,
}

impl Pass {
    const fn is_news(&self) -> bool {
        self.counted || !self.changes.is_empty()
    }
}

/// Starts it in the caller's network namespace.
pub(super) fn start(priority: u8, bell: Arc<Notify>) -> io::Result<Thread> {
    let (orders, incoming) = mpsc::channel();
    let (results, passes) = mpsc::channel();
    let drivers = Drivers::new()?;
    let run = move || {
        if let Err(error) = clock::raise_priority(priority) {
            tracing::debug!(%error, "carriers are polled without real-time priority");
        }
        let mut polling = Polling { drivers, members: Vec::new(), schedule: Schedule::default() };
        while let Some(pass) = polling.turn(&incoming) {
            if pass.asked || pass.is_news() {
                if results.send(pass).is_err() {
                    return;
                }
                bell.notify_one();
            }
        }
    };
    beside::spawn("ipmp-poll", run)?;
    Ok(Thread { orders, passes })
}

#[derive(Debug)]
struct Polling {
    drivers: Drivers,
    members: Vec<Polled>,
    schedule: Schedule,
}

impl Polling {
    /// Waits for an order, or until it is time, and polls then; none when nobody gives orders any more.
    fn turn(&mut self, orders: &mpsc::Receiver<Order>) -> Option<Pass> {
        let mut asked = false;
        loop {
            let now_ns = clock::now().0;
            let wait = if self.members.is_empty() {
                Duration::MAX
            } else {
                Duration::from_nanos(self.schedule.next_ns.saturating_sub(now_ns))
            };
            match orders.recv_timeout(if asked { Duration::ZERO } else { wait }) {
                Ok(Order::Add(member)) => {
                    self.remove(member.ifindex);
                    self.members.push(member);
                }
                Ok(Order::Remove(ifindex)) => self.remove(ifindex),
                Ok(Order::Look) => {
                    asked = true;
                    self.schedule.link_event(now_ns);
                }
                Err(RecvTimeoutError::Timeout) => return Some(self.pass(asked)),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn remove(&mut self, ifindex: u32) {
        self.members.retain(|member| member.ifindex != ifindex);
    }

    fn pass(&mut self, asked: bool) -> Pass {
        let mut pass = Pass { changes: Vec::new(), counted: false, asked: false };
        for member in &mut self.members {
            match &mut member.source {
                Source::Counter { counter, known } => {
                    // One that is gone is netlink's to tell.
                    if let Ok(Some(counts)) = counter.other_than(*known) {
                        *known = counts;
                        pass.counted = true;
                    }
                }
                Source::Driver { name, up } => {
                    pass.asked = asked;
                    match self.drivers.link_up(name) {
                        Ok(now_up) if now_up != *up => {
                            *up = now_up;
                            let at_ns = clock::now().0;
                            let change = CarrierChange { ifindex: member.ifindex, up: now_up, at_ns };
                            pass.changes.push((member.order, change));
                        }
                        Ok(_) => {}
                        // It was renamed, or it is gone and netlink is about to say so.
                        Err(_) => rename(member.ifindex, name),
                    }
                }
            }
        }
        let now_ns = clock::now().0;
        if pass.is_news() {
            self.schedule.link_event(now_ns);
        }
        self.schedule.polled(now_ns, self.members.len());
        pass
    }
}

fn rename(ifindex: u32, name: &mut String) {
    let mut buffer = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the function demands.
    let found = unsafe { libc::if_indextoname(ifindex, buffer.as_mut_ptr().cast()) };
    if !found.is_null()
        && let Some(found) = CStr::from_bytes_until_nul(&buffer).ok().and_then(|name| name.to_str().ok())
    {
        found.clone_into(name);
    }
}
