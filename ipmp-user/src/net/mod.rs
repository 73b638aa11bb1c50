//! The kernel's networking state: seeing it, and moving addresses and routes between the members of a group.
//!
//! * [`inventory`]: what the kernel has, in ordered maps, filled by a dump and kept by a monitor.
//! * [`monitor`]: the non-blocking multicast socket that keeps an inventory current.
//! * [`author`]: who asked for a change that the monitor saw.
//! * [`nexthop`]: nexthop objects, which the netlink crate does not know.
//! * [`resolve`]: asks the kernel for a neighbour's hardware address without needing a route.
//! * [`base`]: the home state of every member, learned from the kernel.
//! * `broadcast`: by which member directed broadcasts leave stays as it was.
//! * [`plan`]: pure; inventory, base and what is wanted give an ordered list of operations.
//! * [`apply`]: carries the plan out, make before break, in its own thread.
//! * [`state`]: the base on disk, so that a restart while failed over knows homes and originals.
//! * [`leftovers`]: what a daemon that has ended left: test addresses, neighbour entries, data addresses away from home.
//! * [`rule`]: a policy rule, in a form that can be compared and sent back.
//! * [`rules`]: policy rules of a member, also for its stand-in.
//! * [`memberships`]: multicast groups on the member that stands in for another.
//! * [`spread`]: outbound flows over all active members.
//! * [`sysctl`]: the settings members need, remembered and restored.
//!
//! Everything acts in the network namespace of the calling thread.

pub mod address;
pub mod apply;
pub mod author;
pub mod base;
mod broadcast;
pub mod counters;
#[cfg(test)]
mod fixtures;
pub mod inventory;
pub mod leftovers;
pub mod memberships;
pub mod monitor;
pub mod nexthop;
pub mod plan;
pub mod resolve;
pub mod route;
pub mod rule;
pub mod rules;
pub mod socket;
pub mod spread;
pub mod state;
pub mod sysctl;

use std::{collections::BTreeMap, io, path::PathBuf};

pub(crate) use state::{put_aside, write_atomically};

/// What says in the kernel's tables that we made an entry: 73 is none of the protocols that
/// include/uapi/linux/rtnetlink.h, `linux/if_addr.h` and iproute2's `rt_protos` name.
const MARK: u8 = 0x49;

/// Other names for known interfaces: from the former name to the present one.
pub type Renames = BTreeMap<String, String>;

/// What an interface is called now.
pub(crate) fn renamed(renames: &Renames, name: &str) -> String {
    renames.get(name).map_or(name, String::as_str).to_owned()
}

/// What went wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error("{}{}", io::Error::from_raw_os_error(*errno), text.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
    Refused {
        /// The kernel's errno.
        errno: i32,
        /// The kernel's own explanation (extended ACK), where it gave one.
        text: Option<String>,
    },
    /// A dump stayed inconsistent although it was repeated.
    #[error("the kernel's tables kept changing while they were read; try again")]
    Interrupted,
    /// A setting below `/proc/sys` cannot be read or written.
    #[error("setting {}: {source}", path.display())]
    Setting {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state file cannot be used; `state` says what was done with it.
    #[error("state file {path}: {what}")]
    State {
        /// The file.
        path: String,
        /// What is wrong and what was done.
        what: String,
    },
}

impl NetError {
    pub(crate) fn io(what: &'static str, source: io::Error) -> Self {
        Self::Io { what, source }
    }

    /// The errno behind it, 0 if there is none.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Io { source, .. } | Self::Setting { source, .. } => source.raw_os_error().unwrap_or(0),
            Self::Refused { errno, .. } => *errno,
            Self::Interrupted => libc::EAGAIN,
            Self::State { .. } => 0,
        }
    }
}
