//! A neighbour that pings all the time and remembers when each answer came.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket},
        time::TimeSpec,
    },
};

use crate::{netns::Netns, wait::now_ns};

/// Type, code, checksum, identifier, sequence (RFC 792, RFC 4443 section 4.1).
const ICMP_HEADER: usize = 8;
/// ICMP type of an echo request (RFC 792).
const ECHO_REQUEST: u8 = 8;
/// `ICMPv6` type of an echo request (RFC 4443 section 4.1).
const ECHO_REQUEST_V6: u8 = 128;
/// How long answers to the last requests are waited for.
const GRACE: Duration = Duration::from_millis(200);

/// Answers that take longer are not looked for: no test or bench makes an outage as long.
const LATEST_ANSWER: Duration = Duration::from_mins(1);

/// One request: when it left, and when its answer came.
#[derive(Clone, Copy, Debug)]
struct Echo {
    sent_ns: u64,
    answered_ns: Option<u64>,
}

/// What the neighbour saw in some period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingReport {
    /// Requests sent.
    pub sent: usize,
    /// Of these, how many were never answered.
    pub lost: usize,
    /// The longest time from a request to the next answer, be it to this request or to a later one. A pause of the
    /// pinger itself, on a loaded machine, is no gap.
    pub longest_gap: Duration,
}

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Record {
    echoes: Mutex<Vec<Echo>>,
    answered: AtomicUsize,
}

/// Pings from a namespace until it is stopped or dropped.
#[derive(Debug)]
pub struct Pinger {
    record: Arc<Record>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// What answers, where that is not the kernel.
    echo: Option<JoinHandle<()>>,
}

impl Pinger {
    /// Begins to ping `target` from `netns`, one request each `interval`.
    ///
    /// Uses a ping socket (`IPPROTO_ICMP` with `SOCK_DGRAM`): the kernel gives checksum and identifier, and only
    /// answers to this socket arrive. The namespace needs `net.ipv4.ping_group_range`, which a lab's peers have.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(netns: &Netns, target: IpAddr, interval: Duration) -> Result<Self> {
        let socket = netns
            .run(|| ping_socket(target))?
            .with_context(|| format!("a ping socket to {target} in {}", netns.name()))?;
        Ok(Self::with(socket, target.is_ipv6(), interval))
    }

    /// The same with UDP, by two ordinary sockets: one in `server`, bound to `target`, returns what comes from the other.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn over_udp(server: &Netns, client: &Netns, target: IpAddr, interval: Duration) -> Result<Self> {
        let bound = server.run(|| UdpSocket::bind(SocketAddr::new(target, 0)))?;
        let bound = bound.with_context(|| format!("a UDP socket at {target}"))?;
        bound.set_read_timeout(Some(GRACE)).context("SO_RCVTIMEO")?;
        let at = bound.local_addr().context("its port")?;
        let any: IpAddr =
            if target.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let connected = || {
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(at).map(|()| socket)
        };
        let socket = client.run(connected)?.with_context(|| format!("a UDP socket to {at}"))?;
        let mut pinger = Self::with(socket, target.is_ipv6(), interval);
        let stop = Arc::clone(&pinger.stop);
        pinger.echo = Some(thread::spawn(move || echo(&bound, &stop)));
        Ok(pinger)
    }

    fn with(socket: UdpSocket, ipv6: bool, interval: Duration) -> Self {
        let record = Arc::new(Record::default());
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (record, stop) = (Arc::clone(&record), Arc::clone(&stop));
            thread::spawn(move || run(&socket, ipv6, interval, &record, &stop))
        };
        Self { record, stop, thread: Some(thread), echo: None }
    }

    /// How many requests were answered so far.
    pub fn answered(&self) -> usize {
        self.record.answered.load(Ordering::Relaxed)
    }

    /// What happened between two moments of `CLOCK_MONOTONIC` in nanoseconds.
    pub fn report(&self, from_ns: u64, to_ns: u64) -> PingReport {
        self.read(|echoes| report(echoes, from_ns, to_ns))
    }

    /// Stops after a short wait for the last answers, and reports on the whole time.
    ///
    /// # Errors
    /// When the socket failed meanwhile.
    pub fn finish(mut self) -> Result<PingReport> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the pinger panicked"))?.context("pinging")?;
        }
        let last = self.read(|echoes| echoes.last().map_or(0, |echo| echo.sent_ns));
        Ok(self.report(0, last))
    }

    fn read<R>(&self, read: impl FnOnce(&[Echo]) -> R) -> R {
        read(&self.record.echoes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _panicked = self.thread.take().map(JoinHandle::join);
        let _panicked = self.echo.take().map(JoinHandle::join);
    }
}

