//! Keys and values of the eBPF maps, as both halves see them.
//!
//! Every type is `repr(C)` without implicit padding; the sizes are asserted below. Whoever changes one
//! raises [`ABI_VERSION`]: pins of another version live in another directory and are never adopted.
//! All times are `CLOCK_MONOTONIC` nanoseconds, as `bpf_ktime_get_ns` reads them; zero means "never".
//! Addresses are 16 bytes in network order, IPv4 as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).

/// Version of everything in this module; names the sub-directory that holds the pins.
pub const ABI_VERSION: u32 = 1;

/// Probe sessions the maps hold. A session is one target probed through one interface. The evidence map
/// costs 1.6 kB a session, so this bounds locked memory at 6.5 MB.
pub const MAX_SESSIONS: u32 = 4096;

/// Interfaces that can be members at once. Solaris never had more than 1,000 logical interfaces in use.
pub const MAX_INTERFACES: u32 = 1024;

/// Probes of a session whose stamps are kept. in.mpathd keeps 52; a power of two spares the division.
pub const STAMPS: usize = 64;

/// Bytes of the event ring buffer; a multiple of the page size, as the kernel demands.
pub const EVENT_RING_BYTES: u32 = 256 * 1024;

/// Names of the maps, also the names of their pins. At most 15 characters (`BPF_OBJ_NAME_LEN` - 1).
pub mod map {
    /// `ARRAY`: [`Session`](super::Session) by session number; written by user space only.
    pub const SESSION: &str = "ipmp_session";
    /// `ARRAY`, mmapable: [`Evidence`](super::Evidence) by session number; written by the programs.
    pub const EVIDENCE: &str = "ipmp_evidence";
    /// `PERCPU_HASH`: [`Counters`](super::Counters) by ifindex; armed by user space.
    pub const COUNTER: &str = "ipmp_counter";
    /// `HASH`: [`Carrier`](super::Carrier) by [`CarrierKey`](super::CarrierKey); armed by user space.
    pub const CARRIER: &str = "ipmp_carrier";
    /// `RINGBUF` of [`RingEvent`](super::RingEvent).
    pub const EVENTS: &str = "ipmp_events";
    /// All of them.
    pub const ALL: [&str; 5] = [SESSION, EVIDENCE, COUNTER, CARRIER, EVENTS];
}

/// Names of the programs, as in the object file and as pinned.
pub mod program {
    /// XDP: stamps replies.
    pub const XDP: &str = "ipmp_xdp";
    /// The same for kernels that know no multi-buffer XDP (before 5.18), hence no jumbo frames there.
    pub const XDP_LINEAR: &str = "ipmp_xdp_linear";
    /// tc ingress: the same where XDP cannot be had.
    pub const INGRESS: &str = "ipmp_ingress";
    /// tc egress: stamps our probes as they leave.
    pub const EGRESS: &str = "ipmp_egress";
    /// fentry on `netif_carrier_on`.
    pub const FENTRY_ON: &str = "ipmp_fentry_on";
    /// fentry on `netif_carrier_off`.
    pub const FENTRY_OFF: &str = "ipmp_fentry_off";
    /// kprobe on `netif_carrier_on`.
    pub const KPROBE_ON: &str = "ipmp_kprobe_on";
    /// kprobe on `netif_carrier_off`.
    pub const KPROBE_OFF: &str = "ipmp_kprobe_off";
    /// All of them.
    pub const ALL: [&str; 8] =
        [XDP, XDP_LINEAR, INGRESS, EGRESS, FENTRY_ON, FENTRY_OFF, KPROBE_ON, KPROBE_OFF];
}

/// Names of the `.rodata` variables that user space sets before loading: byte offsets in the running
/// kernel's structures, read from its BTF (there is no CO-RE for Rust).
pub mod rodata {
    /// Offset of `ifindex` in `struct net_device`.
    pub const NET_DEVICE_IFINDEX: &str = "NET_DEVICE_IFINDEX";
    /// Offset of `nd_net.net` in `struct net_device`.
    pub const NET_DEVICE_NET: &str = "NET_DEVICE_NET";
    /// Offset of `state` in `struct net_device` (bit `__LINK_STATE_NOCARRIER`).
    pub const NET_DEVICE_STATE: &str = "NET_DEVICE_STATE";
    /// Offset of `net_cookie` in `struct net`; unknown where namespaces go by their inode number.
    pub const NET_COOKIE: &str = "NET_COOKIE";
    /// Offset of `ns.inum` in `struct net`.
    pub const NET_INODE: &str = "NET_INODE";
}

