//! One daemon a group: a name that only one process of a network namespace can hold, whatever directories it was given.
//!
//! Abstract socket names (unix(7)) belong to the network namespace, as interfaces do, and end with their process.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

use anyhow::{Context as _, Result, bail};
use caps::Capability;
use nix::sys::socket::{getsockopt, sockopt};

/// Holds the names while it lives.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: BTreeMap<String, Option<UnixListener>>,
}

impl Claims {
    /// Claims these groups besides those that are held already; refused, and nothing claimed, if another daemon has one of
    /// them.
    pub(super) fn add<'a>(&mut self, groups: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut fresh = BTreeMap::new();
        for group in groups.filter(|group| !group.is_empty() && !self.held.contains_key(*group)) {
            fresh.insert(group.to_owned(), claim(group)?);
        }
        self.held.append(&mut fresh);
        Ok(())
    }

    /// Gives all others up.
    pub(super) fn keep(&mut self, is_ours: impl Fn(&str) -> bool) {
        self.held.retain(|group, _| is_ours(group));
    }
}

/// What the names begin with.
const PREFIX: &str = "ipmp/group/";

/// Whether a daemon serves any group in the network namespace of the calling thread. `/proc/net/unix` lists its sockets,
/// abstract names with an `@` (`proc_net(5)`).
pub(crate) fn others_serve() -> bool {
    let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    sockets.lines().any(|line| line.contains(&format!("@{PREFIX}")))
}

/// Everybody may take such a name: somebody who could not move addresses anyway keeps nobody from it.
fn claim(group: &str) -> Result<Option<UnixListener>> {
    let name = SocketAddr::from_abstract_name(format!("{PREFIX}{group}"))
        .with_context(|| format!("group {group}: its name is too long for a socket"))?;
    match UnixListener::bind_addr(&name) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match holder(&name) {
            Some(pid) if may_move_addresses(pid) => {
                bail!("another ipmpd (process {pid}) serves group {group}: stop it first")
            }
            holder => {
                tracing::warn!(group, ?holder, "a process that is no ipmpd holds the socket name of a group");
                Ok(None)
            }
        },
        Err(error) => Err(error).with_context(|| format!("group {group}: its name cannot be claimed")),
    }
}

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
