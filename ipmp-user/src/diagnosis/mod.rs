//! Diagnosis: what on this host, and on its links, gets in the way of IP multipathing. Only looks, never changes a
//! setting; runs in the client (`ipmp status -v`, `ipmp doctor`), so that a slow driver holds up no verdict of the daemon.
//!
//! * `ethtool`, `link`: what the kernel and the drivers say of links.
//! * `judge`: what is wrong with the links of a group; pure.
//! * `place`: the network namespace in which to look.
//! * `host`: what is wrong with the rest of the host.

mod ethtool;
pub mod host;
mod judge;
mod link;
mod netlink;
pub mod place;

use serde::{Deserialize, Serialize};

pub(crate) use self::judge::{error_text, speed_of};
pub use self::{
    ethtool::{Duplex, Modes},
    judge::judge,
    link::{ErrorCounters, LinkReport, read},
};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Failover works, but worse than it could.
    Warning,
    /// Failover, or the daemon, does not work.
    Problem,
}

/// Something that gets in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// For programs: which check found it.
    pub check: String,
    /// What it is about: an interface, a group, or `host`.
    pub subject: String,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// What is known of a link, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What the kernel and the driver say of it.
    pub link: LinkReport,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Finding {
    fn new(severity: Severity, check: &str, subject: &str, [what, why, fix]: [&str; 3]) -> Self {
        let [check, subject, what, why, fix] = [check, subject, what, why, fix].map(str::to_owned);
        Self { severity, check, subject, what, why, fix }
    }
}
