//! `cargo xtask demo`: the main job, as a timeline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use ipmp_tests::daemon::{group, interface};

use crate::{
    stage::{self, Act, FDT, HOME, OTHER, Stage},
    timeline::{self, milliseconds},
};

/// How often the neighbour pings each address.
const PING_INTERVAL: Duration = Duration::from_millis(1);

/// How to show it.
#[derive(Args)]
pub(crate) struct Options {
    /// Use the binaries that are built already (in `IPMP_BIN_DIR`, else the release build)
    #[arg(long)]
    built: bool,
}

/// Sets up, builds, and plays: a pulled cable, its repair, a cut path, its repair.
pub(crate) fn run(options: &Options) -> Result<()> {
    let bin_dir = stage::prepare("the demo", options.built, &["demo", "--built"])?;
    let started = Instant::now();
    stage::end(Stage::open(bin_dir, PING_INTERVAL).and_then(|stage| play(stage, started)))
}

fn play(stage: Stage, started: Instant) -> Result<()> {
    introduce(&stage)?;
    for (number, act) in [Act::Pull, Act::Plug, Act::Cut, Act::Mend].into_iter().enumerate() {
        let scene = stage.play(act)?;
        println!("\n{}. {}", number + 1, timeline::Text(&scene));
    }
    let ([ipv4, ipv6], tcp) = match stage.close() {
        Ok(reports) => reports,
        Err(error) => bail!("THE CONNECTION DID NOT SURVIVE: {error:#}"),
    };
    println!("\nThe connection survived: {} numbered messages went to and fro, none missing.", tcp.messages);
    for (family, seen) in [("IPv4", ipv4), ("IPv6", ipv6)] {
        println!(
            "{family} pings: {} lost of {}; longest gap {}.",
            seen.lost,
            seen.sent,
            milliseconds(seen.longest_gap)
        );
    }
    println!("The lab is removed. {:.1} s.", started.elapsed().as_secs_f64());
    Ok(())
}

fn introduce(stage: &Stage) -> Result<()> {
    let status = stage.daemon().status()?;
    println!("   host ─┬─ {HOME} ── p0 ─┐");
    println!("         │              ├─ switch ── neighbour: pings both data addresses each millisecond,");
    println!("         └─ {OTHER} ── p1 ─┘              sends numbered messages over one TCP connection");
    println!(
        "\nGroup {} is {}; failure detection time {}.",
        group(&status)["name"].as_str().unwrap_or("?"),
        group(&status)["state"].as_str().unwrap_or("?"),
        milliseconds(FDT)
    );
    for name in [HOME, OTHER] {
        let shown = interface(&status, name);
        println!(
            "{name}: {}; carrier evidence: {}; reply evidence: {}",
            shown["state"].as_str().unwrap_or("?"),
            shown["carrier_evidence"].as_str().unwrap_or("?"),
            shown["reply_evidence"].as_str().unwrap_or("?")
        );
    }
    Ok(())
}
