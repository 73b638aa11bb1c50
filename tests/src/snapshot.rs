//! Addresses and routes of a namespace, comparable: what IPMP must leave exactly as it found it.

use std::fmt;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::netns::Netns;

/// Addresses, rules and routes as iproute2 shows them, in the kernel's order.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    lines: Vec<String>,
    of_others: bool,
}

impl Snapshot {
    /// Takes `ip -j addr`, and all rules and tables of both families.
    ///
    /// # Errors
    /// When ip(8) refuses or prints something that is not JSON.
    pub fn take(netns: &Netns) -> Result<Self> {
        let mut lines = Vec::new();
        for what in [
            "-j addr show",
            "-j -4 rule show",
            "-j -6 rule show",
            "-j -4 route show table all",
            "-j -6 route show table all",
        ] {
            let text = netns.ip(what)?;
            let Value::Array(entries) = serde_json::from_str(&text).with_context(|| format!("ip {what}"))?
            else {
                anyhow::bail!("ip {what} printed no list");
            };
            lines.extend(entries.iter().flat_map(|entry| describe(what, entry)));
        }
        Ok(Self { lines, of_others: false })
    }

    /// The same without what the daemon made to spread outbound flows, which is marked as its own; nor does it count in what
    /// this is compared with.
    #[must_use]
    pub fn of_others(mut self) -> Self {
        self.of_others = true;
        self.lines.retain(|line| !line.contains(r#""protocol":"73""#));
        self
    }

    /// The same without the order of what the kernel makes on every link by itself, `fe80::/64` and `ff00::/8`: that is the order
    /// in which its work queue found them up.
    #[must_use]
    pub fn without_order_of_links(mut self) -> Self {
        let own =
            |line: &String| line.contains(r#""dst":"fe80::/64""#) || line.contains(r#""dst":"ff00::/8""#);
        let mut links: Vec<String> = self.lines.extract_if(.., |line| own(line)).collect();
        links.sort();
        self.lines.append(&mut links);
        self
    }

    /// What differs, line by line; empty if nothing does.
    pub fn difference(&self, after: &Self) -> String {
        let after = if self.of_others { &after.clone().of_others() } else { after };
        if self == after {
            return String::new();
        }
        let missing =
            self.lines.iter().filter(|line| !after.lines.contains(line)).map(|line| format!("- {line}"));
        let added =
            after.lines.iter().filter(|line| !self.lines.contains(line)).map(|line| format!("+ {line}"));
        let text: Vec<String> = missing.chain(added).collect();
        if text.is_empty() {
            let moved: Vec<String> = self
                .lines
                .iter()
                .zip(&after.lines)
                .filter(|(before, after)| before != after)
                .map(|(before, after)| format!("was {before}\nnow {after}"))
                .collect();
            return format!("only the order differs:\n{}", moved.join("\n"));
        }
        text.join("\n")
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// One line for an interface and one for each of its addresses, so that a difference is readable; one for a route.
fn describe(what: &str, entry: &Value) -> Vec<String> {
    let mut entry = entry.clone();
    without_volatile(&mut entry);
    let Some(Value::Array(addresses)) = entry.as_object_mut().and_then(|map| map.remove("addr_info")) else {
        return vec![format!("{what}: {entry}")];
    };
    let name = entry["ifname"].as_str().unwrap_or("?").to_owned();
    let mut lines = vec![format!("link: {entry}")];
    lines.extend(addresses.iter().map(|address| format!("address on {name}: {address}")));
    lines
}

/// Removes what says nothing about addresses and routes: the remaining life of a learned or cached route, and the number
/// of the XDP program on a link, which is another after each start of the daemon.
fn without_volatile(entry: &mut Value) {
    if let Value::Object(map) = entry {
        map.remove("expires");
        map.remove("xdp");
    }
}

#[cfg(test)]
mod tests;
