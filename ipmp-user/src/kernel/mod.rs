//! The kernel room: everything that touches eBPF, and what stands in for it where the kernel refuses.
//!
//! [`Kernel`] is synchronous; only carriers are polled by a thread of its own. The daemon waits on [`Kernel::ring_fd`] and
//! [`Kernel::bell`], and before it judges any deadline calls [`Kernel::drain`], which also takes in what waits on
//! packet sockets; then [`Kernel::stamp`] holds all evidence there is.

mod attach;
mod bpf;
mod bpffs;
mod btf;
mod carrier;
mod driver;
mod evidence;
mod load;
mod namespace;
mod options;
mod pins;
mod refusal;
mod rungs;
mod socket;
mod sys;

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use ipmp_common::{
    abi::{CARRIER_BY_POLL, Carrier, CarrierKey, Counters, MAX_SESSIONS, RingEvent, Session, Stamp},
    engine::ids::SessionId,
};
use tokio::sync::Notify;

use self::{
    attach::Links,
    bpf::Bpf,
    carrier::Poller,
    driver::Drivers,
    evidence::Table,
    namespace::Namespace,
    pins::{NoPins, Pins},
    socket::ReplySocket,
};
pub use self::{
    carrier::{CarrierChange, Sysfs},
    driver::bus_of,
    evidence::Totals,
    load::detach_clsact,
    options::{KernelError, KernelOptions, prepare},
    pins::unpin,
    rungs::{CarrierRung, DepartureRung, Refused, ReplyRung, Rungs},
};

/// One attached interface.
struct Member {
    name: String,
    rungs: Rungs,
    links: Links,
    socket: Option<ReplySocket>,
}

/// The kernel room. Dropping it leaves pinned programs, links and maps as they are, for the next run to adopt.
pub struct Kernel {
    bpf: Option<Bpf>,
    /// Why there is no eBPF, or there are no pins.
    complaints: Vec<String>,
    taken: Option<PathBuf>,
    pins: Pins,
    namespace: Namespace,
    tracing: Option<CarrierRung>,
    tracing_refused: Vec<Refused>,
    /// Whether polling is wanted.
    poll: bool,
    /// The best rung for departures that is wanted.
    departure: DepartureRung,
    members: BTreeMap<u32, Member>,
    poller: Poller,
    drivers: Option<Drivers>,
    own: Table,
}

impl Kernel {
    /// Loads what the kernel permits. Never fails: without eBPF everything falls to the lowest rungs, and
    /// [`Kernel::complaints`] says why.
    pub fn open(options: &KernelOptions) -> Self {
        let mut complaints = Vec::new();
        let (mut pins, unpinned) =
            if options.bpf { Pins::open(&options.pin_dir) } else { (Pins::none(), None) };
        let taken = match unpinned {
            Some(NoPins::Taken(dir)) => {
                complaints.push(format!("nothing is pinned: {}: another process uses it", dir.display()));
                Some(dir)
            }
            Some(NoPins::Refused(reason)) => {
                complaints.push(format!("nothing is pinned: {reason}"));
                None
            }
            None => None,
        };
        let namespace = Namespace::current();
        let opened = if options.bpf {
            Bpf::open(&mut pins, namespace)
        } else {
            Err("it was not asked for".to_owned())
        };
        let mut bpf = match opened {
            Ok((bpf, unpinned)) => {
                complaints.extend(unpinned.map(|reason| format!("nothing is pinned: {reason}")));
                Some(bpf)
            }
            Err(reason) => {
                complaints.push(format!("eBPF is not in use: {reason}"));
                None
            }
        };
        let mut tracing_refused = Vec::new();
        let tracing = match &mut bpf {
            Some(bpf) => attach::trace_carrier(
                &mut bpf.loaded,
                &pins,
                (namespace, options.carrier),
                &mut tracing_refused,
            ),
            None => None,
        };
        Self {
            bpf,
            complaints,
            taken,
            pins,
            namespace,
            poll: options.carrier <= CarrierRung::Poll,
            departure: options.departure,
            tracing,
            tracing_refused,
            members: BTreeMap::new(),
            poller: Poller::new(options.priority, options.sysfs.clone()),
            drivers: Drivers::new().ok(),
            own: Table::default(),
        }
    }

