//! `cargo xtask sim`: what suspicion gains and costs, on the simulated network.

use std::{fmt::Write as _, fs, path::Path as File, thread};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ipmp_common::engine::{
    forecast::{Path, forecast},
    sim::{
        ms, secs,
        trade::{Case, Falses},
    },
    time::Nanos,
};

/// Probe slots for each seed.
const SLOTS: u64 = 100_000;
/// Cuts for each row of the table of detection times.
const CUTS: u32 = 2000;
/// Round trip on the simulated network.
const RTT: Nanos = Nanos(200_000);
const FDTS: [Nanos; 4] = [ms(10), ms(100), secs(1), secs(10)];
const LOSSES: [f64; 4] = [0.0001, 0.001, 0.01, 0.05];
const BURSTS: [Nanos; 4] = [Nanos(100_000), ms(1), ms(5), ms(20)];
const LONG_FDTS: [Nanos; 2] = [secs(1), secs(10)];
const LONG_LOSSES: [f64; 2] = [0.0001, 0.001];
const LONG_BURSTS: [Nanos; 3] = [ms(100), ms(500), secs(2)];
/// Where the engine's documentation has it.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ipmp-common/src/engine/sim/TABLE.md");

/// How much, and where to.
#[derive(Args)]
pub(crate) struct Options {
    /// Seeds for each path, 100,000 probe slots each
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Also write the tables to ipmp-common/src/engine/sim/TABLE.md
    #[arg(long)]
    table: bool,
}

/// Measures, and prints the tables as Markdown. The engine is optimised in debug builds, too.
pub(crate) fn run(options: &Options) -> Result<()> {
    let text = text(options.seeds)?;
    print!("{text}");
    if options.table {
        fs::write(File::new(TABLE), text).with_context(|| format!("cannot write {TABLE}"))?;
    }
    Ok(())
}

fn text(seeds: u64) -> Result<String> {
    let mut text = format!(
        "Made by `cargo xtask sim --table --seeds {seeds}`: the real engine on the simulated network, {} probe slots a row,\n\
         one member on the path, its sibling on a clean one, round trip {RTT}. Everything is lost while a burst lasts.\n\n\
         ## Detection time as a share of FDT, {CUTS} cuts at random moments\n\n\
         | FDT | suspicion | p50 | p99 | max | forecast mean | forecast worst |\n|---|---|---|---|---|---|---|\n",
        seeds * SLOTS
    );
    for fdt in FDTS {
        for suspicion in [false, true] {
            detection_row(&mut text, fdt, suspicion)?;
        }
    }
    text.push_str(
        "\n## False failures a day\n\n\
         Counted, and in brackets the forecast (`engine/forecast.rs`). `<` is the 95 % bound where none was seen.\n\n",
    );
    false_table(&mut text, &FDTS, &LOSSES, &BURSTS, seeds)?;
    text.push_str(
        "\n## The same where a path is dead for longer now and then\n\n\
         What a long failure detection time sits out without suspicion, and no longer with it.\n\n",
    );
    false_table(&mut text, &LONG_FDTS, &LONG_LOSSES, &LONG_BURSTS, seeds)?;
    Ok(text)
}

fn false_table(
    text: &mut String,
    fdts: &[Nanos],
    losses: &[f64],
    bursts: &[Nanos],
    seeds: u64,
) -> Result<()> {
    text.push_str("| FDT | loss | burst | without suspicion | with suspicion |\n|---|---|---|---|---|\n");
    let of_loss = |fdt: Nanos, loss: f64| bursts.iter().map(move |burst| (fdt, loss, *burst));
    let paths: Vec<(Nanos, f64, Nanos)> =
        fdts.iter().flat_map(|fdt| losses.iter().flat_map(move |loss| of_loss(*fdt, *loss))).collect();
    for row in false_rows(&paths, seeds)? {
        text.push_str(&row?);
    }
    Ok(())
}

fn detection_row(text: &mut String, fdt: Nanos, suspicion: bool) -> Result<()> {
    let case = Case { fdt, loss: 0.0, burst: ms(1), suspicion, seed: 1 };
    let times = case.detections(CUTS);
    let share = |time: Nanos| time.0 as f64 / fdt.0 as f64;
    let at = |part: usize| times.get(times.len() * part / 1000).copied().map_or(0.0, share);
    let max = times.last().copied().map_or(0.0, share);
    let times = forecast(fdt, Path { loss: 0.01, burst: ms(1), rtt: RTT }, suspicion).detection;
    let on = if suspicion { "on" } else { "off" };
    let (mean, worst) = (share(times.typical), share(times.worst));
    let (p50, p99) = (at(500), at(990));
    writeln!(text, "| {fdt} | {on} | {p50:.3} | {p99:.3} | {max:.3} | {mean:.3} | {worst:.3} |")?;
    Ok(())
}

/// The rows in order, reckoned on all cores.
fn false_rows(paths: &[(Nanos, f64, Nanos)], seeds: u64) -> Result<Vec<Result<String>>> {
    let workers = thread::available_parallelism()?.get();
    let mut rows: Vec<(usize, Result<String>)> = thread::scope(|scope| {
        let work = |first: usize| {
            let mine = paths.iter().enumerate().skip(first).step_by(workers);
            mine.map(|(number, path)| (number, false_row(*path, seeds))).collect::<Vec<_>>()
        };
        let handles: Vec<_> = (0..workers).map(|first| scope.spawn(move || work(first))).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    if rows.len() != paths.len() {
        bail!("a simulation ended with a panic; its seed stands above");
    }
    rows.sort_by_key(|(number, _)| *number);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn false_row((fdt, loss, burst): (Nanos, f64, Nanos), seeds: u64) -> Result<String> {
    let mut row = format!("| {fdt} | {} % | {burst} |", loss * 100.0);
    for suspicion in [false, true] {
        let mut total = Falses { failures: 0, time: Nanos(0), probes: 0 };
        for seed in 1..=seeds {
            let counted = Case { fdt, loss, burst, suspicion, seed }.falses(SLOTS);
            total.failures += counted.failures;
            total.time = total.time + counted.time;
            total.probes += counted.probes;
        }
        let foretold = forecast(fdt, Path { loss, burst, rtt: RTT }, suspicion).false_failures;
        let counted = if total.failures == 0 {
            // The rule of three.
            format!("< {}", number(Falses { failures: 3, ..total }.per_day()))
        } else {
            number(total.per_day())
        };
        write!(row, " {counted} ({}) |", number(foretold))?;
    }
    row.push('\n');
    Ok(row)
}

/// Three digits, whatever the size; what would take a million years is nothing.
fn number(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate >= 0.1 => format!("{rate:.2}"),
        rate if rate >= 1e-9 => format!("{rate:.0e}"),
        _ => "0".to_owned(),
    }
}
