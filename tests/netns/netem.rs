//! Bad lines, played by netem(8) at the switch: what the engine's rule allows fails nothing, and what is no answer proves
//! nothing.

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{config::Config, daemon::interface, skip, topology::Lab, wait::now_ns};
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// Probes that must be answered while the line is bad.
const ANSWERS: u64 = 150;

/// Makes the way from the switch to the first NIC bad; `false` where the kernel has no netem, which has been said.
fn spoil(lab: &Lab, how: &str) -> Result<bool> {
    let Some(tc) = skip::find_program("tc") else {
        skip::say("`tc` (iproute2) is missing: run `cargo xtask setup`");
        return Ok(false);
    };
    let arguments = format!("qdisc replace dev p0 root netem {how}");
    let output = lab.switch.command(tc)?.args(arguments.split_whitespace()).output().context("tc")?;
    if !output.status.success() {
        skip::say(&format!("no netem: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output.status.success())
}

fn acked(status: &Value) -> u64 {
    let targets = interface(status, "eth0")["targets"].as_array().map_or(&[][..], Vec::as_slice);
    targets.iter().filter_map(|target| target["acked"].as_u64()).sum()
}

fn counted(status: &Value, what: &[&str]) -> u64 {
    what.iter().filter_map(|name| interface(status, "eth0")["counters"][name].as_u64()).sum()
}

/// Nothing fails while so many probes are answered over a bad line, and then there is more of `counters` than before.
fn fails_nothing(how: &str, counters: &[&str]) -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let from_ns = now_ns();
    let before = bed.daemon.status()?;
    if !spoil(&bed.lab, how)? {
        return Ok(());
    }
    let after = bed.daemon.wait_for("probes are answered over the bad line", |status| {
        acked(status) >= acked(&before) + ANSWERS
            && (counters.is_empty() || counted(status, counters) > counted(&before, counters))
    })?;
    for kind in ["failed", "moved"] {
        ensure!(bed.count(kind, from_ns)? == 0, "{kind} by `netem {how}`: {after:#}");
    }
    // A reply that came twice is one reply.
    for target in interface(&after, "eth0")["targets"].as_array().into_iter().flatten() {
        ensure!(target["acked"].as_u64() <= target["sent"].as_u64(), "{target}");
    }
    Ok(())
}

#[test]
fn delay_and_jitter_fail_nothing() -> Result<()> {
    fails_nothing("delay 5ms 3ms distribution normal", &[])
}

/// One in twenty: five in a row would be one case in three million.
#[test]
fn loss_below_the_rule_fails_nothing() -> Result<()> {
    fails_nothing("loss random 5%", &[])
}

/// Bursts begin at one frame in 33, and each further frame is lost with one chance in five.
#[test]
fn short_bursts_of_loss_fail_nothing() -> Result<()> {
    fails_nothing("loss gemodel 3% 80%", &[])
}

#[test]
fn reordering_fails_nothing() -> Result<()> {
    fails_nothing("delay 5ms reorder 25% 50%", &[])
}

#[test]
fn duplicates_are_counted_and_prove_nothing() -> Result<()> {
    fails_nothing("duplicate 30%", &["duplicate"])
}

#[test]
fn corrupted_replies_are_counted_and_prove_nothing() -> Result<()> {
    fails_nothing("corrupt 8%", &["malformed", "foreign_id"])
}

/// A burst longer than the rule allows fails the member, and its end repairs it.
#[test]
fn a_burst_beyond_the_rule_fails_the_member() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    if !spoil(&bed.lab, "loss random 100%")? {
        return Ok(());
    }
    bed.wait_state("eth0", "failed")?;
    spoil(&bed.lab, "delay 1ms")?;
    bed.daemon.wait_healthy().map(drop)
}
