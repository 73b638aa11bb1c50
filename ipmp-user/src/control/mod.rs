//! The control socket: `ipmp` asks, the daemon answers.
//!
//! ```text
//!  client ──┐  JSON lines          ┌─ Status ─▶ one shared answer, at most one question to the loop in 20 ms
//!  client ──┼─▶ control thread ────┼─ Offline, Online ─▶ bounded queue ─▶ the daemon's loop ─▶ oneshot answer
//!  client ──┘  own tokio runtime   ├─ Events ─▶ the journal, without the loop
//!                                   └─ Probes ─▶ what the loop puts into [`feed`] while somebody watches
//! ```
//!
//! The server has a thread and a runtime of its own, so that no client can delay the loop: the loop only sees
//! [`ControlHandle::requests`], at most [`LOOP_QUEUE`] at once. Everything else is bounded in `server`.
//!
//! There is no authentication beyond the file's mode and `SO_PEERCRED`: whoever may open the socket may read,
//! only root may change.

pub mod client;
pub mod feed;
pub mod protocol;
mod seats;
mod server;
mod socket;
pub mod status;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub(crate) use socket::check_group;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use ipmp_common::engine::{ids::MemberId, snapshot::Snapshot};
use tokio::sync::{mpsc, oneshot};

use self::{protocol::Refusal, status::EvidenceInfo};
use crate::journal::Journal;

/// Requests that may wait for the loop. Status asks at most once at a time; the rest are an administrator's.
pub const LOOP_QUEUE: usize = 16;

/// A question to the daemon's loop.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub kind: RequestKind,
    /// Where the answer goes; the client may have gone meanwhile, which is no error.
    pub reply: oneshot::Sender<Response>,
}

/// What the loop can be asked. Names, not numbers: only the loop knows the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Everything.
    Status,
    /// Move an interface's addresses away and stop using it.
    Offline {
        /// The interface.
        interface: String,
        /// Even if it is the last usable one.
        force: bool,
    },
    /// Use an interface again.
    Online {
        /// The interface.
        interface: String,
    },
    /// Read the configuration file again.
    Reload,
    /// Give interfaces up.
    Detach(protocol::Detach),
    /// Take an interface up.
    Attach(protocol::Attach),
}

/// The loop's answer.
#[derive(Debug)]
pub enum Response {
    /// To [`RequestKind::Status`]. The document is made of it on the control thread.
    Status {
        /// The engine's picture.
        snapshot: Snapshot,
        /// How each member's evidence comes in; absent members are left out.
        evidence: BTreeMap<MemberId, EvidenceInfo>,
    },
    /// Done; the text is for people.
    Done(String),
    /// Not done.
    Refused(Refusal),
}

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another daemon serves this runtime directory.
    #[error("another ipmpd runs: {}: stop it, or give this one its own --runtime-dir", .0.display())]
    AlreadyRunning(PathBuf),
    /// The group of `control-group` does not exist.
    #[error(
        "control-group {0:?}: there is no such group on this system: create it, or correct [daemon] control-group"
    )]
    NoSuchGroup(String),
    /// The system refused.
    #[error("cannot {what}: {}: {source}: the runtime directory must be writable and local", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
}

/// The running server. Dropping it ends the server, flushes the journal and removes the socket.
#[derive(Debug)]
pub struct ControlHandle {
    /// For the daemon's loop. Gives `None` only if the control thread died; the daemon then goes on without it.
    pub requests: mpsc::Receiver<Request>,
    /// Where the loop puts finished probes.
    pub probes: feed::Outlet,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _socket: socket::Bound,
}

impl Drop for ControlHandle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// Keeps daemons away from a runtime directory while it lives.
#[derive(Debug)]
pub struct Lock {
    _held: std::fs::File,
}

/// Locks a runtime directory for work that no daemon may see half done.
///
/// # Errors
/// When a daemon serves it.
pub fn lock(runtime_dir: &Path) -> Result<Lock, ControlError> {
    socket::lock(runtime_dir).map(|held| Lock { _held: held })
}

/// Takes `runtime_dir/ipmpd.sock` and starts the control thread; also the journal's pump runs there. Call it
/// before the caller raises its own priority: threads inherit it (sched(7)), and clients deserve none.
///
/// # Errors
/// When another daemon serves this directory, or the socket cannot be made.
pub fn spawn(
    runtime_dir: &Path,
    group: Option<&str>,
    journal: Arc<Journal>,
) -> Result<ControlHandle, ControlError> {
    let (bound, listener) = socket::bind(runtime_dir, group)?;
    let failed = |what| {
        let path = runtime_dir.to_owned();
        move |source| ControlError::Io { what, path, source }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(failed("start the control runtime"))?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::UnixListener::from_std(listener).map_err(failed("listen on the control socket"))?
    };
    let (questions, requests) = mpsc::channel(LOOP_QUEUE);
    let (probes, feed, finished) = feed::feed();
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("ipmpd-control".to_owned())
        .spawn(move || {
            let shared = server::Shared::new(questions, Arc::clone(&journal), feed);
            runtime.block_on(server::run(listener, shared, finished, stopped));
            drop(runtime);
            journal.flush();
        })
        .map_err(failed("start the control thread"))?;
    Ok(ControlHandle { requests, probes, stop: Some(stop), thread: Some(thread), _socket: bound })
}