    /// Why eBPF, or pinning, is not in use; empty if all is well.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The pin directory, if another daemon that lives has pinned there.
    pub fn pins_taken(&self) -> Option<&Path> {
        self.taken.as_deref()
    }

    /// Detaches what an earlier run left on interfaces that are not attached now. To be called once all members
    /// that are there have been attached.
    pub fn forget_others(&self) {
        self.pins.keep_links_of(|ifindex| self.members.contains_key(&ifindex));
    }

    /// Takes up evidence from an interface, by the best rung of each ladder. On some drivers attaching XDP
    /// resets the link: attach before taking responsibility for it. Attaching again re-adopts.
    pub fn attach(&mut self, ifindex: u32, name: &str) -> Rungs {
        self.detach_from_memory(ifindex);
        let mut links = Links::default();
        let (mut reply_refused, mut departure_refused) = (Vec::new(), Vec::new());
        let (mut reply, mut departure) = (None, DepartureRung::UserSpace);
        if let Some(bpf) = &mut self.bpf {
            bpf.arm_counters(ifindex);
            let loaded = &mut bpf.loaded;
            reply = links.attach_reply(loaded, &self.pins, (ifindex, name), &mut reply_refused);
            let wanted = (ifindex, name, self.departure);
            departure = links.attach_departure(loaded, &self.pins, wanted, &mut departure_refused);
        } else {
            let reason = self.complaints.join("; ");
            reply_refused.push(Refused::new(&ReplyRung::XdpNative, reason.as_str()));
            departure_refused.push(Refused::new(&DepartureRung::Tcx, reason));
        }
        let socket = match reply {
            Some(_) => None,
            None => ReplySocket::open(ifindex)
                .map_err(|error| {
                    reply_refused.push(Refused::new(&ReplyRung::Socket, refusal::explain(&error)));
                })
                .ok(),
        };
        let (carrier, carrier_refused) = self.attach_carrier(ifindex, name);
        let rungs = Rungs {
            reply: reply.unwrap_or(ReplyRung::Socket),
            reply_refused,
            departure,
            departure_refused,
            carrier,
            carrier_refused,
        };
        let member = Member { name: name.to_owned(), rungs: rungs.clone(), links, socket };
        self.members.insert(ifindex, member);
        rungs
    }

    fn attach_carrier(&mut self, ifindex: u32, name: &str) -> (CarrierRung, Vec<Refused>) {
        let mut refused = self.tracing_refused.clone();
        let link = self.ask_link(name);
        let rung = match (self.tracing, &link) {
            (Some(tracing), _) => tracing,
            (None, _) if !self.poll => {
                refused.push(Refused::new(&CarrierRung::Poll, attach::NOT_WANTED));
                CarrierRung::Netlink
            }
            (None, Ok(up)) => match self.poller.add(ifindex, name, *up) {
                Ok(()) => CarrierRung::Poll,
                Err(error) => {
                    refused.push(Refused::new(&CarrierRung::Poll, error.to_string()));
                    CarrierRung::Netlink
                }
            },
            (None, Err(error)) => {
                refused.push(Refused::new(&CarrierRung::Poll, error.to_string()));
                CarrierRung::Netlink
            }
        };
        let key = self.carrier_key(ifindex);
        if let Some(bpf) = &mut self.bpf {
            let history = Carrier {
                up: u32::from(link.unwrap_or(true)),
                source: if rung == CarrierRung::Poll { CARRIER_BY_POLL } else { 0 },
                ..Carrier::default()
            };
            bpf.arm_carrier(key, history);
        }
        (rung, refused)
    }

