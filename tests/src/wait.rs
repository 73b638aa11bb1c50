//! Waiting for a condition, and the one clock.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nix::time::{ClockId, clock_gettime};

use crate::pace;

/// Generous on purpose: a loaded two-core machine must not turn a slow test into a failed one. Stretched like every
/// deadline here where [`pace`] says that the machine is slow.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Whether the program was asked to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every wait of this process, running or to come, fail: for signal handlers, so that guards clean up.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether [`interrupt`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Polls `condition` until it holds.
///
/// # Errors
/// When it does not hold within [`DEADLINE`]; the text names `what`.
pub fn until(what: &str, condition: impl FnMut() -> Result<bool>) -> Result<()> {
    until_within(what, DEADLINE, condition)
}

/// As [`until`], with another deadline.
///
/// # Errors
/// When the condition fails, or does not hold within `deadline`, or the program was asked to end.
pub fn until_within(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    until_despite_interrupt(what, deadline, || {
        if interrupted() {
            bail!("{what}: interrupted");
        }
        condition()
    })
}

/// As [`until_within`], for cleaning up after an interrupt.
///
/// # Errors
/// When the condition fails, or does not hold within `deadline`.
pub fn until_despite_interrupt(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = pace::stretched(deadline);
    let started = Instant::now();
    loop {
        if condition()? {
            return Ok(());
        }
        if started.elapsed() > deadline {
            bail!("{what}: not within {deadline:?}");
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of the daemon's and the kernel's time stamps.
pub fn now_ns() -> u64 {
    // Only an invalid clock id makes clock_gettime(2) fail.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
        .unwrap_or_default()
}
