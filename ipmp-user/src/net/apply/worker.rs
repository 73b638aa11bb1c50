//! The applier's own thread: the daemon's loop never waits for the kernel's RTNL lock.

use std::{path::PathBuf, thread};

use ipmp_common::engine::ids::GroupId;
use tokio::sync::mpsc;

use super::{Applier, Job, Outcome, Step, Taken};
use crate::net::{NetError, plan::Wanted};

/// Jobs that may wait. Each group has one placement in flight and a newer one replaces it in the engine, so this is
/// room for several groups failing at once.
const JOBS: usize = 256;

/// What the thread is asked.
#[derive(Debug)]
enum Order {
    Apply(Box<Job>),
    Take(Box<Step>),
    Foresee(GroupId, Vec<Wanted>),
}

/// The daemon's end.
#[derive(Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    /// What came of the jobs, in their order; a second one for a job whose result could not be written down.
    pub outcomes: mpsc::Receiver<Outcome>,
    /// What came of the steps, in their order.
    pub taken: mpsc::Receiver<Taken>,
    thread: thread::JoinHandle<()>,
    /// By which notifications name its changes.
    pub port: u32,
}

impl Handle {
    /// Hands a job over without waiting; gives it back if the queue is full or the thread has ended.
    pub fn submit(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        match self.orders.try_reserve() {
            Ok(place) => {
                place.send(Order::Apply(job));
                Ok(())
            }
            Err(_) => Err(job),
        }
    }

    /// Hands a step over without waiting, behind all that waits already; gives it back if the queue is full or the
    /// thread has ended.
    pub fn take(&self, step: Box<Step>) -> Result<(), Box<Step>> {
        match self.orders.try_reserve() {
            Ok(place) => {
                place.send(Order::Take(step));
                Ok(())
            }
            Err(_) => Err(step),
        }
    }

    /// Tells what a group may be ordered next, which speeds that up. Lost where more urgent things wait.
    pub fn foresee(&self, group: GroupId, wanted: Vec<Wanted>) {
        let _ = self.orders.try_send(Order::Foresee(group, wanted));
    }

    /// Ends the thread after the jobs that wait.
    pub fn stop(self) {
        drop(self.orders);
        drop(self.outcomes);
        let _ = self.thread.join();
    }
}

/// Starts the thread, in the caller's network namespace. `on_start` runs in it first (real-time priority, memory
/// locking); the result says whether the applier could be opened.
pub fn spawn(
    runtime_dir: impl Into<PathBuf>,
    on_start: impl FnOnce() + Send + 'static,
) -> Result<Handle, NetError> {
    let mut applier = Applier::open(runtime_dir)?;
    let port = applier.socket.port();
    let (orders, mut incoming) = mpsc::channel::<Order>(JOBS);
    let (results, outcomes) = mpsc::channel(JOBS);
    let (steps, taken) = mpsc::channel(JOBS);
    let run = move || {
        on_start();
        while let Some(order) = incoming.blocking_recv() {
            match order {
                Order::Apply(job) => {
                    let mut sent = results.blocking_send(applier.carry_out(&job));
                    if let Some(failure) = applier.save() {
                        sent = results.blocking_send(Outcome::nothing(&job, vec![failure]));
                    }
                    // What may be ordered next is told in answer to the outcome.
                    applier.look_ahead();
                    if sent.is_err() {
                        return;
                    }
                }
                Order::Take(step) => {
                    let sent = steps.blocking_send(applier.take(&step));
                    let failure = applier.save();
                    applier.pending.extend(failure);
                    applier.look_ahead();
                    applier.make_ready(|| !incoming.is_empty());
                    if sent.is_err() {
                        return;
                    }
                }
                Order::Foresee(group, wanted) => {
                    applier.foresee(group, wanted);
                    applier.make_ready(|| !incoming.is_empty());
                }
            }
        }
    };
    let thread = thread::Builder::new()
        .name("ipmp-apply".to_owned())
        .spawn(run)
        .map_err(|e| NetError::io("starting the thread that places addresses", e))?;
    Ok(Handle { orders, outcomes, taken, thread, port })
}
