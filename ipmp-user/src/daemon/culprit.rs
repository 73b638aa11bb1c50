//! Who else changes addresses and routes of members.
//!
//! A notification names the netlink port of the request. A program's first port is its process number
//! (`netlink_autobind` in `net/netlink/af_netlink.c`), and libnl's have it in their lower 22 bits, so as long as the program
//! lives its name can be seen. What has ended by then was a command; a route also says what kind of program made it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipmp_common::engine::{
    foreign::{Class, Culprit},
    ids::GroupId,
    time::{Nanos, Timestamp},
};
use tokio::sync::Notify;

use crate::{beside::Answerer, net::author::Author};

/// What was changed longer ago has been put back, or was nothing to put back (`reassert`).
const MEMORY: Nanos = Nanos::from_secs(5);
/// Changes looked into within that time: a script that calls ip(8) thousands of times must not keep a processor busy.
const MAX_LOOKUPS: usize = 16;
/// How long a name may delay the event. What was changed is back by then.
const PATIENCE: Nanos = Nanos::from_secs(1);
/// Descriptors of a process looked at for a socket; who has more is believed.
const MAX_DESCRIPTORS: usize = 1024;
/// libnl puts its own counter above (`generate_local_port` in lib/socket.c).
const LIBNL_PID_BITS: u32 = 22;
/// Netlink sockets of this network namespace.
const SOCKETS: &str = "net/netlink";

/// By the name that the kernel has of a program: at most 15 bytes (`TASK_COMM_LEN`).
const PROGRAMS: [(&str, Class); 18] = [
    ("NetworkManager", Class::NetworkManager),
    ("nm-dispatcher", Class::NetworkManager),
    ("systemd-network", Class::SystemdNetworkd),
    ("systemd-networkd", Class::SystemdNetworkd),
    ("dhclient", Class::DhcpClient),
    ("dhcpcd", Class::DhcpClient),
    ("udhcpc", Class::DhcpClient),
    ("nm-dhcp-helper", Class::DhcpClient),
    ("bird", Class::RoutingDaemon),
    ("bird6", Class::RoutingDaemon),
    ("zebra", Class::RoutingDaemon),
    ("babeld", Class::RoutingDaemon),
    ("keepalived", Class::RoutingDaemon),
    ("ip", Class::Command),
    ("ifconfig", Class::Command),
    ("ifup", Class::Command),
    ("ifdown", Class::Command),
    ("route", Class::Command),
];

/// Those seen lately and not reported yet. A thread of its own looks for them: a process may have many descriptors, and
/// looking at another's may wait for it.
#[derive(Debug)]
pub(super) struct Culprits {
    thread: Answerer<Author, (Author, Option<Culprit>)>,
    seen: BTreeMap<Author, Sighting>,
    /// What was put back and is not told yet.
    untold: Vec<PutBack>,
}

#[derive(Debug)]
struct Sighting {
    at: Timestamp,
    /// None: it is being looked for.
    culprit: Option<Culprit>,
}

/// What others changed was put back.
#[derive(Debug)]
pub(super) struct PutBack {
    pub(super) group: GroupId,
    /// Requests that it took.
    pub(super) changes: u32,
    /// The interfaces of the group.
    pub(super) on: Vec<u32>,
    /// Until then it may be found out who it was.
    pub(super) until: Timestamp,
}

impl PutBack {
    pub(super) fn new(now: Timestamp, group: GroupId, changes: u32, on: Vec<u32>) -> Self {
        Self { group, changes, on, until: now + PATIENCE }
    }

    fn concerns(&self, author: &Author) -> bool {
        author.ifindex.is_none_or(|ifindex| self.on.contains(&ifindex))
    }
}

impl Culprits {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        Self::start_in("/proc".into())
    }

    fn start_in(proc: PathBuf) -> io::Result<Self> {
        let thread = Answerer::start("ipmp-who", move |author| Some((author, culprit(&proc, author))))?;
        Ok(Self { thread, seen: BTreeMap::new(), untold: Vec::new() })
    }

    /// Rings when there is an answer.
    pub(super) fn bell(&self) -> Arc<Notify> {
        self.thread.bell()
    }

    /// Has it looked at once who it is: soon it may have ended.
    pub(super) fn note(&mut self, now: Timestamp, author: Author) {
        self.forget(now);
        let room = self.seen.len() < MAX_LOOKUPS;
        match self.seen.get_mut(&author) {
            Some(sighting) => sighting.at = now,
            None if author.port == 0 => {
                let culprit = nobody(author);
                self.seen
                    .extend(culprit.map(|culprit| (author, Sighting { at: now, culprit: Some(culprit) })));
            }
            // Without the thread nobody is known.
            None if room && self.thread.ask(author) => {
                self.seen.insert(author, Sighting { at: now, culprit: None });
            }
            None => {}
        }
    }

    /// To be told as soon as it is known who it was.
    pub(super) fn put_back(&mut self, what: PutBack) {
        self.untold.push(what);
    }

    /// What can be told now, with those who changed something of these interfaces; they are reported once.
    pub(super) fn told(&mut self, now: Timestamp) -> Vec<(PutBack, Vec<Culprit>)> {
        while let Some((author, culprit)) = self.thread.answer() {
            match culprit {
                Some(culprit) => {
                    if let Some(sighting) = self.seen.get_mut(&author) {
                        sighting.culprit = Some(culprit);
                    }
                }
                None => drop(self.seen.remove(&author)),
            }
        }
        self.forget(now);
        let seen = &self.seen;
        let sought = |what: &PutBack| {
            seen.iter().any(|(author, sighting)| what.concerns(author) && sighting.culprit.is_none())
        };
        let ready: Vec<PutBack> =
            self.untold.extract_if(.., |what| what.until <= now || !sought(what)).collect();
        ready.into_iter().map(|what| self.reported(what)).collect()
    }

    fn reported(&mut self, what: PutBack) -> (PutBack, Vec<Culprit>) {
        let taken = self.seen.extract_if(.., |author, _| what.concerns(author));
        let found: BTreeSet<Culprit> = taken.filter_map(|(_, sighting)| sighting.culprit).collect();
        (what, found.into_iter().collect())
    }

    /// When something is told at the latest.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.untold.iter().map(|what| what.until).min()
    }

    fn forget(&mut self, now: Timestamp) {
        self.seen.retain(|_, sighting| now.since(sighting.at) < MEMORY);
    }
}

