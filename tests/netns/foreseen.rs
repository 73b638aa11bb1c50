//! What one failure or repair leads to is ready before it is ordered.

use std::fs;

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, bin_dir},
    skip,
    topology::{Lab, Shape, data},
    wait,
};

use crate::{Bed, FDT_MS};

/// As the daemon's log has it, at level debug.
const CARRIED_OUT: &str = "a placement was carried out";

fn start() -> Result<Option<Bed>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
    let config = Config::active_active(FDT_MS).to_string();
    let daemon = Daemon::start_prepared(&lab.host, &config, bin_dir()?, |files| {
        files.wrapper = ["sh", "-c", r#"exec "$@" --log debug"#, "sh"].map(str::to_owned).into();
        Ok(())
    })?;
    daemon.wait_healthy()?;
    Ok(Some(Bed { daemon, lab }))
}

/// Of placements that changed something: whether each was foreseen.
fn foreseen(bed: &Bed) -> Result<Vec<bool>> {
    let log = fs::read_to_string(bed.daemon.files().log()).context("the daemon's log")?;
    let moves = log.lines().filter(|line| line.contains(CARRIED_OUT) && !line.contains("changes=0"));
    Ok(moves.map(|line| line.contains("foreseen=true")).collect())
}

/// Lets something happen; the placement that brings an address of the first member to `nic` must have been foreseen.
fn is_foreseen(bed: &Bed, nic: &str, happens: impl FnOnce(&Lab) -> Result<u64>) -> Result<bool> {
    let before = foreseen(bed)?.len();
    happens(&bed.lab)?;
    bed.wait_address_on(&data(0, false).to_string(), nic)?;
    wait::until("it is carried out", || Ok(foreseen(bed)?.len() > before))?;
    Ok(foreseen(bed)?[before..].contains(&true))
}

/// The daemon says what may come next, also after somebody has changed something.
#[test]
fn failover_and_failback_are_ready_before_they_are_ordered() -> Result<()> {
    let Some(bed) = start()? else { return Ok(()) };
    // What is ready is renewed 1.2 s after a change at the latest; a busy machine may take longer, so more than one attempt
    // is granted.
    for net in ["198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"] {
        bed.lab.host.ip(&format!("route add blackhole {net}"))?;
        let since = wait::now_ns();
        wait::until("it settles", || Ok(wait::now_ns() - since > 2_000_000_000))?;
        let away = is_foreseen(&bed, "eth1", |lab| lab.cut(0))?;
        bed.wait_state("eth0", "failed")?;
        let back = is_foreseen(&bed, "eth0", |lab| lab.mend(0))?;
        bed.daemon.wait_healthy()?;
        if away && back {
            return Ok(());
        }
    }
    anyhow::bail!("{:?}\n{}", foreseen(&bed)?, bed.daemon.log_tail())
}
