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
    /// Pings a second that the neighbour sends to each of two data addresses, IPv4 and IPv6
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Use the binaries that are built already (in `IPMP_BIN_DIR`, else the release build)
    #[arg(long)]
    built: bool,
}

/// The figures of all cuts of one kind.
#[derive(Debug, Default)]
struct Figures {
    /// Act to the verdict.
    decided: Vec<Duration>,
    /// Act to the evidence.
    evident: Vec<Duration>,
    /// Evidence to the announcement.
    announced: Vec<Duration>,
    /// Act to the announcement.
    act_announced: Vec<Duration>,
    /// What the neighbour saw.
    away: Seen,
    /// What it saw at the way back.
    back: Seen,
}

/// What the neighbour saw of each outage, worse family.
#[derive(Debug, Default)]
struct Seen {
    /// Longest silence.
    gap: Vec<Duration>,
    /// Packets lost.
    lost: Vec<usize>,
    /// Packets sent, of both families.
    sent: usize,
    /// In so much time for both.
    watched: Duration,
}

/// Measures, and prints one Markdown table on standard output.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let Bench::Outage(options) = bench;
    let (cuts, rate) = (options.cuts.to_string(), options.rate.to_string());
    let arguments = ["bench", "outage", "--cuts", &cuts, "--rate", &rate, "--built"];
    let bin_dir = stage::prepare("the bench", options.built, &arguments)?;
    let interval = Duration::from_secs(1) / options.rate;
    stage::end(Stage::open(bin_dir, interval).and_then(|stage| measure(stage, options.cuts)))
}

fn measure(mut stage: Stage, cuts: u32) -> Result<()> {
    let (mut cable, mut path) = (Figures::default(), Figures::default());
    for round in 1..=cuts {
        eprintln!("round {round} of {cuts}");
        cable.add(&stage.play(Act::Pull)?, &stage.play(Act::Plug)?)?;
        path.add(&stage.play(Act::Cut)?, &stage.play(Act::Mend)?)?;
        // Several link-ups within a minute put a repair off, as they must; each round is to be the first.
        stage = stage.renew()?;
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
        self.evident.push(between(away.at_ns, evidence));
        self.announced.push(between(evidence, announced));
        self.act_announced.push(between(away.at_ns, announced));
        self.away.add(away);
        self.back.add(back);
        Ok(())
    }
}

impl Seen {
    fn add(&mut self, scene: &Scene) {
        let [ipv4, ipv6] = scene.pings;
        self.gap.push(ipv4.longest_gap.max(ipv6.longest_gap));
        self.lost.push(ipv4.lost.max(ipv6.lost));
        self.sent += ipv4.sent + ipv6.sent;
        self.watched += 2 * Duration::from_nanos(scene.until_ns.saturating_sub(scene.at_ns));
    }
}

fn table(cable: &Figures, path: &Figures) -> Result<String> {
    let seen = [&cable.away, &cable.back, &path.away, &path.back];
    let sent: usize = seen.iter().map(|seen| seen.sent).sum();
    let watched: Duration = seen.iter().map(|seen| seen.watched).sum();
    // What was sent, not what was asked for: a loaded machine leaves out slots.
    let mut text = format!(
        "| {} cuts each, failure detection time {} ms, {:.0} packets a second to each address | median | worst |\n\
         |---|---|---|\n",
        cable.away.gap.len(),
        FDT.as_millis(),
        sent as f64 / watched.as_secs_f64()
    );
    let of_fdt = |value: Duration| format!("{:.2} × FDT", value.as_secs_f64() / FDT.as_secs_f64());
    row(&mut text, "carrier loss: port down → its evidence", &cable.evident, in_ms)?;
    row(&mut text, "carrier loss: its evidence → announced", &cable.announced, in_ms)?;
    row(&mut text, "carrier loss: port down → announced", &cable.act_announced, in_ms)?;
    outage(&mut text, "carrier loss", &cable.away)?;
    outage(&mut text, "cable back", &cable.back)?;
    row(&mut text, "path cut → decided", &path.decided, of_fdt)?;
    row(&mut text, "path cut → announced", &path.act_announced, of_fdt)?;
    outage(&mut text, "path cut", &path.away)?;
    outage(&mut text, "path mended", &path.back)?;
    Ok(text)
}

fn in_ms(value: Duration) -> String {
    format!("{:.2} ms", value.as_secs_f64() * 1e3)
}

fn outage(text: &mut String, what: &str, seen: &Seen) -> Result<()> {
    row(text, &format!("{what}: longest gap seen by the neighbour"), &seen.gap, in_ms)?;
    row(text, &format!("{what}: packets of the neighbour lost"), &seen.lost, |lost: usize| lost.to_string())
}

fn row<T: Copy + Ord>(text: &mut String, what: &str, values: &[T], show: impl Fn(T) -> String) -> Result<()> {
    let (median, worst) = median_and_worst(values)?;
    writeln!(text, "| {what} | {} | {} |", show(median), show(worst)).context("writing to a string")
}

/// The middle value (the upper of two) and the largest.
fn median_and_worst<T: Copy + Ord>(values: &[T]) -> Result<(T, T)> {
    ensure!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    Ok((sorted[sorted.len() / 2], sorted[sorted.len() - 1]))
}

#[cfg(test)]
mod tests;
