//! Holds a thread of an unmodified process at a system call, so that a test can do something in between: see
//! [`crate::tracer`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use nix::unistd::Pid;

use crate::{
    tracer::{Call, Next, Plot, Traced, Tracer},
    wait,
};

/// Between two looks at whether it may go on.
const LOOK: Duration = Duration::from_millis(1);

/// A thread that stands still at its next netlink message of a type. Dropped, it lets it go on.
#[derive(Debug)]
pub struct Held {
    state: Arc<State>,
    // Behind the state: the tracing thread ends once the call may be made.
    _tracer: Tracer<()>,
}

#[derive(Debug, Default)]
struct State {
    stands: AtomicBool,
    may_go: AtomicBool,
}

impl Held {
    /// Prepares `process`'s thread of this name: it stands still before it sends a message of type `kind` (`RTM_…`).
    ///
    /// # Errors
    /// When there is no such thread, or it may not be traced.
    pub fn at_netlink(process: Pid, thread_name: &str, kind: u16) -> Result<Self> {
        let state = Arc::new(State::default());
        let hold = Hold { kind, state: Arc::clone(&state) };
        Ok(Self { state, _tracer: Tracer::start(process, thread_name, hold)? })
    }

    /// The same when a `bpf(2)` of this command has returned.
    ///
    /// # Errors
    /// When there is no such thread, or it may not be traced.
    pub fn after_bpf(process: Pid, thread_name: &str, command: u64) -> Result<Self> {
        let state = Arc::new(State::default());
        let hold = HoldAfter { command, state: Arc::clone(&state) };
        Ok(Self { state, _tracer: Tracer::start(process, thread_name, hold)? })
    }

    /// Waits until it stands there.
    ///
    /// # Errors
    /// When it does not come there.
    pub fn wait(&self) -> Result<()> {
        wait::until("the thread comes to its call", || Ok(self.state.stands.load(Ordering::Relaxed)))
    }
}

impl State {
    fn stand(&self) {
        self.stands.store(true, Ordering::Relaxed);
        while !self.may_go.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.may_go.store(true, Ordering::Relaxed);
    }
}

struct Hold {
    kind: u16,
    state: Arc<State>,
}

impl Plot for Hold {
    type Outcome = ();

    fn before(&mut self, traced: &Traced, call: &Call) -> Result<Next> {
        let messages = traced.netlink_messages(call).unwrap_or_default();
        if messages.iter().all(|message| message.kind != self.kind) {
            return Ok(Next::Call);
        }
        self.state.stand();
        Ok(Next::End)
    }

    fn after(&mut self, _: &Traced) -> Result<Next> {
        Ok(Next::End)
    }

    fn outcome(self) {}
}

struct HoldAfter {
    command: u64,
    state: Arc<State>,
}

impl Plot for HoldAfter {
    type Outcome = ();

    fn before(&mut self, _: &Traced, call: &Call) -> Result<Next> {
        let wanted = call.number == libc::SYS_bpf && call.arguments[0] == self.command;
        Ok(if wanted { Next::Return } else { Next::Call })
    }

    fn after(&mut self, _: &Traced) -> Result<Next> {
        self.state.stand();
        Ok(Next::End)
    }

    fn outcome(self) {}
}
