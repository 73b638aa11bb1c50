//! Sessions prepared for sending, and the probes of one turn.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipmp_common::{
    engine::{
        action::Session,
        event::NotSent,
        ids::SessionId,
        time::{Nanos, Timestamp},
    },
    wire::{Frame, Mac, PROBE_FRAME_MAX, ProbeFrame},
};
use rtnetlink::packet_route::neighbour::NeighbourState;

use crate::{
    frames::{FrameSocket, Outgoing},
    net::{inventory::Inventory, resolve::Resolver},
};

/// How often the kernel is asked anew for a hardware address that it does not hold to be good. Its own
/// retransmission timer is a second too (RFC 4861 `RETRANS_TIMER`, arp(7) `retrans_time_ms`).
const ASK_INTERVAL: Nanos = Nanos::from_secs(1);
/// After so long without any answer an unknown hardware address speaks against the path: the kernel has then
/// asked three times (arp(7) `mcast_solicit`).
const RESOLUTION_PATIENCE: Nanos = Nanos::from_secs(3);

/// All hosts on the link (RFC 1112, RFC 4291).
const ALL_HOSTS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_HOSTS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Sends probes in batches.
#[derive(Debug)]
pub struct Sender {
    socket: FrameSocket,
    sessions: BTreeMap<SessionId, Prepared>,
    queue: Vec<(SessionId, u64)>,
    /// Interfaces and targets of sessions that ended, and whether they were asked for.
    ended: Vec<(u32, IpAddr, bool)>,
}

#[derive(Debug)]
struct Prepared {
    session: Session,
    token: u64,
    icmp_id: u16,
    source_mac: Mac,
    /// Kept when the kernel forgets it: a failed neighbour entry is evidence about the path, and must not
    /// keep the probe that would prove it from leaving.
    target_mac: Option<Mac>,
    armed_at: Timestamp,
    asked_at: Option<Timestamp>,
}

/// What became of one probe of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendResult {
    /// The session.
    pub session: SessionId,
    /// The sequence number.
    pub seq: u64,
    /// Whether the kernel took it.
    pub result: Result<(), NotSent>,
}

struct Ready {
    session: SessionId,
    seq: u64,
    ifindex: u32,
    frame: Frame<PROBE_FRAME_MAX>,
}

impl Outgoing for Ready {
    fn bytes(&self) -> &[u8] {
        &self.frame
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }
}

impl Sender {
    /// Opens the socket in the network namespace of the calling thread. Needs `CAP_NET_RAW`.
    pub fn open() -> io::Result<Self> {
        let socket = FrameSocket::open()?;
        Ok(Self { socket, sessions: BTreeMap::new(), queue: Vec::new(), ended: Vec::new() })
    }

    /// Prepares a session.
    pub fn arm(&mut self, now: Timestamp, session: &Session, token: u64, icmp_id: u16, source_mac: Mac) {
        let prepared = Prepared {
            session: session.clone(),
            token,
            icmp_id,
            source_mac,
            target_mac: None,
            armed_at: now,
            asked_at: None,
        };
        self.sessions.insert(session.session, prepared);
    }

    /// Forgets a session and what is queued for it.
    pub fn disarm(&mut self, session: SessionId) {
        let ended = self.sessions.remove(&session);
        self.ended.extend(ended.map(|p| (p.session.ifindex, p.session.target, p.asked_at.is_some())));
        self.queue.retain(|(queued, _)| *queued != session);
    }

    /// The interface's own hardware address changed.
    pub fn set_source_mac(&mut self, ifindex: u32, mac: Mac) {
        for prepared in self.sessions.values_mut().filter(|prepared| prepared.session.ifindex == ifindex) {
            prepared.source_mac = mac;
        }
    }

    /// Sends an echo request to all hosts on an interface's link (224.0.0.1, `ff02::1`), now. It belongs to no session:
    /// answers are counted as foreign and prove nothing.
    pub fn ask_all(
        &self,
        ifindex: u32,
        source_mac: Mac,
        source: IpAddr,
        token: u64,
        icmp_id: u16,
    ) -> io::Result<()> {
        let (target, target_mac) = match source {
            // RFC 1112 section 6.4, RFC 2464 section 7.
            IpAddr::V4(_) => (IpAddr::V4(ALL_HOSTS_V4), [0x01, 0x00, 0x5e, 0, 0, 1]),
            IpAddr::V6(_) => (IpAddr::V6(ALL_HOSTS_V6), [0x33, 0x33, 0, 0, 0, 1]),
        };
        let session = SessionId(u32::MAX);
        let probe =
            ProbeFrame { source_mac, target_mac, source, target, icmp_id, session: session.0, token, seq: 1 };
        let frame = probe.build().ok_or(io::ErrorKind::InvalidInput)?;
        let mut result = Ok(());
        self.socket.send(&[Ready { session, seq: 1, ifindex, frame }], |_, outcome| result = outcome);
        result
    }

