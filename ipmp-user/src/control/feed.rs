//! Finished probes, from the loop to those who watch them (`ipmpstat -p`).
//!
//! As long as nobody watches, it costs the loop one load of an atomic; else one push for each probe. The two sides share no
//! lock: the loop's end is a bounded queue, and what finds it full is lost.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

/// Probes that may wait for the control thread, and for each watcher: a second of a hundred interfaces at an FDT of 10 ms.
const QUEUE: usize = 1 << 16;

/// A probe that was answered, or judged lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedProbe {
    /// When the daemon decided to send it, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// Through which interface.
    pub interface: String,
    /// From where.
    pub source: IpAddr,
    /// Whereto.
    pub target: IpAddr,
    /// Whether it was answered; else its answer is overdue by the longest time that the daemon waits for one.
    pub answered: bool,
    /// Round trip by the kernel's stamps.
    pub rtt_kernel_ns: Option<u64>,
    /// From the decision to the daemon's taking note of the answer. None where answers come by a packet socket, or there
    /// are hundreds of targets: then they wait until the daemon looks.
    pub rtt_daemon_ns: Option<u64>,
}

/// The loop's end.
#[derive(Debug)]
pub struct Outlet {
    watchers: Arc<AtomicUsize>,
    queue: mpsc::Sender<FinishedProbe>,
}

impl Outlet {
    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Hands a probe over; never blocks.
    pub fn put(&self, probe: FinishedProbe) {
        // Who watches is not worth waiting for.
        let _ = self.queue.try_send(probe);
    }
}

/// The control thread's end.
#[derive(Debug)]
pub(super) struct Feed {
    watchers: Arc<AtomicUsize>,
    told: broadcast::Sender<Arc<FinishedProbe>>,
}

/// Both ends, and what connects them.
pub(super) fn feed() -> (Outlet, Feed, mpsc::Receiver<FinishedProbe>) {
    let watchers = Arc::new(AtomicUsize::new(0));
    let (queue, waiting) = mpsc::channel(QUEUE);
    let outlet = Outlet { watchers: Arc::clone(&watchers), queue };
    (outlet, Feed { watchers, told: broadcast::channel(QUEUE).0 }, waiting)
}

impl Feed {
    /// Hands on what the loop hands over, until it ends.
    pub(super) async fn pump(&self, mut waiting: mpsc::Receiver<FinishedProbe>) {
        while let Some(probe) = waiting.recv().await {
            // Nobody may be there any more.
            let _ = self.told.send(Arc::new(probe));
        }
        std::future::pending::<()>().await;
    }

    /// A watcher, for as long as it is kept.
    pub(super) fn watch(&self) -> Watcher {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher { watchers: Arc::clone(&self.watchers), told: self.told.subscribe() }
    }
}

/// Hears of every probe that is finished from now on.
#[derive(Debug)]
pub(super) struct Watcher {
    watchers: Arc<AtomicUsize>,
    told: broadcast::Receiver<Arc<FinishedProbe>>,
}

impl Watcher {
    /// The next one, or how many were lost before it; none when there will be no more.
    pub(super) async fn next(&mut self) -> Option<Result<Arc<FinishedProbe>, u64>> {
        match self.told.recv().await {
            Ok(probe) => Some(Ok(probe)),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(Err(lost)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
