//! A cable to pull: emulated NICs of a virtual machine, whose drivers tell of the carrier themselves, where a veth pair
//! only plays it. Runs under `cargo xtask vm KERNEL --nic MODEL`; elsewhere there is no cable, which is said.

mod card;
mod monitor;
mod rig;

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    daemon::{address_on, interface},
    ping::Pinger,
    skip,
    topology::data,
    wait,
};
use serde_json::{Value, json};
use std::time::Duration;

use crate::rig::Rig;

/// Each pulls both cables once. The third link-up of an interface within a minute is not trusted, so each round has a
/// daemon of its own.
const ROUNDS: usize = 3;
/// Emulated processors are slow: probes must not fail what only the carrier is to fail.
const FDT_MS: u64 = 4000;

/// Attaching XDP resets the rings of some drivers, which takes the carrier away for a while: no failover. Then each
/// cable is pulled and plugged in again, and a neighbour's ping goes on.
///
/// The figures go to standard output as one line, for `cargo xtask vm --matrix`.
#[test]
fn a_pulled_cable_fails_over_and_back_by_the_drivers_own_carrier() -> Result<()> {
    let Some(rig) = Rig::new()? else {
        skip::say("no NIC with a cable to pull: run `cargo xtask vm KERNEL --nic MODEL`");
        return Ok(());
    };
    let before = rig.carrier_changes()?;
    let mut daemon = rig.start_daemon(FDT_MS)?;
    let status = daemon.wait_healthy()?;
    let flapped = rig.carrier_changes()?.saturating_sub(before);
    for kind in ["failed", "moved"] {
        let seen = daemon.events()?.into_iter().filter(|event| event["kind"] == kind).count();
        ensure!(seen == 0, "{kind} although no cable was pulled; the carrier changed {flapped} times");
    }
    let nic = interface(&status, "eth0");
    ensure!(nic["carrier_evidence"].is_string() && nic["reply_evidence"].is_string(), "{nic}");
    eprintln!("{}: {flapped} carrier changes while the programs were attached; {}", rig.driver, nic["notes"]);

    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        if round > 0 {
            drop(daemon);
            daemon = rig.start_daemon(FDT_MS)?;
            daemon.wait_healthy()?;
        }
        for member in 0..2 {
            let address = data(member, false);
            let ping = Pinger::start(&rig.peer, address, Duration::from_millis(20))?;
            wait_flow(&ping)?;
            let (own, other) = (format!("eth{member}"), format!("eth{}", 1 - member));

            let pulled_ns = rig.pull(member)?;
            daemon.wait_for(&format!("{address} on {other}"), |status| {
                address_on(status, &address.to_string()) == Some(other.as_str())
            })?;
            let moved = daemon.wait_event("moved and announced", pulled_ns, |event| {
                event["kind"] == "moved"
                    && event["address"].as_str().is_some_and(|moved| moved.starts_with(&address.to_string()))
                    && event["announced_ns"].is_u64()
            })?;
            wait_flow(&ping)?;
            let failed = daemon.wait_event("the failure is reported", pulled_ns, |event| {
                event["kind"] == "failed" && event["interface"] == own.as_str()
            })?;
            ensure!(failed.to_string().contains("carrier"), "failed by something else: {failed}");

            rig.plug(member)?;
            daemon.wait_healthy()?;
            wait_flow(&ping)?;
            let gap = ping.finish()?.longest_gap;
            samples.push(sample(pulled_ns, &moved, gap)?);
        }
    }
    let words = ["reply_evidence", "carrier_evidence"].map(|key| nic[key].clone());
    let [reply, carrier] = words;
    println!(
        "cable: {}",
        json!({
            "driver": rig.driver, "flapped": flapped, "samples": samples, "notes": nic["notes"],
            "reply": reply, "carrier": carrier,
        })
    );
    Ok(())
}

fn wait_flow(ping: &Pinger) -> Result<()> {
    let answered = ping.answered();
    wait::until("the neighbour's ping goes on", || Ok(ping.answered() >= answered + 10))
}

/// One pull's times, in nanoseconds.
fn sample(pulled_ns: u64, moved: &Value, gap: Duration) -> Result<Value> {
    let at = |key: &str| moved[key].as_u64().with_context(|| format!("{key} in {moved}"));
    let [evidence, decided, applied, announced] =
        [at("evidence_ns")?, at("decided_ns")?, at("applied_ns")?, at("announced_ns")?];
    ensure!([pulled_ns, evidence, decided, applied, announced].is_sorted(), "out of order: {moved}");
    Ok(json!({
        "pulled_to_evidence": evidence - pulled_ns,
        "evidence_to_decided": decided - evidence,
        "decided_to_applied": applied - decided,
        "evidence_to_announced": announced - evidence,
        "gap": gap.as_nanos() as u64,
    }))
}
