//! Which interfaces an address stood on, from the kernel's own notifications as ip(8) tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    netns::{Netns, end},
    skip::find_program,
    wait,
};

/// Addresses that mark the log's beginning and end; no daemon has to do with them.
const MARKS: [&str; 2] = ["127.0.0.101/32", "127.0.0.102/32"];

/// What happened to an address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The interface.
    pub interface: String,
    /// The address with its prefix length.
    pub address: String,
    /// Whether it went; else it came, or changed.
    pub gone: bool,
}

/// Listens from when it was started.
#[derive(Debug)]
pub struct AddressLog<'a> {
    netns: &'a Netns,
    child: Child,
    file: NamedTempFile,
    before: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> AddressLog<'a> {
    /// Starts to listen in a namespace.
    ///
    /// # Errors
    /// When ip(8) cannot be run, or hears nothing.
    pub fn start(netns: &'a Netns) -> Result<Self> {
        let file = NamedTempFile::new().context("a file for the log")?;
        let mut command = netns.command(find_program("ip").context("ip(8)")?)?;
        let child = command
            .args(["-o", "monitor", "address"])
            .stdin(Stdio::null())
            .stdout(file.reopen().context("the log")?)
            .spawn()
            .context("ip monitor")?;
        let before = standing(netns)?;
        let log = Self { netns, child, file, before };
        log.mark(MARKS[0])?;
        Ok(log)
    }

    /// Makes the log show that it has heard everything up to now.
    fn mark(&self, address: &str) -> Result<()> {
        wait::until("ip monitor hears", || {
            self.netns.batch(&format!("address add {address} dev lo\naddress del {address} dev lo"))?;
            Ok(self.text()?.contains(address))
        })
    }

    fn text(&self) -> Result<String> {
        fs::read_to_string(self.file.path()).context("the log")
    }

    /// What happened so far on interfaces other than the loopback one.
    ///
    /// # Errors
    /// When ip(8) has ended.
    pub fn steps(&self) -> Result<Vec<Step>> {
        self.mark(MARKS[1])?;
        Ok(self.text()?.lines().filter_map(step).filter(|step| step.interface != "lo").collect())
    }

    /// Fails if one of these addresses was on no interface at some moment.
    ///
    /// # Errors
    /// Names the address and what happened.
    pub fn ensure_never_nowhere(&self, addresses: &[String]) -> Result<()> {
        let steps = self.steps()?;
        for address in addresses {
            let mut on = self.before.get(address).cloned().unwrap_or_default();
            for step in steps.iter().filter(|step| step.address == *address) {
                if step.gone {
                    on.remove(&step.interface);
                } else {
                    on.insert(step.interface.clone());
                }
                if on.is_empty() {
                    bail!("{address} was nowhere; what happened: {steps:#?}");
                }
            }
            if on.is_empty() {
                bail!("{address} was nowhere all the time");
            }
        }
        Ok(())
    }
}

impl Drop for AddressLog<'_> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Each address, with prefix length, and the interfaces it is on.
///
/// # Errors
/// When ip(8) refuses.
pub fn standing(netns: &Netns) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let links: Value = serde_json::from_str(&netns.ip("-j address show")?).context("ip -j address")?;
    let mut standing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for link in links.as_array().into_iter().flatten() {
        for info in link["addr_info"].as_array().into_iter().flatten() {
            if let (Some(name), Some(local)) = (link["ifname"].as_str(), info["local"].as_str()) {
                let address = format!("{local}/{}", info["prefixlen"]);
                standing.entry(address).or_default().insert(name.to_owned());
            }
        }
    }
    Ok(standing)
}

/// Of a line such as `Deleted 101: eth0    inet 10.0.0.1/24 brd …`.
fn step(line: &str) -> Option<Step> {
    let (gone, rest) = line.strip_prefix("Deleted ").map_or((false, line), |rest| (true, rest));
    let mut words = rest.split_ascii_whitespace();
    let _ifindex = words.next()?.strip_suffix(':')?;
    let interface = words.next()?.to_owned();
    words.next().filter(|family| family.starts_with("inet"))?;
    Some(Step { interface, address: words.next()?.to_owned(), gone })
}
