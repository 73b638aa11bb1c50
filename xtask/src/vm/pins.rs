//! The list of kernels in the tree.

use anyhow::{Context as _, Result, ensure};

use super::name::{Name, Request};

const LIST: &str = include_str!("kernels.list");

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// What to say on the command line.
    pub(super) alias: String,
    pub(super) request: Request,
    /// Its releases, best first.
    pub(super) names: Vec<Name>,
}

/// All lines of the list in the tree.
pub(super) fn all() -> Result<Vec<Pin>> {
    parse(LIST).context("xtask/src/vm/kernels.list")
}

/// The pinned releases for a request; none if the list lacks it.
pub(super) fn of(request: &Request) -> Result<Vec<Name>> {
    Ok(all()?.into_iter().find(|pin| pin.request == *request).map(|pin| pin.names).unwrap_or_default())
}

fn parse(list: &str) -> Result<Vec<Pin>> {
    let lines = list.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| pin(line).with_context(|| format!("line {number}")))
        .collect()
}

fn pin(line: &str) -> Result<Pin> {
    let mut words = line.split_whitespace();
    let alias = words.next().context("no alias")?.to_owned();
    let request: Request = alias.parse()?;
    let names: Vec<Name> = words.map(str::parse).collect::<Result<_>>()?;
    ensure!(!names.is_empty(), "`{alias}` has no release");
    for name in &names {
        ensure!(request.accepts(name), "{name} is not a {alias}");
    }
    Ok(Pin { alias, request, names })
}

#[cfg(test)]
mod tests;