/// Returns each datagram to where it came from. What cannot be received or returned is lost: that is what is measured.
fn echo(socket: &UdpSocket, stop: &AtomicBool) {
    let mut packet = [0; 128];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut packet) {
            let _lost = socket.send_to(&packet[..length], from);
        }
    }
}

fn ping_socket(target: IpAddr) -> io::Result<UdpSocket> {
    let (family, protocol) = if target.is_ipv6() {
        (AddressFamily::Inet6, SockProtocol::IcmpV6)
    } else {
        (AddressFamily::Inet, SockProtocol::Icmp)
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd: OwnedFd = socket(family, SockType::Datagram, flags, protocol)?;
    // A ping socket is a datagram socket like any other to connect, send and recv.
    let socket = UdpSocket::from(fd);
    socket.connect(SocketAddr::new(target, 0))?;
    Ok(socket)
}

fn run(
    socket: &UdpSocket,
    ipv6: bool,
    interval: Duration,
    record: &Record,
    stop: &AtomicBool,
) -> io::Result<()> {
    // An answer is stamped when this thread runs: it must not queue behind compilers.
    let lowest_realtime = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters are a valid sched_param, and 0 names this thread (sched_setscheduler(2)). Refused without
    // CAP_SYS_NICE, which only makes the stamps coarser.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest_realtime) };
    let interval_ns = interval.as_nanos() as u64;
    let mut due = now_ns();
    while !stop.load(Ordering::Relaxed) {
        send(socket, ipv6, &record.echoes)?;
        // A late thread skips slots instead of sending a burst.
        due = (due + interval_ns).max(now_ns());
        receive_until(socket, due, record)?;
    }
    receive_until(socket, now_ns() + GRACE.as_nanos() as u64, record)
}

fn send(socket: &UdpSocket, ipv6: bool, echoes: &Mutex<Vec<Echo>>) -> io::Result<()> {
    let mut packet = [0; ICMP_HEADER + 8];
    packet[0] = if ipv6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST };
    let mut echoes = echoes.lock().unwrap_or_else(PoisonError::into_inner);
    packet[ICMP_HEADER..].copy_from_slice(&(echoes.len() as u64).to_be_bytes());
    echoes.push(Echo { sent_ns: now_ns(), answered_ns: None });
    drop(echoes);
    socket.send(&packet).map(drop).or_else(lost)
}

fn receive_until(socket: &UdpSocket, due_ns: u64, record: &Record) -> io::Result<()> {
    loop {
        let left = due_ns.saturating_sub(now_ns());
        if left == 0 {
            return Ok(());
        }
        let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut polled, Some(TimeSpec::from_duration(Duration::from_nanos(left))), None) {
            Ok(0) => return Ok(()),
            Ok(_) => receive(socket, record)?,
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn receive(socket: &UdpSocket, record: &Record) -> io::Result<()> {
    let mut packet = [0; 128];
    let length = match socket.recv(&mut packet) {
        Ok(length) => length,
        Err(error) => return lost(error),
    };
    let number = packet[..length]
        .get(ICMP_HEADER..ICMP_HEADER + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_be_bytes);
    let mut echoes = record.echoes.lock().unwrap_or_else(PoisonError::into_inner);
    let echo = number.and_then(|number| echoes.get_mut(number as usize));
    if let Some(echo) = echo.filter(|echo| echo.answered_ns.is_none()) {
        echo.answered_ns = Some(now_ns());
        record.answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// What a dead path makes of a socket call is a lost packet; anything else is a fault of the test.
fn lost(error: io::Error) -> io::Result<()> {
    let of_the_path = matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::ConnectionRefused
    );
    if of_the_path { Ok(()) } else { Err(error) }
}

fn report(echoes: &[Echo], from_ns: u64, to_ns: u64) -> PingReport {
    // Requests leave in the order of time.
    let first_at = |ns: u64| echoes.partition_point(|echo| echo.sent_ns < ns);
    let inside = || echoes[first_at(from_ns)..first_at(to_ns.saturating_add(1))].iter();
    let earliest = first_at(from_ns.saturating_sub(LATEST_ANSWER.as_nanos() as u64));
    let mut answers: Vec<u64> = echoes[earliest..].iter().filter_map(|echo| echo.answered_ns).collect();
    answers.sort_unstable();
    let next_answer = |sent_ns| answers.get(answers.partition_point(|at| *at < sent_ns)).copied();
    let longest = inside()
        .map(|echo| next_answer(echo.sent_ns).unwrap_or(to_ns).saturating_sub(echo.sent_ns))
        .max()
        .unwrap_or(0);
    PingReport {
        sent: inside().count(),
        lost: inside().filter(|echo| echo.answered_ns.is_none()).count(),
        longest_gap: Duration::from_nanos(longest),
    }
}

#[cfg(test)]
mod tests;
