//! `cargo xtask vm --matrix`: what each kernel can do, found by trying.
//!
//! The example `capabilities` of the package ipmp-tests runs in each guest and prints one line for each thing:
//! `capability: NAME: yes|no: WHY`. Here these lines become a table.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Options, cache::Cache, conclude, guest::Command, name::Request, pins, start};
use crate::{
    setup,
    shell::{self, say},
};

/// The program that tries.
const PROBE: &str = "capabilities";

/// One thing a kernel can or cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Capability {
    name: String,
    works: bool,
    /// Why not, or how.
    why: String,
}

/// One kernel's findings.
#[derive(Debug)]
struct Column {
    kernel: String,
    capabilities: Vec<Capability>,
}

/// Tries every pinned kernel, or the one that was named, and writes the table; the exit status tells of the first
/// machine that failed.
pub(super) fn run(cache: &Cache, options: &Options) -> Result<u8> {
    let requests: Vec<Request> = match &options.kernel {
        Some(kernel) => vec![kernel.parse()?],
        None => pins::all()?.into_iter().map(|pin| pin.request).collect(),
    };
    setup::run(setup::For::Building)?;
    shell::step(
        "building the probe",
        shell::cargo().args(["build", "--quiet", "--package", "ipmp-tests", "--example", PROBE]),
    )?;
    let probe = shell::target_dir("debug").join("examples").join(PROBE);
    let probe = probe.canonicalize().with_context(|| probe.display().to_string())?;
    let mut columns = Vec::new();
    for request in requests {
        let kernel = cache.provide(&request)?;
        let command = Command::new(Path::new("/"), &[&probe]);
        let mut output = Vec::new();
        let run = start(cache, &kernel, options, &command, &mut output)?;
        let status = conclude(&kernel, run.end);
        let output = String::from_utf8_lossy(&output);
        if status != 0 {
            say(&format!("{}: {PROBE} ended with status {status}: {output}", kernel.name));
            return Ok(status);
        }
        let capabilities = parse(&output).with_context(|| kernel.name.to_string())?;
        columns.push(Column { kernel: kernel.name.to_string(), capabilities });
    }
    let table = render(&columns);
    match &options.output {
        Some(path) => fs::write(path, table).with_context(|| format!("writing {}", path.display()))?,
        None => print!("{table}"),
    }
    Ok(0)
}

/// The probe's lines; all else it prints is passed over.
fn parse(output: &str) -> Result<Vec<Capability>> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("capability: "));
    let found = lines.map(capability).collect::<Result<Vec<_>>>()?;
    ensure!(!found.is_empty(), "`{PROBE}` reported nothing");
    Ok(found)
}

fn capability(line: &str) -> Result<Capability> {
    let mut parts = line.splitn(3, ": ");
    let (Some(name), Some(verdict)) = (parts.next(), parts.next()) else {
        bail!("`{line}` is not NAME: yes|no: WHY");
    };
    let works = match verdict {
        "yes" => true,
        "no" => false,
        other => bail!("`{line}`: `{other}` is neither yes nor no"),
    };
    Ok(Capability { name: name.to_owned(), works, why: parts.next().unwrap_or_default().to_owned() })
}

/// A row for each capability, a column for each kernel, and below why something does not work.
fn render(columns: &[Column]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for capability in columns.iter().flat_map(|column| &column.capabilities) {
        if !names.contains(&capability.name.as_str()) {
            names.push(&capability.name);
        }
    }
    let mut notes: Vec<&str> = Vec::new();
    let mut text = String::from("| |");
    for column in columns {
        let _ = write!(text, " {} |", column.kernel);
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(columns.len()));
    text.push('\n');
    for name in names {
        let _ = write!(text, "| {name} |");
        for column in columns {
            let found = column.capabilities.iter().find(|capability| capability.name == name);
            let cell =
                found.map_or_else(|| "not tried".to_owned(), |capability| cell(capability, &mut notes));
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    for (index, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n{}. {note}", index + 1);
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    text
}

fn cell<'a>(capability: &'a Capability, notes: &mut Vec<&'a str>) -> String {
    let word = if capability.works { "yes" } else { "no" };
    if capability.why.is_empty() {
        return word.to_owned();
    }
    let known = notes.iter().position(|note| *note == capability.why);
    let index = known.unwrap_or_else(|| {
        notes.push(&capability.why);
        notes.len() - 1
    });
    format!("{word} ({})", index + 1)
}

#[cfg(test)]
mod tests;
