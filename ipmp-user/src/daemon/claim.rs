//! One daemon a group, and one an interface: names that only one process of a network namespace can hold, whatever
//! directories it was given.
//!
//! Abstract socket names (unix(7)) belong to the network namespace, as interfaces do, and end with their process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

use anyhow::{Context as _, Result, bail};
use caps::Capability;
use ipmp_common::engine::config::Config;
use nix::sys::socket::{getsockopt, sockopt};

/// What a daemon has for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Group(String),
    /// Also while it is detached or absent: it is to come back to this daemon.
    Interface(String),
}

impl Claim {
    fn socket(&self) -> String {
        match self {
            Self::Group(name) => format!("{GROUP_PREFIX}{name}"),
            Self::Interface(name) => format!("ipmp/interface/{name}"),
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group {name}"),
            Self::Interface(name) => write!(f, "interface {name}"),
        }
    }
}

/// The groups and their members. Interfaces that are only watched may be watched by many.
fn wanted(config: &Config) -> BTreeSet<Claim> {
    let groups = || config.groups.iter().filter(|group| !group.is_anonymous());
    let interfaces = groups().flat_map(|group| &group.interfaces);
    groups()
        .map(|group| Claim::Group(group.name.clone()))
        .chain(interfaces.map(|interface| Claim::Interface(interface.name.clone())))
        .collect()
}

/// Holds the names while it lives.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: BTreeMap<Claim, Option<UnixListener>>,
}

impl Claims {
    /// Claims what a configuration names, besides what is held already; refused, and nothing claimed, if another daemon
    /// has any of it.
    pub(super) fn add(&mut self, config: &Config) -> Result<()> {
        let mut fresh = BTreeMap::new();
        for claim in wanted(config).into_iter().filter(|claim| !self.held.contains_key(claim)) {
            let socket = take(&claim)?;
            fresh.insert(claim, socket);
        }
        self.held.append(&mut fresh);
        Ok(())
    }

    /// Gives up what a configuration does not name.
    pub(super) fn keep(&mut self, config: &Config) {
        let wanted = wanted(config);
        self.held.retain(|claim, _| wanted.contains(claim));
    }
}

/// What the names begin with.
const GROUP_PREFIX: &str = "ipmp/group/";

/// Whether a daemon serves any group in the network namespace of the calling thread. `/proc/net/unix` lists its sockets,
/// abstract names with an `@` (`proc_net(5)`).
pub(crate) fn others_serve() -> bool {
    let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    sockets.lines().any(|line| line.contains(&format!("@{GROUP_PREFIX}")))
}

/// Everybody may take such a name: somebody who could not move addresses anyway keeps nobody from it.
fn take(claim: &Claim) -> Result<Option<UnixListener>> {
    let name = SocketAddr::from_abstract_name(claim.socket())
        .with_context(|| format!("{claim}: its name is too long for a socket"))?;
    match UnixListener::bind_addr(&name) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match holder(&name) {
            Some(UNSEEN) => {
                bail!("another ipmpd (in another PID namespace) serves {claim}: stop it first")
            }
            Some(pid) if may_move_addresses(pid) => {
                bail!("another ipmpd (process {pid}) serves {claim}: stop it first")
            }
            holder => {
                tracing::warn!(%claim, ?holder, "a process that is no ipmpd holds the socket name of it");
                Ok(None)
            }
        },
        Err(error) => Err(error).with_context(|| format!("{claim}: its name cannot be claimed")),
    }
}

/// Who is in a PID namespace that is not below ours has no number here (`pid_namespaces(7)`). Whether it may move addresses
/// cannot be seen: two daemons for one group would be worse than none.
const UNSEEN: i32 = 0;

fn holder(name: &SocketAddr) -> Option<i32> {
    let stream = UnixStream::connect_addr(name).ok()?;
    getsockopt(&stream, sockopt::PeerCredentials).ok().map(|peer| peer.pid())
}

/// By `CapEff` in its status (`proc_pid_status(5)`).
fn may_move_addresses(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or_default();
    bits & Capability::CAP_NET_ADMIN.bitmask() != 0
}

#[cfg(test)]
mod tests;
