//! What was seen of the probes: the kernel's evidence map in our memory, and a table of our own for what
//! only user space sees (replies on a packet socket, departures without an egress program).

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::{Ordering, fence},
};

use ipmp_common::{
    abi::{Evidence, MAX_SESSIONS, STAMPS, Session, Stamp},
    stamp::{self, Step},
    wire::{Kind, Probe},
};

/// Sums of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Probes that left.
    pub sent: u64,
    /// Valid first replies.
    pub replies: u64,
    /// Arrival of the newest, `CLOCK_MONOTONIC` nanoseconds; zero if there was none.
    pub last_received_ns: u64,
}

/// The evidence map, mapped read-only: reading it takes no system call.
pub(super) struct Mapped {
    base: NonNull<Evidence>,
}

// SAFETY: the mapping belongs to no thread; all access is by volatile reads.
unsafe impl Send for Mapped {}

impl Mapped {
    const BYTES: usize = MAX_SESSIONS as usize * size_of::<Evidence>();

    pub(super) fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice; the map is at least this long.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                Self::BYTES,
                libc::PROT_READ,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { base })
    }

    fn record(&self, session: u32) -> Option<*const Evidence> {
        // SAFETY: the index is within the mapping.
        (session < MAX_SESSIONS).then(|| unsafe { self.base.as_ptr().cast_const().add(session as usize) })
    }

    /// The stamp of probe `seq`, by the reader's rules of `ipmp_common::stamp`.
    pub(super) fn stamp(&self, session: u32, seq: u64) -> Option<Stamp> {
        let record = self.record(session)?;
        // SAFETY: the index is below the array's length.
        let slot = unsafe {
            (&raw const (*record).stamps)
                .cast::<Stamp>()
                .add(seq as usize % STAMPS)
        };
        // SAFETY: mapped memory that the kernel writes in whole words; aligned, as array values are.
        let read = |field: *const u64| unsafe { ptr::read_volatile(field) };
        // SAFETY: field addresses inside the mapping, as above.
        let (at_seq, at_sent, at_received) = unsafe {
            (
                &raw const (*slot).seq,
                &raw const (*slot).sent_ns,
                &raw const (*slot).received_ns,
            )
        };
        if read(at_seq) != seq {
            return None;
        }
        fence(Ordering::Acquire);
        let mut found = Stamp {
            seq,
            sent_ns: read(at_sent),
            received_ns: read(at_received),
        };
        fence(Ordering::Acquire);
        if read(at_seq) != seq {
            return None;
        }
        if !stamp::answered(&found) {
            found.received_ns = 0;
        }
        Some(found)
    }

    pub(super) fn totals(&self, session: u32) -> Totals {
        let Some(record) = self.record(session) else {
            return Totals::default();
        };
        // SAFETY: as in `stamp`.
        unsafe {
            Totals {
                sent: ptr::read_volatile(&raw const (*record).sent),
                replies: ptr::read_volatile(&raw const (*record).replies),
                last_received_ns: ptr::read_volatile(&raw const (*record).last_received_ns),
            }
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: this very mapping, which nobody else has a pointer into.
        unsafe { libc::munmap(self.base.as_ptr().cast(), Self::BYTES) };
    }
}

struct Entry {
    session: Session,
    totals: Totals,
    stamps: Box<[Stamp; STAMPS]>,
}

/// The same evidence, as far as user space sees it itself.
#[derive(Default)]
pub(super) struct Table {
    entries: BTreeMap<u32, Entry>,
}

impl Table {
    pub(super) fn arm(&mut self, number: u32, session: Session) {
        let entry = Entry {
            session,
            totals: Totals::default(),
            stamps: Box::new([Stamp::default(); STAMPS]),
        };
        self.entries.insert(number, entry);
    }

    pub(super) fn disarm(&mut self, number: u32) {
        self.entries.remove(&number);
    }

    pub(super) fn stamp(&self, number: u32, seq: u64) -> Option<Stamp> {
        let entry = self.entries.get(&number)?;
        entry
            .stamps
            .get(slot(seq))
            .copied()
            .filter(|stamp| stamp.seq == seq)
    }

    pub(super) fn totals(&self, number: u32) -> Totals {
        self.entries
            .get(&number)
            .map_or_else(Totals::default, |entry| entry.totals)
    }

    /// A probe left when the send call returned.
    pub(super) fn sent(&mut self, number: u32, seq: u64, at_ns: u64) {
        let Some(entry) = self.entries.get_mut(&number) else {
            return;
        };
        let Some(stamp) = entry.stamps.get_mut(slot(seq)) else {
            return;
        };
        match stamp::on_departure(stamp, seq) {
            Step::First | Step::Take => {
                *stamp = Stamp {
                    seq,
                    sent_ns: at_ns,
                    received_ns: 0,
                };
            }
            // Its reply was drained first.
            Step::Duplicate if stamp.sent_ns == 0 => stamp.sent_ns = at_ns,
            Step::Duplicate | Step::Overwritten => return,
        }
        entry.totals.sent += 1;
    }

    /// A message arrived on a packet socket of interface `ifindex`; whether it was a first valid reply.
    pub(super) fn reply(&mut self, probe: &Probe, ifindex: u32, at_ns: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&probe.session) else {
            return false;
        };
        if !probe.belongs_to(&entry.session, ifindex, Kind::Reply) {
            return false;
        }
        let Some(stamp) = entry.stamps.get_mut(slot(probe.seq)) else {
            return false;
        };
        if stamp.seq > probe.seq || (stamp.seq == probe.seq && stamp.received_ns != 0) {
            return false;
        }
        if stamp.seq < probe.seq {
            stamp.seq = probe.seq;
            stamp.sent_ns = 0;
        }
        stamp.received_ns = at_ns;
        entry.totals.replies += 1;
        entry.totals.last_received_ns = entry.totals.last_received_ns.max(at_ns);
        true
    }
}

fn slot(seq: u64) -> usize {
    seq as usize % STAMPS
}

/// Both views of one probe; the kernel's times are the better ones.
pub(super) fn merge(kernel: Option<Stamp>, own: Option<Stamp>) -> Option<Stamp> {
    match (kernel, own) {
        (Some(kernel), Some(own)) => Some(Stamp {
            seq: kernel.seq,
            sent_ns: if kernel.sent_ns == 0 {
                own.sent_ns
            } else {
                kernel.sent_ns
            },
            received_ns: if kernel.received_ns == 0 {
                own.received_ns
            } else {
                kernel.received_ns
            },
        }),
        (kernel, own) => kernel.or(own),
    }
}

#[cfg(test)]
mod tests;
