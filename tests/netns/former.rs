//! Interfaces that are members no longer, left out of the file or renamed: what we put there goes once it stands elsewhere.

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::Config,
    netns::Netns,
    topology::{data, test4},
    wait,
};
use nix::sys::signal::Signal;

use crate::{Bed, FDT_MS, reload};

/// The interfaces an address stands on in the kernel.
fn stands_on(host: &Netns, address: &str) -> Result<Vec<String>> {
    let text = host.ip("-o address show")?;
    let lines = text.lines().filter(|line| line.contains(&format!(" {address}/")));
    Ok(lines.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect())
}

/// Waits until the kernel has each address of the first NIC on exactly this interface.
fn wait_only_on(bed: &Bed, nic: &str) -> Result<()> {
    let addresses = [data(0, false).to_string(), data(0, true).to_string()];
    let mut found = Vec::new();
    let alone = wait::until(&format!("the addresses on {nic} alone"), || {
        found = addresses.iter().map(|ip| stands_on(&bed.lab.host, ip)).collect::<Result<_>>()?;
        Ok(found.iter().all(|on| *on == [nic]))
    });
    alone.with_context(|| format!("{found:?}\n{}", bed.daemon.log_tail()))
}

/// Addresses of eth0 are on eth1, and the file names eth0 alone.
fn failed_over_and_alone(bed: &Bed) -> Result<String> {
    bed.lab.pull(0)?;
    wait_only_on(bed, "eth1")?;
    let mut config = Config::active_standby(FDT_MS);
    config.members.truncate(1);
    Ok(config.to_string())
}

#[test]
fn addresses_on_a_member_that_left_the_file_go_home_and_stand_once() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_standby(FDT_MS))? else {
        return Ok(());
    };
    let text = failed_over_and_alone(&bed)?;
    reload::reload(&bed, &text)?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    wait_only_on(&bed, "eth0")
}

#[test]
fn addresses_on_a_member_that_left_the_file_before_a_restart_go_home_and_stand_once() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_standby(FDT_MS))? else {
        return Ok(());
    };
    let text = failed_over_and_alone(&bed)?;
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    reload::write(&bed, &text)?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    wait_only_on(&bed, "eth0")
}

#[test]
fn a_renamed_interface_keeps_no_address_of_the_group() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_standby(FDT_MS))? else {
        return Ok(());
    };
    let before = bed.places()?;
    bed.lab.host.batch("link set eth0 name net0")?;
    wait_only_on(&bed, "eth1")?;
    let test = test4(0).to_string();
    wait::until("the test address is gone", || Ok(stands_on(&bed.lab.host, &test)?.is_empty()))?;
    bed.lab.host.batch("link set net0 name eth0")?;
    wait_only_on(&bed, "eth0")?;
    bed.daemon.wait_healthy()?;
    bed.wait_places(&before)
}