/// No program: the kernel itself, if that is known.
fn nobody(author: Author) -> Option<Culprit> {
    let class = if author.down { Some(Class::LinkDown) } else { author.protocol.and_then(maker) };
    class.filter(|class| matches!(class, Class::LinkDown | Class::Kernel)).map(unseen)
}

const fn unseen(class: Class) -> Culprit {
    Culprit { class, program: None, pid: None }
}

/// `None`: nothing is known of it.
fn culprit(proc: &Path, author: Author) -> Option<Culprit> {
    if author.port == 0 {
        return nobody(author);
    }
    let by_route = author.protocol.and_then(maker).filter(|class| *class != Class::Kernel);
    let Some(inode) = socket_of(proc, author.port) else {
        // A program that can be seen no more.
        return Some(unseen(by_route.unwrap_or(Class::Command)));
    };
    let Some((pid, program)) = holder(proc, author.port, &inode) else {
        // Perhaps it has ended in between.
        let runs = socket_of(proc, author.port).as_ref() == Some(&inode);
        return Some(unseen(by_route.unwrap_or(if runs { Class::Program } else { Class::Command })));
    };
    let by_name = PROGRAMS.iter().find(|(name, _)| *name == program).map(|(_, class)| *class);
    let class = match by_name {
        // In whose hands it is only a tool.
        Some(Class::Command) | None => by_route.or(by_name).unwrap_or(Class::Program),
        Some(class) => class,
    };
    Some(Culprit { class, program: Some(program), pid: Some(pid) })
}

/// What a route's protocol tells of its maker (linux/rtnetlink.h); `RTPROT_BOOT` and `RTPROT_STATIC` are used by anybody.
const fn maker(protocol: u8) -> Option<Class> {
    const RTPROT_DHCP: u8 = 16;
    match protocol {
        // RTPROT_REDIRECT and RTPROT_RA. RTPROT_KERNEL only follows from an address.
        1 | 9 => Some(Class::Kernel),
        RTPROT_DHCP => Some(Class::DhcpClient),
        // RTPROT_GATED to RTPROT_KEEPALIVED, and those registered since
        8 | 10..=15 | 17 | 18 | 42 | 99 | 186..=192 => Some(Class::RoutingDaemon),
        _ => None,
    }
}

/// The inode of the socket that has a port now.
fn socket_of(proc: &Path, port: u32) -> Option<String> {
    let table = fs::read_to_string(proc.join("thread-self").join(SOCKETS)).ok()?;
    table.lines().skip(1).find_map(|line| {
        // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
        let mut fields = line.split_whitespace().skip(1);
        let route = fields.next() == Some("0");
        let ours = fields.next().and_then(|pid| pid.parse().ok()) == Some(port);
        (route && ours).then(|| fields.last().map(str::to_owned)).flatten()
    })
}

/// The process whose number a port has, unless it is seen not to hold the socket.
fn holder(proc: &Path, port: u32, inode: &str) -> Option<(u32, String)> {
    let candidates = [port, port & ((1 << LIBNL_PID_BITS) - 1)];
    candidates.into_iter().find_map(|pid| {
        let dir = proc.join(pid.to_string());
        let name = fs::read_to_string(dir.join("comm")).ok()?;
        let holds = holds(&dir.join("fd"), &format!("socket:[{inode}]"));
        (holds != Some(false)).then(|| (pid, name.trim_end().to_owned()))
    })
}

/// `None`: that may not be looked at (`ptrace(2)`: it takes all privileges that the other has), or not all was.
fn holds(descriptors: &Path, socket: &str) -> Option<bool> {
    let mut entries = fs::read_dir(descriptors).ok()?.flatten().peekable();
    // It is about to end, and has let go of all it had.
    entries.peek()?;
    for entry in entries.by_ref().take(MAX_DESCRIPTORS) {
        match fs::read_link(entry.path()) {
            Ok(link) if link.as_os_str() == socket => return Some(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
            // A descriptor that was closed meanwhile is none.
            Ok(_) | Err(_) => {}
        }
    }
    entries.next().is_none().then_some(false)
}

#[cfg(test)]
mod tests;
