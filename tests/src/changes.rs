//! What the kernel tells of routes, rules and nexthop objects, as ip(8) hears it.

use std::{
    fs,
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

use crate::{
    netns::{Netns, end},
    skip::find_program,
    wait,
};

/// Destinations that mark the log's beginning and end, by the loopback interface.
const MARKS: [&str; 2] = ["198.51.100.1", "198.51.100.2"];

/// Listens from when it was started.
#[derive(Debug)]
pub struct Changes<'a> {
    netns: &'a Netns,
    child: Child,
    file: NamedTempFile,
}

impl<'a> Changes<'a> {
    /// Starts to listen in a namespace.
    ///
    /// # Errors
    /// When ip(8) cannot be run, or hears nothing.
    pub fn start(netns: &'a Netns) -> Result<Self> {
        let file = NamedTempFile::new().context("a file for the log")?;
        let mut command = netns.command(find_program("ip").context("ip(8)")?)?;
        command.args(["-o", "monitor", "rule", "route", "nexthop"]).stdin(Stdio::null());
        let child = command.stdout(file.reopen().context("the log")?).spawn().context("ip monitor")?;
        let changes = Self { netns, child, file };
        changes.mark(MARKS[0])?;
        Ok(changes)
    }

    /// Makes the log show that it has heard everything up to now.
    fn mark(&self, destination: &str) -> Result<()> {
        wait::until("ip monitor hears", || {
            self.netns.batch(&format!("route add {destination} dev lo\nroute del {destination} dev lo"))?;
            Ok(self.text()?.contains(destination))
        })
    }

    fn text(&self) -> Result<String> {
        fs::read_to_string(self.file.path()).context("the log")
    }

    /// What changed since, a line for each, but for routes by the loopback interface, no daemon's business.
    ///
    /// # Errors
    /// When ip(8) has ended.
    pub fn heard(self) -> Result<Vec<String>> {
        self.mark(MARKS[1])?;
        Ok(self.text()?.lines().filter(|line| !line.contains(" dev lo ")).map(str::to_owned).collect())
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