    /// What is in use on an attached interface.
    pub fn rungs(&self, ifindex: u32) -> Option<&Rungs> {
        self.members.get(&ifindex).map(|member| &member.rungs)
    }

    /// Whether the link is up, as its driver says now; `None` if it cannot tell.
    pub fn link_up(&self, name: &str) -> Option<bool> {
        self.ask_link(name).ok()
    }

    fn ask_link(&self, name: &str) -> io::Result<bool> {
        self.drivers.as_ref().ok_or(io::ErrorKind::NotFound)?.link_up(name)
    }

    /// Gives up an interface: nothing of ours stays attached to it.
    ///
    /// # Errors
    /// [`KernelError::Pin`]: something does.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), KernelError> {
        let (links, name) = self
            .detach_from_memory(ifindex)
            .map_or_else(Default::default, |member| (member.links, member.name));
        let detached = links.detach(&self.pins, ifindex, &name);
        let key = self.carrier_key(ifindex);
        if let Some(bpf) = &mut self.bpf {
            bpf.forget(key);
        }
        detached
    }

    const fn carrier_key(&self, ifindex: u32) -> CarrierKey {
        CarrierKey { netns_cookie: self.namespace.key(), ifindex, reserved: 0 }
    }

    fn detach_from_memory(&mut self, ifindex: u32) -> Option<Member> {
        self.poller.remove(ifindex);
        self.members.remove(&ifindex)
    }

    /// Gives up everything: detaches, unpins, and unmounts what was mounted for the pins.
    pub fn release(mut self) {
        let attached: Vec<u32> = self.members.keys().copied().collect();
        for ifindex in attached {
            if let Err(error) = self.detach(ifindex) {
                tracing::warn!("{error}");
            }
        }
        drop(self.bpf.take());
        self.pins.clear();
    }

    /// Arms a session. Its evidence is cleared; stamps count from here on.
    pub fn arm(&mut self, id: SessionId, session: Session) -> Result<(), KernelError> {
        let SessionId(number) = id;
        if number >= MAX_SESSIONS {
            return Err(KernelError::TooManySessions(number));
        }
        self.disarm(id)?;
        if let Some(bpf) = &mut self.bpf {
            bpf.arm(number, session)?;
        }
        self.own.arm(number, session);
        Ok(())
    }

    /// Changes what is known of an armed session but its token. Its evidence stays.
    pub fn change(&mut self, SessionId(number): SessionId, session: Session) -> Result<(), KernelError> {
        match &mut self.bpf {
            Some(bpf) if number < MAX_SESSIONS => bpf.set_session(number, session),
            Some(_) => Err(KernelError::TooManySessions(number)),
            None => Ok(()),
        }
    }

    /// Disarms a session: nothing matches it any more. Its stamps stay readable until it is armed again.
    pub fn disarm(&mut self, SessionId(number): SessionId) -> Result<(), KernelError> {
        if number >= MAX_SESSIONS {
            return Err(KernelError::TooManySessions(number));
        }
        self.own.disarm(number);
        match &mut self.bpf {
            Some(bpf) => bpf.set_session(number, Session::default()),
            None => Ok(()),
        }
    }

    /// What happened to probe `seq`: no system call. `None`: nothing is known of it (any more).
    pub fn stamp(&self, SessionId(number): SessionId, seq: u64) -> Option<Stamp> {
        let kernel = self.bpf.as_ref().and_then(|bpf| bpf.evidence.stamp(number, seq));
        evidence::merge(kernel, self.own.stamp(number, seq))
    }

    /// The sums of a session.
    pub fn evidence(&self, SessionId(number): SessionId) -> Totals {
        let kernel = self.bpf.as_ref().map_or_else(Totals::default, |bpf| bpf.evidence.totals(number));
        let own = self.own.totals(number);
        Totals {
            sent: kernel.sent.max(own.sent),
            replies: kernel.replies.max(own.replies),
            last_received_ns: kernel.last_received_ns.max(own.last_received_ns),
        }
    }

    /// Says that a probe's send call returned at `at_ns`. Needed where the departure rung is
    /// [`DepartureRung::UserSpace`]; elsewhere harmless, the kernel's time is preferred.
    pub fn note_sent(&mut self, SessionId(number): SessionId, seq: u64, at_ns: u64) {
        self.own.sent(number, seq, at_ns);
    }

    /// The counters of an interface, summed over CPUs; `None` without eBPF, or if it is not attached.
    pub fn counters(&self, ifindex: u32) -> Option<Counters> {
        self.bpf.as_ref()?.counters(ifindex)
    }

    /// Becomes readable when [`Kernel::next_event`] has something.
    pub fn ring_fd(&self) -> Option<BorrowedFd<'_>> {
        self.bpf.as_ref().map(|bpf| bpf.loaded.events.as_fd())
    }

    /// The next event of the programs.
    pub fn next_event(&mut self) -> Option<RingEvent> {
        let item = self.bpf.as_mut()?.loaded.events.next()?;
        let field = |at: usize| item.get(at..)?.first_chunk().copied();
        let word = |at: usize| item.get(at..)?.first_chunk().copied();
        Some(RingEvent {
            kind: u32::from_ne_bytes(word(0)?),
            subject: u32::from_ne_bytes(word(4)?),
            at_ns: u64::from_ne_bytes(field(8)?),
            detail: u64::from_ne_bytes(field(16)?),
        })
    }

    /// The packet sockets of the lowest rung, by ifindex; readable when [`Kernel::drain`] has something to do.
    pub fn socket_fds(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.members.iter().filter_map(|(ifindex, member)| Some((*ifindex, member.socket.as_ref()?.as_fd())))
    }

    /// Takes in the replies that wait on packet sockets. To be called on each wake before judging.
    pub fn drain(&mut self) {
        let Self { members, own, .. } = self;
        for (ifindex, socket) in members.iter().filter_map(|(i, m)| Some((i, m.socket.as_ref()?))) {
            let drained = socket.drain(|probe, ifindex, at_ns| {
                own.reply(probe, ifindex, at_ns);
            });
            if let Err(error) = drained {
                tracing::debug!(ifindex, %error, "packet socket");
            }
        }
    }

    /// What polling the carriers of the members on that rung has shown since the last call. It is polled often enough
    /// by itself; [`Kernel::bell`] rings when something was seen.
    pub fn carrier_poll(&mut self) -> Vec<CarrierChange> {
        let changes = self.poller.take();
        for change in &changes {
            let key = self.carrier_key(change.ifindex);
            if let Some(bpf) = &mut self.bpf {
                bpf.record_poll(key, change);
            }
        }
        changes
    }

    /// Rings when [`Kernel::carrier_poll`] has something to tell.
    pub fn bell(&self) -> Arc<Notify> {
        self.poller.bell()
    }

    /// Says that some link changed: for a while netlink may withhold what comes next, so polling is faster; and
    /// [`Kernel::carrier_poll`] waits a little until the others have been looked at.
    pub fn note_link_event(&mut self) {
        self.poller.link_event();
    }

    /// The carrier history of an interface, as the map has it.
    pub fn carrier(&self, ifindex: u32) -> Option<Carrier> {
        self.bpf.as_ref()?.carrier(self.carrier_key(ifindex))
    }

    /// By which the programs tell this network namespace from others: [`CarrierKey::netns_cookie`].
    pub fn netns_cookie(&self) -> u64 {
        self.namespace.key()
    }

    /// Loads and pins one of the programs of [`program`](ipmp_common::abi::program), also one that no rung in use needs.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn try_program(&mut self, name: &'static str) -> Result<(), String> {
        let Self { bpf, pins, complaints, .. } = self;
        match bpf {
            Some(bpf) => bpf.loaded.program(name, pins).map(drop).map_err(str::to_owned),
            None => Err(complaints.join("; ")),
        }
    }
}
