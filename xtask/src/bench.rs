//! `cargo xtask bench`: outages, measured many times.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};

use crate::stage::{self, Act, FDT, Scene, Stage, time};

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Cut after cut: how soon decided and announced, and how long the neighbour hears nothing
    Outage(Options),
}

/// How much of it.
#[derive(Args)]
pub(crate) struct Options {
    /// Cable cuts, and as many path cuts
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    cuts: u32,
    /// Use the binaries that are built already (`IPMP_BIN_DIR`)
    #[arg(long)]
    built: bool,
}

/// The figures of all cuts of one kind.
#[derive(Debug, Default)]
struct Figures {
    /// Act to the verdict.
    decided: Vec<Duration>,
    /// Evidence to the announcement.
    announced: Vec<Duration>,
    /// Act to the announcement.
    act_announced: Vec<Duration>,
    /// Longest silence for the neighbour, worse family.
    gap: Vec<Duration>,
    /// Longest silence for the neighbour at the way back, worse family.
    gap_back: Vec<Duration>,
}

/// Measures, and prints one Markdown table on standard output.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let Bench::Outage(options) = bench;
    let cuts = options.cuts.to_string();
    let arguments = ["bench", "outage", "--cuts", &cuts, "--built"];
    let bin_dir = stage::prepare("the bench", options.built, &arguments)?;
    stage::end(Stage::open(bin_dir).and_then(|stage| measure(stage, options.cuts)))
}

fn measure(mut stage: Stage, cuts: u32) -> Result<()> {
    let (mut cable, mut path) = (Figures::default(), Figures::default());
    for round in 1..=cuts {
        eprintln!("round {round} of {cuts}");
        cable.add(&stage.play(Act::Pull)?, &stage.play(Act::Plug)?)?;
        path.add(&stage.play(Act::Cut)?, &stage.play(Act::Mend)?)?;
        // Several link-ups within a minute put a repair off, as they must; each round is to be the first.
        stage = stage.renew_daemon()?;
    }
    stage.close()?;
    print!("{}", table(&cable, &path)?);
    Ok(())
}

impl Figures {
    fn add(&mut self, away: &Scene, back: &Scene) -> Result<()> {
        let announced = away.moved_ns("announced_ns")?;
        let decided = time(&away.verdict, "decided_ns")?;
        let evidence = time(&away.verdict, "evidence_ns")?;
        let between = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from));
        self.decided.push(between(away.at_ns, decided));
        self.announced.push(between(evidence, announced));
        self.act_announced.push(between(away.at_ns, announced));
        self.gap.push(worst_gap(away));
        self.gap_back.push(worst_gap(back));
        Ok(())
    }
}

fn worst_gap(scene: &Scene) -> Duration {
    let [ipv4, ipv6] = scene.pings;
    ipv4.longest_gap.max(ipv6.longest_gap)
}

fn table(cable: &Figures, path: &Figures) -> Result<String> {
    let mut text = format!(
        "| {} cuts each, failure detection time {} ms | median | worst |\n|---|---|---|\n",
        cable.gap.len(),
        FDT.as_millis()
    );
    let in_ms = |value: Duration| format!("{:.2} ms", value.as_secs_f64() * 1e3);
    let of_fdt = |value: Duration| format!("{:.2} × FDT", value.as_secs_f64() / FDT.as_secs_f64());
    let mut row = |what: &str, values: &[Duration], show: &dyn Fn(Duration) -> String| {
        let (median, worst) = median_and_worst(values)?;
        writeln!(text, "| {what} | {} | {} |", show(median), show(worst)).context("writing to a string")
    };
    row("carrier loss: its evidence → announced", &cable.announced, &in_ms)?;
    row(
        "carrier loss: port down → announced",
        &cable.act_announced,
        &in_ms,
    )?;
    row(
        "carrier loss: longest gap seen by the neighbour",
        &cable.gap,
        &in_ms,
    )?;
    row(
        "cable back: longest gap seen by the neighbour",
        &cable.gap_back,
        &in_ms,
    )?;
    row("path cut → decided", &path.decided, &of_fdt)?;
    row("path cut → announced", &path.act_announced, &of_fdt)?;
    row("path cut: longest gap seen by the neighbour", &path.gap, &in_ms)?;
    row(
        "path mended: longest gap seen by the neighbour",
        &path.gap_back,
        &in_ms,
    )?;
    Ok(text)
}

/// The middle value (the upper of two) and the largest.
fn median_and_worst(values: &[Duration]) -> Result<(Duration, Duration)> {
    ensure!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    Ok((sorted[sorted.len() / 2], sorted[sorted.len() - 1]))
}

#[cfg(test)]
mod tests;
