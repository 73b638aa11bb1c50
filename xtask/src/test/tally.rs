//! Counting what test binaries report.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Read},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result};

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The counts of every binary run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: Vec<(String, Counts)>,
}

impl Tally {
    pub(super) fn add(&mut self, label: &str, counts: Counts) {
        self.rows.push((label.to_owned(), counts));
    }

    pub(super) fn total(&self) -> Counts {
        self.rows.iter().fold(Counts::default(), |sum, (_, counts)| sum.plus(*counts))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, counts) in &self.rows {
            if *counts != Counts::default() {
                writeln!(f, "{label:<44} {counts}")?;
            }
        }
        writeln!(f)?;
        write!(f, "{}", self.total())
    }
}

/// Runs a test binary, shows its output as it comes, and counts.
///
/// A test that skips itself says `SKIPPED: …` on standard error and passes in libtest's eyes.
pub(super) fn watch(command: &mut Command) -> Result<Counts> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (results, skips) = thread::scope(|scope| {
        let errors = scope.spawn(|| {
            let mut skips = 0;
            for_each_line(stderr, |line| {
                eprintln!("{line}");
                skips += usize::from(is_skip(line));
            });
            skips
        });
        let mut results = Vec::new();
        for_each_line(stdout, |line| {
            println!("{line}");
            results.extend(result_line(line));
        });
        (results, errors.join().unwrap_or_default())
    });
    let status = child.wait().context("waiting for a test binary")?;
    Ok(judge(&results, skips, status.success()))
}

fn for_each_line(stream: Option<impl Read>, mut see: impl FnMut(&str)) {
    let Some(stream) = stream else { return };
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        see(&String::from_utf8_lossy(&line));
    }
}

/// What begins the output of a test binary, where the outputs of several follow one another.
pub(crate) const HEADING: &str = "==> ";

/// The counts of each test binary in the outputs of several, each below its [`HEADING`]: standard output and errors in
/// one. A binary that did not come to its closing line is one failure.
pub(crate) fn sections(output: &str) -> Vec<(String, Counts)> {
    let mut found: Vec<(String, Vec<Counts>, usize)> = Vec::new();
    for line in output.lines() {
        if let Some(name) = line.strip_prefix(HEADING) {
            found.push((name.to_owned(), Vec::new(), 0));
        } else if let Some((_, results, skips)) = found.last_mut() {
            results.extend(result_line(line));
            // A single test at a time leaves its name before what it prints.
            *skips += usize::from(is_skip(line.split_once(" ... ").map_or(line, |(_, rest)| rest)));
        }
    }
    let judged = |(name, results, skips): (String, Vec<Counts>, usize)| {
        let complete = !results.is_empty();
        (name, judge(&results, skips, complete))
    };
    found.into_iter().map(judged).collect()
}

/// Whether a test says by this line that it skipped itself.
fn is_skip(line: &str) -> bool {
    line.starts_with("SKIPPED: ")
}

/// The counts of libtest's closing line; tests marked `#[ignore]` count as skipped.
fn result_line(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        rest.split([';', '.']).find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    Some(Counts { passed: count(" passed")?, failed: count(" failed")?, skipped: count(" ignored")? })
}

/// The counts of one run. A binary that ends badly without reporting a failed test (a crash, a compile error) is one
/// failure.
fn judge(results: &[Counts], skips: usize, success: bool) -> Counts {
    let mut sum = results.iter().fold(Counts::default(), |sum, counts| sum.plus(*counts));
    sum.passed = sum.passed.saturating_sub(skips);
    sum.skipped += skips;
    if !success && sum.failed == 0 {
        sum.failed = 1;
    }
    sum
}

#[cfg(test)]
mod tests;
