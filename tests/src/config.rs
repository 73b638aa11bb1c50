//! Writes `ipmpd.toml` for a lab.

use std::fmt::{self, Write as _};

use crate::{
    pace,
    topology::{PREFIX4, PREFIX6, data4, data6, peer_link_local, peer4, test4},
};

/// The group that every lab configures.
pub const GROUP: &str = "ipmp0";

/// One member of the group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in the host.
    pub name: String,
    /// Data addresses with prefix length, whose home it is.
    pub data: Vec<String>,
    /// Test addresses.
    pub test: Vec<String>,
    /// Whether it waits for another to fail.
    pub standby: bool,
}

/// A configuration file with one group.
#[derive(Clone, Debug)]
pub struct Config {
    /// The failure detection time in milliseconds.
    pub fdt_ms: u64,
    /// Further keys of the group: name and value, as they are written in the file.
    pub keys: Vec<(String, String)>,
    /// Probe targets; empty = discovered.
    pub targets: Vec<String>,
    /// Whether the addresses are withdrawn when all members fail.
    pub withdraw: bool,
    /// The members.
    pub members: Vec<Member>,
}

impl Config {
    /// Two members, each with data addresses of both families and a test address.
    pub fn active_active(fdt_ms: u64) -> Self {
        Self::new(fdt_ms, 2, 2)
    }

    /// Two members, the second on standby.
    pub fn active_standby(fdt_ms: u64) -> Self {
        let mut config = Self::new(fdt_ms, 2, 1);
        config.members[1].standby = true;
        config
    }

    /// The group that fits a lab with so many members, of which so many hold data addresses. On a slow machine the failure
    /// detection time is longer than asked for, see [`pace`].
    pub fn new(fdt_ms: u64, members: usize, data_members: usize) -> Self {
        let member = |n: usize| Member {
            name: format!("eth{n}"),
            data: if n < data_members {
                vec![format!("{}/{PREFIX4}", data4(n)), format!("{}/{PREFIX6}", data6(n))]
            } else {
                Vec::new()
            },
            test: vec![test4(n).to_string()],
            standby: false,
        };
        Self {
            fdt_ms: fdt_ms * u64::from(pace::slowness()),
            keys: Vec::new(),
            targets: vec![peer4(0).to_string(), peer_link_local(0).to_string()],
            withdraw: false,
            members: (0..members).map(member).collect(),
        }
    }

    /// The same without test addresses and targets: only carrier counts.
    #[must_use]
    pub fn link_based(mut self) -> Self {
        self.targets.clear();
        for member in &mut self.members {
            member.test.clear();
        }
        self
    }

    /// The same without targets: they are discovered.
    #[must_use]
    pub fn discovering(mut self) -> Self {
        self.targets.clear();
        self
    }

    /// The same with another key of the group; its value as it is written in the file.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.keys.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same with only the targets and data addresses of one family, so that only it decides.
    #[must_use]
    pub fn only(mut self, ipv6: bool) -> Self {
        self.targets.retain(|target| target.contains(':') == ipv6);
        for member in &mut self.members {
            if ipv6 {
                member.test.clear();
            }
            member.data.retain(|address| address.contains(':') == ipv6);
        }
        self
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |values: &[String]| {
            values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ")
        };
        let mut text = format!("[group.{GROUP}]\nfailure-detection-time = \"{}ms\"\n", self.fdt_ms);
        for (key, value) in &self.keys {
            writeln!(text, "{key} = {value}")?;
        }
        if !self.targets.is_empty() {
            writeln!(text, "targets = [{}]", quoted(&self.targets))?;
        }
        if self.withdraw {
            writeln!(text, "on-group-failure = \"fail\"")?;
        }
        for member in &self.members {
            writeln!(text, "\n[group.{GROUP}.interface.{}]", member.name)?;
            if !member.data.is_empty() {
                writeln!(text, "data = [{}]", quoted(&member.data))?;
            }
            if !member.test.is_empty() {
                writeln!(text, "test = [{}]", quoted(&member.test))?;
            }
            if member.standby {
                writeln!(text, "standby = true")?;
            }
        }
        f.write_str(&text)
    }
}
