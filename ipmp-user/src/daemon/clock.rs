//! The daemon's clock, its alarm and its priority.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use anyhow::Context as _;
use ipmp_common::engine::time::Timestamp;
use nix::{
    sys::{
        mman::{MlockAllFlags, mlockall},
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::{ClockId as Clock, clock_gettime},
};

/// `CLOCK_MONOTONIC`, the clock of the kernel's stamps.
pub fn now() -> Timestamp {
    // clock_gettime(2) fails only for an unknown clock or a bad address.
    let time = clock_gettime(Clock::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    Timestamp(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// A timerfd: it wakes the loop within tens of microseconds, where a timer wheel of milliseconds is a
/// millisecond and a half late.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    set_for: Option<Timestamp>,
}

impl Alarm {
    pub(super) fn new() -> anyhow::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).context("cannot create a timer")?;
        Ok(Self { timer, set_for: None })
    }

    /// Rings at `at`; a time in the past rings at once.
    pub(super) fn set(&mut self, at: Option<Timestamp>) -> anyhow::Result<()> {
        if at == self.set_for {
            return Ok(());
        }
        match at {
            // Zero would disarm it (timerfd_settime(2)).
            Some(at) => {
                let expiration = Expiration::OneShot(Duration::from_nanos(at.0.max(1)).into());
                self.timer.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            }
            None => self.timer.unset(),
        }
        .context("cannot set the timer")?;
        self.set_for = at;
        Ok(())
    }

    /// Forgets an expiry, so that the descriptor is no longer readable.
    pub(super) fn acknowledge(&mut self) {
        self.set_for = None;
        let mut expirations = [0; 8];
        // Non-blocking; nothing to read means that it has not rung, which is as good.
        let _ = nix::unistd::read(&self.timer, &mut expirations);
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_fd().as_raw_fd()
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// Takes the calling thread out of the reach of ordinary load: `SCHED_FIFO` at this priority (0 = leave it).
/// Without `CAP_SYS_NICE` this is refused; the daemon is then sometimes late, never wrong.
pub(crate) fn raise_priority(priority: u8) -> io::Result<()> {
    if priority == 0 {
        return Ok(());
    }
    let parameter = libc::sched_param { sched_priority: i32::from(priority) };
    // The flag keeps children from inheriting it (sched(7)); we start none, libraries might.
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `parameter` lives through the call, which only reads it; 0 names the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps the daemon's pages in memory: a page fault is a stall.
pub(super) fn lock_memory() -> io::Result<()> {
    Ok(mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)?)
}
