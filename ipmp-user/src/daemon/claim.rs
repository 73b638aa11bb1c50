//! One daemon a group: a name that only one process of a network namespace can hold, whatever directories it was given.
//!
//! Abstract socket names (unix(7)) belong to the network namespace, as interfaces do, and end with their process.

use std::{
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
#[derive(Debug)]
pub(super) struct Claims {
    _listeners: Vec<UnixListener>,
}

impl Claims {
    /// Claims these groups; refused if another daemon has one of them.
    pub(super) fn of<'a>(groups: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut listeners = Vec::new();
        for group in groups.filter(|group| !group.is_empty()) {
            listeners.extend(claim(group)?);
        }
        Ok(Self { _listeners: listeners })
    }
}

/// Everybody may take such a name: somebody who could not move addresses anyway keeps nobody from it.
fn claim(group: &str) -> Result<Option<UnixListener>> {
    let name = SocketAddr::from_abstract_name(format!("ipmp/group/{group}"))
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
