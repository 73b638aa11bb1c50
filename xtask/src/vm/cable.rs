//! What the test of a pulled cable reports, and the table made of it.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// NICs of one model that the test takes: two members and a neighbour's.
pub(super) const NEEDED: usize = 3;
/// What begins the test's report.
const REPORT: &str = "cable: ";

/// One driver under one kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    kernel: String,
    driver: String,
    reply: String,
    carrier: String,
    /// Why nothing better was taken.
    notes: String,
    /// Carrier changes while the programs were attached.
    flapped: u64,
    /// Nanoseconds: median and worst.
    told: (u64, u64),
    announced: (u64, u64),
    gap: (u64, u64),
    samples: usize,
}

/// The report in a guest's output.
pub(super) fn parse(kernel: &str, output: &str) -> Result<Row> {
    // The test's name stands before it.
    let report = output.lines().find_map(|line| Some(line.split_once(REPORT)?.1));
    let report: Value = serde_json::from_str(report.context("the test reported nothing")?)?;
    let samples = report["samples"].as_array().context("samples")?;
    let of = |key: &str| -> Result<(u64, u64)> {
        let values = samples.iter().map(|sample| sample[key].as_u64().with_context(|| key.to_owned()));
        let mut values = values.collect::<Result<Vec<_>>>()?;
        ensure!(!values.is_empty(), "no samples");
        values.sort_unstable();
        Ok((values[values.len() / 2], values[values.len() - 1]))
    };
    let notes = report["notes"].as_array().context("notes")?.iter().filter_map(Value::as_str);
    let text = |key: &str| report[key].as_str().map(str::to_owned).with_context(|| key.to_owned());
    Ok(Row {
        kernel: kernel.to_owned(),
        driver: text("driver")?,
        reply: text("reply")?,
        carrier: text("carrier")?,
        notes: notes.collect::<Vec<_>>().join("; "),
        flapped: report["flapped"].as_u64().context("flapped")?,
        told: of("pulled_to_evidence")?,
        announced: of("evidence_to_announced")?,
        gap: of("gap")?,
        samples: samples.len(),
    })
}

/// A row for each driver under each kernel.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "| kernel | driver | replies | carrier | carrier changes at attach | cable pulled → carrier loss \
         | carrier loss → announced | longest gap of a neighbour's ping | pulls | why nothing better |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let ms = |(median, worst): (u64, u64)| format!("{:.1} / {:.1}", median as f64 / 1e6, worst as f64 / 1e6);
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.kernel,
            row.driver,
            row.reply,
            row.carrier,
            row.flapped,
            ms(row.told),
            ms(row.announced),
            ms(row.gap),
            row.samples,
            row.notes.replace('|', "\\|")
        );
    }
    text
}

#[cfg(test)]
mod tests;
