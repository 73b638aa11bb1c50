//! Many flows from the lab's host to its first neighbour: by which NIC each of them leaves, seen at the switch, and whether
//! anything is overtaken or lost, seen by the neighbour.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};

use crate::{
    netns::Netns,
    topology::{FIRST_CABLE_INDEX, Lab},
    wait::DEADLINE,
};

/// Longest wait of any of the threads, so that the end is noticed soon.
const TURN: Duration = Duration::from_millis(5);
/// `PACKET_OUTGOING` (`linux/if_packet.h`): a copy of what leaves.
const OUTGOING: u8 = 4;
/// Frames are read to the end of the transport header.
const BUFFER: usize = 128;

/// A flow as the switch sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// TCP; else UDP.
    pub tcp: bool,
    /// Whom the host speaks to.
    pub to: IpAddr,
    /// The host's address.
    pub from: IpAddr,
    /// The host's port.
    pub port: u16,
}

/// What the neighbour got of a UDP flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Got {
    count: u64,
    last: u64,
    overtaken: u64,
}

#[derive(Debug, Default)]
struct Log {
    /// The host's NICs by which each flow left, in turn.
    left_by: BTreeMap<Flow, Vec<usize>>,
    got: BTreeMap<SocketAddr, Got>,
    /// By both ends: the kernel gives connections to different hosts the same port.
    streams: BTreeMap<[SocketAddr; 2], u64>,
    broken: Vec<String>,
}

/// Flows that go on as long as this lives.
#[derive(Debug)]
pub struct Flows {
    log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    count: usize,
}

impl Flows {
    /// Starts `count` flows by UDP and as many by TCP to each of the addresses, which the first neighbour must have. Each
    /// sends a number once an interval; none names a source.
    ///
    /// # Errors
    /// When a connection cannot be made.
    pub fn start(lab: &Lab, to: &[IpAddr], count: usize, interval: Duration) -> Result<Self> {
        Self::start_from(&lab.host, lab, to, count, interval)
    }

    /// The same from a host behind the lab's, for which that forwards.
    ///
    /// # Errors
    /// When a connection cannot be made.
    pub fn start_from(
        from: &Netns,
        lab: &Lab,
        to: &[IpAddr],
        count: usize,
        interval: Duration,
    ) -> Result<Self> {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let (listener, inbox) = lab.peer().run(|| -> io::Result<_> {
            let listener = TcpListener::bind(any)?;
            let inbox = UdpSocket::bind(listener.local_addr()?)?;
            listener.set_nonblocking(true)?;
            inbox.set_nonblocking(true)?;
            Ok((listener, inbox))
        })??;
        let port = listener.local_addr().context("the listener's port")?.port();
        let tap = lab.switch.run(tap)??;
        let (log, stop) = (Arc::new(Mutex::new(Log::default())), Arc::new(AtomicBool::new(false)));
        let mut flows = Self {
            log: Arc::clone(&log),
            stop: Arc::clone(&stop),
            threads: Vec::new(),
            count: 2 * count * to.len(),
        };
        let (seen, told) = ((Arc::clone(&log), Arc::clone(&stop)), (Arc::clone(&log), Arc::clone(&stop)));
        flows.threads.push(thread::spawn(move || watch(&tap, port, &seen.0, &seen.1)));
        flows.threads.push(thread::spawn(move || receive(&listener, &inbox, &told.0, &told.1)));
        let (streams, sockets) = from.run(|| -> io::Result<_> {
            let (mut streams, mut sockets) = (Vec::new(), Vec::new());
            for at in to.iter().map(|ip| SocketAddr::new(*ip, port)) {
                for _ in 0..count {
                    let stream = TcpStream::connect_timeout(&at, DEADLINE)?;
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    streams.push(stream);
                    let any: IpAddr = if at.is_ipv4() {
                        Ipv4Addr::UNSPECIFIED.into()
                    } else {
                        Ipv6Addr::UNSPECIFIED.into()
                    };
                    let socket = UdpSocket::bind((any, 0))?;
                    socket.connect(at)?;
                    socket.set_nonblocking(true)?;
                    sockets.push(socket);
                }
            }
            Ok((streams, sockets))
        })??;
        flows.threads.push(thread::spawn(move || send(streams, &sockets, interval, &log, &stop)));
        Ok(flows)
    }

    /// By which NICs each flow left since the last call, in turn, each change once.
    pub fn left_by(&self) -> BTreeMap<Flow, Vec<usize>> {
        std::mem::take(&mut self.log().left_by)
    }

