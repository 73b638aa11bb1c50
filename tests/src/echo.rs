//! A neighbour that takes its time to answer: in place of the kernel's, which answers at once.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ipmp_common::wire::internet_checksum;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recvfrom, sendto, socket,
    },
};

use crate::netns::Netns;

/// ICMP types (RFC 792).
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
/// Longest wait, so that the end is noticed soon.
const TURN_MS: u16 = 20;
/// Larger than any probe.
const BUFFER: usize = 2048;

/// Answers IPv4 echo requests in a namespace after a delay, as long as it lives. The kernel's own answers stay off
/// afterwards.
#[derive(Debug)]
pub struct DelayedEcho {
    delay_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DelayedEcho {
    /// Starts to answer at once, without delay.
    ///
    /// # Errors
    /// When the kernel does not give up answering, or gives no raw socket.
    pub fn start(netns: &Netns) -> Result<Self> {
        let socket = netns
            .run(|| {
                socket(
                    AddressFamily::Inet,
                    SockType::Raw,
                    SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                    SockProtocol::Icmp,
                )
            })?
            .context("a raw ICMP socket")?;
        netns.sysctl("net/ipv4/icmp_echo_ignore_all", "1")?;
        let (delay_us, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (delay, end) = (Arc::clone(&delay_us), Arc::clone(&stop));
        let thread = thread::spawn(move || answer(&socket, &delay, &end));
        Ok(Self { delay_us, stop, thread: Some(thread) })
    }

    /// Requests that come from now on are answered this much later.
    pub fn set_delay(&self, delay: Duration) {
        self.delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Drop for DelayedEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn answer(socket: &OwnedFd, delay_us: &AtomicU64, stop: &AtomicBool) {
    let mut due: VecDeque<(Instant, Ipv4Addr, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; BUFFER];
    while !stop.load(Ordering::Relaxed) {
        let wait = due.front().map_or(u128::from(TURN_MS), |(at, ..)| {
            at.saturating_duration_since(Instant::now()).as_millis().min(u128::from(TURN_MS))
        });
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait is only a short one.
        let _ready = poll(&mut ready, PollTimeout::from(wait as u16));
        while let Ok((length, from)) = recvfrom::<SockaddrIn>(socket.as_raw_fd(), &mut buffer) {
            let delay = Duration::from_micros(delay_us.load(Ordering::Relaxed));
            if let Some((from, reply)) = from.zip(reply_to(&buffer[..length])) {
                due.push_back((Instant::now() + delay, SocketAddrV4::from(from).ip().to_owned(), reply));
            }
        }
        while let Some((_, to, reply)) = due.pop_front_if(|(at, ..)| *at <= Instant::now()) {
            let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
            // A reply that cannot be sent is a lost one.
            let _sent = sendto(socket.as_raw_fd(), &reply, &to, MsgFlags::empty());
        }
    }
}

/// The answer to an IPv4 packet, if it is an echo request.
fn reply_to(packet: &[u8]) -> Option<Vec<u8>> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let mut reply = packet.get(header..)?.to_vec();
    if reply.len() < 8 || reply[0] != ECHO_REQUEST {
        return None;
    }
    reply[0] = ECHO_REPLY;
    reply[2..4].fill(0);
    let sum = internet_checksum(&[&reply]);
    reply[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(reply)
}
