//! `cargo xtask vm --matrix`: what each kernel can do, and how its network drivers tell of a pulled cable, found by trying.
//!
//! The example `capabilities` of the package ipmp-tests runs in each guest and prints one line for each thing:
//! `capability: NAME: yes|no|is: WHY`. Then tests run, and are counted. Here all of this becomes tables.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Options, cable,
    cache::Cache,
    conclude, document,
    guest::Command,
    machine::{self, End},
    name::Request,
    pins,
    qemu::Nic,
    start,
    suite::Tee,
    tiers::{Suite, Tests},
};
use crate::{
    shell::{self, say},
    test::tally::{Counts, sections},
};

/// The program that tries.
const PROBE: &str = "capabilities";
/// The kernel whose drivers are tried, unless one is named: they hardly change from one to the next.
const CABLE_KERNEL: &str = "6.12";

/// One thing a kernel can or cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Capability {
    name: String,
    verdict: Verdict,
    /// Why not, or how; or what it is.
    why: String,
}

/// Whether something works, or what of several things it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    Is,
}

/// One kernel's findings.
#[derive(Debug)]
struct Column {
    kernel: String,
    capabilities: Vec<Capability>,
    tests: Vec<(String, Counts)>,
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    columns: Vec<Column>,
    rows: Vec<cable::Row>,
    accelerator: String,
    /// Tests that failed, and machines that gave no answer.
    failures: usize,
}

/// Tries every pinned kernel, or the one that was named, and writes the tables; the exit status tells whether something
/// failed.
pub(super) fn run(cache: &Cache, options: &Options) -> Result<u8> {
    let (requests, cables) = match &options.kernel {
        Some(kernel) => (vec![kernel.parse()?], kernel.parse()?),
        None => (pins::all()?.into_iter().map(|pin| pin.request).collect(), CABLE_KERNEL.parse()?),
    };
    let tests = Tests::build()?;
    shell::step(
        "building the probe",
        shell::cargo().args(["build", "--quiet", "--package", "ipmp-tests", "--example", PROBE]),
    )?;
    let probe = shell::target_dir("debug").join("examples").join(PROBE);
    let mut whole = tests.command(Suite::Wide)?;
    whole.first(&[probe.canonicalize().with_context(|| probe.display().to_string())?]);
    let mut findings = Findings::default();
    let plain = Options { nic: Vec::new(), ..options.clone() };
    for request in requests {
        let answer = try_out(cache, &request, &whole, &plain).and_then(|(kernel, output, accelerator)| {
            findings.accelerator = accelerator;
            let capabilities = parse(&output).with_context(|| kernel.clone())?;
            Ok(Column { kernel, capabilities, tests: sections(&output) })
        });
        findings.take(answer, options, |findings, column| {
            findings.failures += column.tests.iter().map(|(_, counts)| counts.failed).sum::<usize>();
            findings.columns.push(column);
        })?;
    }
    let nics = if options.nic.is_empty() { Nic::ALL.to_vec() } else { options.nic.clone() };
    let pull = tests.command(Suite::Cable)?;
    for nic in nics {
        let machine = Options { nic: vec![nic; cable::NEEDED], ..options.clone() };
        let answer = try_out(cache, &cables, &pull, &machine).and_then(|(kernel, output, _)| {
            cable::parse(&kernel, &output).with_context(|| format!("{nic:?}"))
        });
        findings.take(answer, options, |findings, row| findings.rows.push(row))?;
    }
    if options.write {
        say(&format!("{} is written", document::PATH));
    } else {
        let Findings { columns, rows, accelerator, .. } = &findings;
        print!("{}", document::page(&render(columns), &cable::render(rows), accelerator, "this day"));
    }
    Ok(u8::from(findings.failures > 0))
}

impl Findings {
    /// Adds what a machine answered, and writes all there is. One that gave no answer is told of, and leaves a gap.
    fn take<T>(
        &mut self,
        answer: Result<T>,
        options: &Options,
        add: impl FnOnce(&mut Self, T),
    ) -> Result<()> {
        match answer {
            Ok(found) => add(self, found),
            Err(error) if machine::interrupted() => return Err(error),
            Err(error) => {
                self.failures += 1;
                say(&format!("no answer: {error:#}"));
            }
        }
        if options.write {
            document::write(&render(&self.columns), &cable::render(&self.rows), &self.accelerator)?;
        }
        Ok(())
    }
}

/// Runs a command under a kernel: its name, what the command printed, and who executed the guest's instructions.
fn try_out(
    cache: &Cache,
    request: &Request,
    command: &Command,
    options: &Options,
) -> Result<(String, String, String)> {
    let kernel = cache.provide(request)?;
    let kept = kept(kernel.name.as_str(), &options.nic);
    if options.resume
        && let Ok(text) = fs::read_to_string(&kept)
        && let Some((how, output)) = text.split_once('\n')
    {
        say(&format!("{}: taken from {}", kernel.name, kept.display()));
        return Ok((kernel.name.to_string(), output.to_owned(), how.to_owned()));
    }
    // The tables have standard output for themselves.
    let mut output = Tee::new(std::io::stderr());
    let run = start(cache, &kernel, options, command, &mut output)?;
    let name = kernel.name.to_string();
    // A failed test is a finding; a machine without a status is none.
    if !matches!(run.end, End::Status(_)) {
        bail!("{name}: ended with status {}", conclude(&kernel, run.end));
    }
    let (how, output) = (run.accelerator.to_owned(), output.text());
    fs::create_dir_all(kept.parent().context("a directory")?).context("keeping a guest's output")?;
    fs::write(&kept, format!("{how}\n{output}")).with_context(|| kept.display().to_string())?;
    Ok((name, output, how))
}

/// Where a guest's output is kept, for `--resume`.
fn kept(kernel: &str, nics: &[Nic]) -> PathBuf {
    let nic = nics.first().map_or_else(String::new, |nic| format!("-{}", nic.driver()));
    shell::target_dir("vm-matrix").join(format!("{kernel}{nic}"))
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
        bail!("`{line}` is not NAME: yes|no|is: WHY");
    };
    let verdict = match verdict {
        "yes" => Verdict::Yes,
        "no" => Verdict::No,
        "is" => Verdict::Is,
        other => bail!("`{line}`: `{other}` is none of yes, no, is"),
    };
    Ok(Capability { name: name.to_owned(), verdict, why: parts.next().unwrap_or_default().to_owned() })
}

/// A row for each capability and each test binary, a column for each kernel, and below why something does not work.
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
    let mut binaries: Vec<&str> = Vec::new();
    for (name, _) in columns.iter().flat_map(|column| &column.tests) {
        if !binaries.contains(&name.as_str()) {
            binaries.push(name);
        }
    }
    for name in binaries {
        let _ = write!(text, "| tests: {name} |");
        for column in columns {
            let found = column.tests.iter().find(|(tests, _)| tests == name);
            let _ =
                write!(text, " {} |", found.map_or_else(|| "not tried".to_owned(), |(_, c)| c.to_string()));
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
    let word = match capability.verdict {
        Verdict::Yes => "yes",
        Verdict::No => "no",
        Verdict::Is => return capability.why.clone(),
    };
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