    /// Numbers that the neighbour has got so far, of each flow.
    pub fn received(&self) -> Vec<u64> {
        let log = self.log();
        log.got.values().map(|got| got.count).chain(log.streams.values().copied()).collect()
    }

    /// How many flows there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Datagrams that came after a later one of the same flow.
    pub fn overtaken(&self) -> u64 {
        self.log().got.values().map(|got| got.overtaken).sum()
    }

    /// What went wrong with connections.
    pub fn broken(&self) -> Vec<String> {
        self.log().broken.clone()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host: a number by each flow, and again.
fn send(
    mut streams: Vec<TcpStream>,
    sockets: &[UdpSocket],
    interval: Duration,
    log: &Mutex<Log>,
    stop: &AtomicBool,
) {
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        for socket in sockets {
            // What is lost is not sent again; a path that is dead for a while is what these flows are for.
            let _lost = socket.send(&number.to_be_bytes());
        }
        streams.retain_mut(|stream| match stream.write(&number.to_be_bytes()) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => {
                lock(log).broken.push(format!(
                    "{:?} to {:?}: {error}",
                    stream.local_addr(),
                    stream.peer_addr()
                ));
                false
            }
        });
        thread::sleep(interval);
    }
}

/// The neighbour.
fn receive(listener: &TcpListener, inbox: &UdpSocket, log: &Mutex<Log>, stop: &AtomicBool) {
    let mut streams: Vec<([SocketAddr; 2], TcpStream)> = Vec::new();
    let mut bytes = [0; BUFFER];
    while !stop.load(Ordering::Relaxed) {
        while let Ok((stream, from)) = listener.accept() {
            if let (Ok(to), Ok(())) = (stream.local_addr(), stream.set_nonblocking(true)) {
                streams.push(([from, to], stream));
            }
        }
        let mut log = lock(log);
        while let Ok((length, from)) = inbox.recv_from(&mut bytes) {
            let Ok(number) = bytes[..length].try_into().map(u64::from_be_bytes) else { continue };
            let got = log.got.entry(from).or_default();
            got.count += 1;
            got.overtaken += u64::from(number < got.last);
            got.last = got.last.max(number);
        }
        for (ends, stream) in &mut streams {
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                *log.streams.entry(*ends).or_default() += length as u64 / 8;
            }
        }
        drop(log);
        thread::sleep(TURN);
    }
}

/// A socket that gets what all ports of the switch get.
fn tap() -> Result<OwnedFd> {
    let all = SockProtocol::EthAll;
    let tap = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, all)
        .context("a packet socket")?;
    setsockopt(&tap, sockopt::RcvBufForce, &(16 << 20)).context("SO_RCVBUFFORCE")?;
    let turn = nix::sys::time::TimeVal::new(0, TURN.as_micros() as i64);
    setsockopt(&tap, sockopt::ReceiveTimeout, &turn).context("SO_RCVTIMEO")?;
    Ok(tap)
}

/// The switch.
fn watch(tap: &OwnedFd, port: u16, log: &Mutex<Log>, stop: &AtomicBool) {
    let mut bytes = [0; BUFFER];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, Some(from))) = recvfrom::<LinkAddr>(tap.as_raw_fd(), &mut bytes) else { continue };
        let Some(nic) = from.ifindex().checked_sub(FIRST_CABLE_INDEX) else { continue };
        if from.pkttype() == OUTGOING {
            continue;
        }
        let frame = bytes.get(..length).unwrap_or_default();
        if let Some(flow) = flow(frame, port) {
            let mut log = lock(log);
            let nics = log.left_by.entry(flow).or_default();
            if nics.last() != Some(&nic) {
                nics.push(nic);
            }
        }
    }
}

/// The flow of an IP packet to the neighbour's port.
fn flow(packet: &[u8], port: u16) -> Option<Flow> {
    let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    let (protocol, from, to, header) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, v4(12)?, v4(16)?, usize::from(packet.first()? & 15) * 4),
        6 => (*packet.get(6)?, v6(8)?, v6(24)?, 40),
        _ => return None,
    };
    let half = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let is_flow = [libc::IPPROTO_TCP, libc::IPPROTO_UDP].contains(&i32::from(protocol));
    let tcp = i32::from(protocol) == libc::IPPROTO_TCP;
    (is_flow && half(header + 2)? == port).then_some(Flow { tcp, to, from, port: half(header)? })
}
