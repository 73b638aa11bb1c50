//! All maps, and the only access to their values. Names and layouts are `ipmp_common::abi`'s.
//!
//! A value is shared with other CPUs and with user space, and every field is written with a single volatile
//! store, so that nobody sees half of it. Rust has no read-modify-write atomics for this target; where a
//! decision depends on it, the stamp protocol does without. Sums have one writer at a time: a session's
//! probes leave by one sender and its replies come by one receive queue, an interface's counters are per
//! CPU, and a carrier changes under its device's own lock.

use core::ptr;

use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, PerCpuHashMap, RingBuf},
    macros::btf_map,
};
use ipmp_common::abi::{
    Carrier, CarrierKey, Counters, EVENT_RING_BYTES, Evidence, MAX_INTERFACES, MAX_SESSIONS, RingEvent,
    STAMPS, Session, Stamp,
};

#[btf_map]
#[allow(non_upper_case_globals, reason = "the map's name in the kernel")]
static ipmp_session: Array<Session, { MAX_SESSIONS as usize }> = Array::new();

#[btf_map]
#[allow(non_upper_case_globals, reason = "the map's name in the kernel")]
static ipmp_evidence: Array<Evidence, { MAX_SESSIONS as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map]
#[allow(non_upper_case_globals, reason = "the map's name in the kernel")]
static ipmp_counter: PerCpuHashMap<u32, Counters, { MAX_INTERFACES as usize }> = PerCpuHashMap::new();

#[btf_map]
#[allow(non_upper_case_globals, reason = "the map's name in the kernel")]
static ipmp_carrier: HashMap<CarrierKey, Carrier, { MAX_INTERFACES as usize }> = HashMap::new();

#[btf_map]
#[allow(non_upper_case_globals, reason = "the map's name in the kernel")]
static ipmp_events: RingBuf<RingEvent, { EVENT_RING_BYTES as usize }> = RingBuf::new();

/// An offset that user space could not find in the kernel's BTF.
pub(crate) const UNKNOWN: u32 = u32::MAX;

#[unsafe(no_mangle)]
pub(crate) static NET_DEVICE_IFINDEX: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
pub(crate) static NET_DEVICE_NET: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
pub(crate) static NET_DEVICE_STATE: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
pub(crate) static NET_COOKIE: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
pub(crate) static NET_INODE: Global<u32> = Global::new(UNKNOWN);

/// Adds one to a sum.
///
/// # Safety
///
/// `sum` points to a live, aligned map value.
#[inline(always)]
pub(crate) unsafe fn increment(sum: *mut u64) {
    // SAFETY: by this function's own contract.
    unsafe { ptr::write_volatile(sum, ptr::read_volatile(sum) + 1) }
}

/// What is armed in slot `number`, if there is such a slot.
#[inline(always)]
pub(crate) fn session(number: u32) -> Option<&'static Session> {
    ipmp_session.get(number)
}

/// The counters of one interface on this CPU. Programs of one interface do not interrupt one another.
#[derive(Clone, Copy)]
pub(crate) struct Count(*mut Counters);

impl Count {
    /// `None`: user space did not arm this interface.
    #[inline(always)]
    pub(crate) fn of(ifindex: u32) -> Option<Self> {
        ipmp_counter.get_ptr_mut(ifindex).map(Self)
    }

    #[inline(always)]
    pub(crate) fn add(self, field: fn(&mut Counters) -> &mut u64) {
        // SAFETY: the pointer is a live map value of this CPU, which only this program writes now.
        unsafe { *field(&mut *self.0) += 1 }
    }
}

/// The evidence of one session.
#[derive(Clone, Copy)]
pub(crate) struct Record(*mut Evidence);

impl Record {
    /// The record of slot `number` if it was prepared for the session that holds `token`. User space clears
    /// a record, and puts the new token into it, before it arms the session.
    #[inline(always)]
    pub(crate) fn of(number: u32, token: u64) -> Option<Self> {
        let record = ipmp_evidence.get_ptr_mut(number)?;
        // SAFETY: a live map value; aligned, as array values are.
        let prepared = unsafe { ptr::read_volatile(&raw const (*record).token) };
        (prepared == token).then_some(Self(record))
    }

    /// The slot of probe `seq`.
    #[inline(always)]
    pub(crate) fn slot(self, seq: u64) -> Slot {
        // SAFETY: the index is below the array's length.
        Slot(unsafe { (&raw mut (*self.0).stamps).cast::<Stamp>().add(seq as usize % STAMPS) })
    }

    #[inline(always)]
    pub(crate) fn add_sent(self) {
        // SAFETY: a live, aligned map value.
        unsafe { increment(&raw mut (*self.0).sent) }
    }

    #[inline(always)]
    pub(crate) fn add_reply(self, now: u64) {
        // SAFETY: a live, aligned map value.
        unsafe {
            increment(&raw mut (*self.0).replies);
            ptr::write_volatile(&raw mut (*self.0).last_received_ns, now);
        }
    }
}

/// One stamp in a record; `ipmp_common::stamp` has the protocol.
#[derive(Clone, Copy)]
pub(crate) struct Slot(*mut Stamp);

impl Slot {
    #[inline(always)]
    pub(crate) fn read(self) -> Stamp {
        // SAFETY: a live, aligned map value; each field is one load.
        unsafe {
            Stamp {
                seq: ptr::read_volatile(&raw const (*self.0).seq),
                sent_ns: ptr::read_volatile(&raw const (*self.0).sent_ns),
                received_ns: ptr::read_volatile(&raw const (*self.0).received_ns),
            }
        }
    }

    /// Protocol step 1, first half: no reader believes the slot from here on.
    #[inline(always)]
    pub(crate) fn invalidate(self) {
        // SAFETY: a live, aligned map value; one store.
        unsafe { ptr::write_volatile(&raw mut (*self.0).seq, 0) }
    }

    /// Protocol step 1, second half.
    #[inline(always)]
    pub(crate) fn publish(self, stamp: Stamp) {
        // SAFETY: a live, aligned map value; volatile stores stay in program order.
        unsafe {
            ptr::write_volatile(&raw mut (*self.0).received_ns, stamp.received_ns);
            ptr::write_volatile(&raw mut (*self.0).sent_ns, stamp.sent_ns);
            ptr::write_volatile(&raw mut (*self.0).seq, stamp.seq);
        }
    }

    /// Protocol step 2.
    #[inline(always)]
    pub(crate) fn answer(self, now: u64) {
        // SAFETY: a live, aligned map value; one store.
        unsafe { ptr::write_volatile(&raw mut (*self.0).received_ns, now) }
    }
}

/// The carrier history of an interface, if user space armed it.
#[inline(always)]
pub(crate) fn carrier(key: &CarrierKey) -> Option<*mut Carrier> {
    ipmp_carrier.get_ptr_mut(key)
}

/// Hands `event` to user space; `false`: the ring is full.
#[inline(always)]
pub(crate) fn report(event: &RingEvent) -> bool {
    ipmp_events.output(event, 0).is_ok()
}