/// What the engine armed for one session. `token == 0` means: not armed, match nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Random, never zero; a reply must carry it.
    pub token: u64,
    /// A reply that comes longer than this after its probe left is counted as late. It is stamped all the same.
    pub late_after_ns: u64,
    /// The interface that probes, and the only one on which a reply counts.
    pub ifindex: u32,
    /// ICMP identifier, host order.
    pub icmp_id: u16,
    /// 4 or 6.
    pub family: u8,
    /// Bits of `SESSION_*`.
    pub flags: u8,
    /// The target, which must be the reply's source.
    pub target: [u8; 16],
    /// Our test address, which must be the reply's destination.
    pub source: [u8; 16],
}

/// [`Session::flags`]: one accepted reply in [`NOTIFY_EVERY`] is also reported through the ring buffer.
pub const SESSION_NOTIFY: u8 = 1;
/// [`Session::flags`]: every accepted reply is reported so, for somebody who watches each probe.
pub const SESSION_NOTIFY_EACH: u8 = 2;

/// Replies to probes whose sequence number leaves the remainder 1 wake the daemon, so that its own round-trip
/// time is sampled. The others wait in the evidence map: a wake-up costs more than a probe.
pub const NOTIFY_EVERY: u64 = 16;

/// What happened to one probe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The probe's sequence number, from 1.
    pub seq: u64,
    /// When it passed the egress program; zero if it never did.
    pub sent_ns: u64,
    /// When the first valid reply arrived; zero if none did.
    pub received_ns: u64,
}

/// What the kernel saw of one session. Probe `seq` is in `stamps[seq % STAMPS]` if that stamp says so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The token of the session that wrote here; stamps under another token are history.
    pub token: u64,
    /// Valid replies so far.
    pub replies: u64,
    /// Probes that left so far.
    pub sent: u64,
    /// Arrival of the newest valid reply.
    pub last_received_ns: u64,
    /// The newest probes.
    pub stamps: [Stamp; STAMPS],
}

/// Per-interface, per-CPU counters. Everything that is dropped from consideration is counted with its reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames the ingress program looked at.
    pub seen: u64,
    /// Valid first replies to our probes.
    pub ours: u64,
    /// Echo replies that are not ours: other identifier, payload, token, target or interface.
    pub foreign_id: u64,
    /// Echo replies too short or inconsistent to be judged.
    pub malformed: u64,
    /// Valid replies to a probe that was answered before.
    pub duplicate: u64,
    /// Valid replies after `late_after_ns`, or after their stamp was overwritten.
    pub late: u64,
    /// Events lost because the ring buffer was full. The maps still hold the facts.
    pub ring_full: u64,
    /// Our probes that left through this interface.
    pub sent: u64,
}

/// Key of the carrier map. fentry sees all network namespaces, hence the cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarrierKey {
    /// `SO_NETNS_COOKIE` of the namespace; before 5.14, which brought it, the inode number of its file in
    /// `/proc/PID/ns`, which no other namespace has as long as this one lives.
    pub netns_cookie: u64,
    /// The interface.
    pub ifindex: u32,
    /// Explicit padding, zero.
    pub reserved: u32,
}

/// Carrier history of one interface, written by the fentry or kprobe programs, or by the poller.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carrier {
    /// 1 = up, 0 = down.
    pub up: u32,
    /// Who wrote last: `CARRIER_BY_*`.
    pub source: u32,
    /// Carrier losses since armed.
    pub downs: u64,
    /// Carrier gains since armed.
    pub ups: u64,
    /// The newest loss.
    pub last_down_ns: u64,
    /// The newest gain.
    pub last_up_ns: u64,
}

/// [`Carrier::source`]: a tracing program.
pub const CARRIER_BY_TRACING: u32 = 1;
/// [`Carrier::source`]: the daemon's poll.
pub const CARRIER_BY_POLL: u32 = 2;
/// [`Carrier::source`]: an `RTM_NEWLINK` message.
pub const CARRIER_BY_NETLINK: u32 = 3;

/// A record of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingEvent {
    /// `EVENT_*`.
    pub kind: u32,
    /// Carrier: the interface. Reply: the session.
    pub subject: u32,
    /// When.
    pub at_ns: u64,
    /// Carrier: the namespace cookie. Reply: the sequence number.
    pub detail: u64,
}

/// [`RingEvent::kind`]: carrier lost.
pub const EVENT_CARRIER_DOWN: u32 = 1;
/// [`RingEvent::kind`]: carrier gained.
pub const EVENT_CARRIER_UP: u32 = 2;
/// [`RingEvent::kind`]: a valid reply to a session with [`SESSION_NOTIFY`] or [`SESSION_NOTIFY_EACH`].
pub const EVENT_REPLY: u32 = 3;

const _: () = {
    assert!(size_of::<Session>() == 56);
    assert!(size_of::<Stamp>() == 24);
    assert!(size_of::<Evidence>() == 32 + 24 * STAMPS);
    assert!(size_of::<Counters>() == 64);
    assert!(size_of::<CarrierKey>() == 16);
    assert!(size_of::<Carrier>() == 40);
    assert!(size_of::<RingEvent>() == 24);
    assert!(STAMPS.is_power_of_two());
};
