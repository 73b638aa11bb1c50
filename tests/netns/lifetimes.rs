//! The daemon's own account of how long an address lives, which must outlive the daemon.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{config::Config, topology::data, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// As the administrator sets them, in seconds.
const PREFERRED_S: u64 = 2000;
const VALID_S: u64 = 3000;
/// The kernel rounds up, the daemon down, and to look takes time, too.
const TOLERANCE_S: u64 = 4;

fn life(bed: &Bed, nic: &str, address: &str) -> Result<[u64; 2]> {
    let links: Value = serde_json::from_str(&bed.lab.host.ip(&format!("-j address show dev {nic}"))?)?;
    let mut infos = links.as_array().into_iter().flatten().filter_map(|link| link["addr_info"].as_array());
    let info = infos.find_map(|infos| infos.iter().find(|info| info["local"] == address));
    let info = info.with_context(|| format!("{address} is not on {nic}"))?;
    let told = ["preferred_life_time", "valid_life_time"].map(|key| info[key].as_u64());
    Ok([told[0].context("preferred")?, told[1].context("valid")?])
}

fn wait_near(bed: &Bed, nic: &str, address: &str, since: Instant) -> Result<()> {
    let mut told = [0; 2];
    wait::until("what is left of a life", || {
        told = life(bed, nic, address)?;
        let passed = since.elapsed().as_secs();
        let near = |left: u64, whole: u64| left.abs_diff(whole - passed) <= TOLERANCE_S;
        Ok(near(told[0], PREFERRED_S) && near(told[1], VALID_S))
    })
    .with_context(|| {
        format!("{address} on {nic}: {told:?} after {:?}\n{}", since.elapsed(), bed.daemon.log_tail())
    })
}

#[test]
fn what_is_left_of_an_addresss_life_survives_a_failover_a_crash_and_a_failback() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_standby(FDT_MS))? else {
        return Ok(());
    };
    let addresses = [data(0, false).to_string(), data(0, true).to_string()];
    for (address, length) in addresses.iter().zip([24, 64]) {
        bed.lab.host.ip(&format!(
            "address change {address}/{length} dev eth0 valid_lft {VALID_S} preferred_lft {PREFERRED_S}"
        ))?;
    }
    let since = Instant::now();
    // So much that whatever renews a life shows.
    let until = |seconds| wait::until("time", || Ok(since.elapsed().as_secs() >= seconds));
    until(2 * TOLERANCE_S)?;
    bed.lab.pull(0)?;
    for address in &addresses {
        bed.wait_address_on(address, "eth1")?;
        wait_near(&bed, "eth1", address, since)?;
    }
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    until(4 * TOLERANCE_S)?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    for address in &addresses {
        wait_near(&bed, "eth0", address, since)?;
        ensure!(life(&bed, "eth1", address).is_err(), "{address} stands once");
    }
    Ok(())
}
