//! A suite of tests under a kernel, as a part of `cargo xtask test`: counted with the others, and skipped where there can
//! be no such machine.

use std::io::{self, Write};

use anyhow::{Context as _, Result};

use super::{
    Options, cable,
    cache::{Cache, Kernel},
    conclude, machine,
    name::Request,
    needs,
    qemu::Nic,
    start,
    tiers::{Suite, Tests},
};
use crate::test::tally::{Counts, sections};

/// Seconds for one machine on a busy host. The suite takes three to ten minutes.
const LIMIT_S: u64 = 1800;

/// What came of it.
pub(crate) enum Outcome {
    /// The counts of each test binary.
    Ran(Vec<(String, Counts)>),
    /// There can be no such machine here.
    Impossible(anyhow::Error),
}

/// Runs the small suite under a kernel, or the wide one, and shows its output.
///
/// # Errors
/// When there is no such name for a kernel, or the tests cannot be built.
pub(crate) fn run(kernel: &str, wide: bool) -> Result<Outcome> {
    let request = kernel.parse()?;
    let (cache, kernel) = match provide(&request) {
        Ok(provided) => provided,
        Err(error) => return Ok(Outcome::Impossible(error)),
    };
    let tests = Tests::build()?;
    let nic = if wide { vec![Nic::VirtioNet; cable::NEEDED] } else { Vec::new() };
    let options = Options { nic, ..Options::of_machine(LIMIT_S) };
    let command = tests.command(if wide { Suite::Wide } else { Suite::Small })?;
    let mut output = Tee::new(io::stdout());
    let run = start(&cache, &kernel, &options, &command, &mut output)?;
    if let machine::End::Died(trace) = &run.end
        && trace.console.trim().is_empty()
    {
        return Ok(Outcome::Impossible(anyhow::anyhow!("QEMU does not start here: {}", trace.qemu)));
    }
    let status = conclude(&kernel, run.end);
    let mut counts = sections(&output.text());
    if status != 0 && counts.iter().all(|(_, counts)| counts.failed == 0) {
        counts.push(("the machine".to_owned(), Counts { failed: 1, ..Counts::default() }));
    }
    Ok(Outcome::Ran(counts))
}

/// The kernel, and all that a machine needs.
fn provide(request: &Request) -> Result<(Cache, Kernel)> {
    let cache = Cache::open()?;
    let kernel = cache.provide(request).context("no kernel")?;
    needs::for_running().context("no virtual machine")?;
    Ok((cache, kernel))
}

/// Keeps what it shows.
pub(super) struct Tee<W> {
    kept: Vec<u8>,
    shown: W,
}

impl<W: Write> Tee<W> {
    pub(super) fn new(shown: W) -> Self {
        Self { kept: Vec::new(), shown }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.kept.extend_from_slice(data);
        self.shown.write_all(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.shown.flush()
    }
}