    /// Queues a probe for the end of the turn.
    pub fn queue(&mut self, session: SessionId, seq: u64) {
        self.queue.push((session, seq));
    }

    /// Sends everything queued, in one batch.
    pub fn flush(
        &mut self,
        now: Timestamp,
        inventory: &Inventory,
        resolver: &mut Resolver,
    ) -> Vec<SendResult> {
        self.release_ended(inventory, resolver);
        let mut results = Vec::with_capacity(self.queue.len());
        let mut ready = Vec::with_capacity(self.queue.len());
        for (session, seq) in std::mem::take(&mut self.queue) {
            let Some(prepared) = self.sessions.get_mut(&session) else { continue };
            match prepared.frame(now, seq, inventory, resolver) {
                Ok(frame) => ready.push(Ready { session, seq, ifindex: prepared.session.ifindex, frame }),
                Err(cause) => results.push(SendResult { session, seq, result: Err(cause) }),
            }
        }
        self.socket.send(&ready, |probe, outcome| {
            let result =
                outcome.map_err(|error| NotSent::Local { errno: error.raw_os_error().unwrap_or(libc::EIO) });
            results.push(SendResult { session: probe.session, seq: probe.seq, result });
        });
        results
    }

    /// Targets that are probed no longer need no hardware address any more.
    fn release_ended(&mut self, inventory: &Inventory, resolver: &mut Resolver) {
        for (ifindex, target, asked) in std::mem::take(&mut self.ended) {
            let is = |session: &Session| session.ifindex == ifindex && session.target == target;
            let is_probed = self.sessions.values().any(|prepared| is(&prepared.session));
            let known = inventory.neighbour(ifindex, target);
            let is_kept = known.is_some_and(|neighbour| neighbour.ours || (asked && !neighbour.kept));
            if !is_probed
                && is_kept
                && let Err(error) = resolver.release(ifindex, target)
            {
                tracing::debug!(%target, %error, "cannot give up a hardware address");
            }
        }
    }
}

impl Prepared {
    fn frame(
        &mut self,
        now: Timestamp,
        seq: u64,
        inventory: &Inventory,
        resolver: &mut Resolver,
    ) -> Result<Frame<PROBE_FRAME_MAX>, NotSent> {
        let target_mac = self.resolve(now, inventory, resolver)?;
        let probe = ProbeFrame {
            source_mac: self.source_mac,
            target_mac,
            source: self.session.source,
            target: self.session.target,
            icmp_id: self.icmp_id,
            session: self.session.session.0,
            token: self.token,
            seq,
        };
        probe.build().ok_or(NotSent::Local { errno: libc::EAFNOSUPPORT })
    }

    /// The target's hardware address: the kernel's, else the last one known. While the kernel does not hold it
    /// to be good, it is asked anew now and then.
    fn resolve(
        &mut self,
        now: Timestamp,
        inventory: &Inventory,
        resolver: &mut Resolver,
    ) -> Result<Mac, NotSent> {
        let known = inventory.neighbour(self.session.ifindex, self.session.target);
        let valid = known.is_some_and(crate::net::inventory::Neighbour::is_valid);
        if let Some(mac) = known.and_then(|neighbour| neighbour.mac) {
            self.target_mac = Some(mac);
        }
        let due = self.asked_at.is_none_or(|at| now.since(at) >= ASK_INTERVAL);
        if !valid && due {
            self.asked_at = Some(now);
            if let Err(error) = resolver.resolve(self.session.ifindex, self.session.target) {
                tracing::debug!(target = %self.session.target, %error, "cannot ask for a hardware address");
            }
        }
        let given_up = known.is_some_and(|neighbour| neighbour.state == NeighbourState::Failed)
            || now.since(self.armed_at) >= RESOLUTION_PATIENCE;
        let cause = if given_up { NotSent::Unresolved } else { NotSent::Resolving };
        self.target_mac.ok_or(cause)
    }
}
