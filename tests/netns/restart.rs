//! Restarts, second daemons, and what a daemon finds of its predecessor.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use aya::programs::links::{FdLink, PinnedLink};
use ipmp_common::abi::ABI_VERSION;
use ipmp_tests::{
    address_log::AddressLog,
    config::Config,
    daemon::{address_on, bin_dir, group, interface},
    snapshot::Snapshot,
    topology::data,
    wait,
};
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// The kernel's numbers of the daemon's links: one that was detached and attached again has another.
fn links(bed: &Bed) -> Result<Vec<(String, u32)>> {
    let mut found = Vec::new();
    let pins = bed.daemon.files().pins().join(format!("v{ABI_VERSION}"));
    for pin in fs::read_dir(pins).context("the pins")?.flatten() {
        let name = pin.file_name().to_string_lossy().into_owned();
        if name.contains("_if") {
            let link: FdLink = PinnedLink::from_pin(pin.path()).with_context(|| name.clone())?.into();
            found.push((name.clone(), link.info().with_context(|| name)?.id()));
        }
    }
    found.sort();
    Ok(found)
}

fn carrier_changes(bed: &Bed) -> Result<Vec<Value>> {
    let links: Value = serde_json::from_str(&bed.lab.host.ip("-s -s -j link show")?)?;
    let changes =
        links.as_array().into_iter().flatten().map(|link| link["stats64"]["tx"]["carrier_changes"].clone());
    let changes: Vec<Value> = changes.collect();
    ensure!(changes.iter().all(Value::is_number), "ip(8) counts carrier changes: {changes:?}");
    Ok(changes)
}

fn restart_is_invisible(how: Signal) -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let (before, attached, carriers) = (Snapshot::take(&bed.lab.host)?, links(&bed)?, carrier_changes(&bed)?);
    assert!(!attached.is_empty(), "programs are attached");
    let log = AddressLog::start(&bed.lab.host)?;
    bed.daemon.signal(how)?;
    bed.daemon.wait_exit()?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    assert_eq!(log.steps()?, []);
    assert_eq!(links(&bed)?, attached);
    assert_eq!(carrier_changes(&bed)?, carriers);
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    Ok(())
}

#[test]
fn a_restart_touches_no_address_no_link_and_no_program() -> Result<()> {
    restart_is_invisible(Signal::SIGTERM)
}

#[test]
fn a_crash_and_restart_touches_no_address_no_link_and_no_program() -> Result<()> {
    restart_is_invisible(Signal::SIGKILL)
}

/// Runs another daemon with the same configuration until it gives up; its exit code and what it said.
pub(crate) fn another(bed: &Bed, runtime: &Path, pins: &Path) -> Result<(Option<i32>, String)> {
    another_by(bed, &[], runtime, pins)
}

/// The same, run by a program.
fn another_by(bed: &Bed, wrapper: &[&str], runtime: &Path, pins: &Path) -> Result<(Option<i32>, String)> {
    let ipmpd = bin_dir()?.join("ipmpd");
    let mut words = wrapper.iter().map(Path::new).chain([ipmpd.as_path()]);
    let mut command = bed.lab.host.command(words.next().context("a program")?)?;
    let output = command
        .args(words)
        .arg("--config")
        .arg(bed.daemon.files().config())
        .arg("--runtime-dir")
        .arg(runtime)
        .arg("--pin-dir")
        .arg(pins)
        .stdin(Stdio::null())
        .output()
        .context("running ipmpd")?;
    if *pins != bed.daemon.files().pins() {
        while umount2(pins, MntFlags::MNT_DETACH).is_ok() {}
    }
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn a_second_daemon_for_a_group_is_refused_and_changes_nothing() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let (before, attached) = (Snapshot::take(&bed.lab.host)?, links(&bed)?);
    let elsewhere = tempfile::tempdir().context("a directory")?;
    let (run, pins) = (elsewhere.path().join("run"), elsewhere.path().join("pins"));
    let files = bed.daemon.files();
    for (runtime, pins) in [(&files.runtime(), &pins), (&run, &files.pins()), (&run, &pins)] {
        let (code, text) = another(&bed, runtime, pins)?;
        assert_eq!(code, Some(70), "{text}");
        assert!(text.contains("another ipmpd"), "{text}");
    }
    assert_eq!(links(&bed)?, attached);
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    bed.daemon.wait_healthy().map(drop)
}

/// From there the number of the first one's process cannot be seen.
#[test]
fn a_second_daemon_in_another_pid_namespace_is_refused() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let elsewhere = tempfile::tempdir().context("a directory")?;
    let (run, pins) = (elsewhere.path().join("run"), elsewhere.path().join("pins"));
    let (code, text) = another_by(&bed, &["unshare", "--pid", "--fork"], &run, &pins)?;
    assert_eq!(code, Some(70), "{text}");
    assert!(text.contains("another ipmpd (in another PID namespace) serves group ipmp0"), "{text}");
    bed.daemon.wait_healthy().map(drop)
}

#[test]
fn a_second_daemon_for_an_interface_is_refused_whatever_its_group() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let (before, attached) = (Snapshot::take(&bed.lab.host)?, links(&bed)?);
    let elsewhere = tempfile::tempdir().context("a directory")?;
    let config = bed.daemon.files().config();
    let text = fs::read_to_string(&config)?;
    fs::write(&config, text.replace("ipmp0", "other"))?;
    let (code, said) = another(&bed, &elsewhere.path().join("run"), &elsewhere.path().join("pins"))?;
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains("another ipmpd") && said.contains("serves interface eth0"), "{said}");
    assert_eq!(links(&bed)?, attached);
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    bed.daemon.wait_healthy().map(drop)
}

/// Restarts the daemon while all paths are cut; what the next one says at once.
fn restart_of_a_failed_group(withdraw: bool) -> Result<()> {
    let config = Config { withdraw, ..Config::active_active(FDT_MS) };
    let Some(mut bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let healthy = Snapshot::take(&bed.lab.host)?;
    bed.lab.cut_peer(0)?;
    let address = data(0, false).to_string();
    let on = (!withdraw).then_some("eth0");
    let is_failed = |status: &Value| {
        let failed = |nic| interface(status, nic)["state"] == "failed";
        group(status)["state"] == "failed" && failed("eth0") && failed("eth1")
    };
    let known = || -> Result<bool> {
        let state = fs::read_to_string(bed.daemon.files().runtime().join("state.json"))?;
        let state: Value = serde_json::from_str(&state).context("state.json")?;
        Ok(state["failed"] == serde_json::json!(["eth0", "eth1"]))
    };
    bed.daemon.wait_for("all failed", |status| is_failed(status) && address_on(status, &address) == on)?;
    wait::until("the state file knows", known)?;
    let before = Snapshot::take(&bed.lab.host)?;
    let log = AddressLog::start(&bed.lab.host)?;
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    bed.daemon.start_again(&bed.lab.host)?;
    let status = bed.daemon.status()?;
    assert!(is_failed(&status), "{status:#}");
    assert_eq!(address_on(&status, &address), on);
    let code = bed.daemon.client(&["status"])?.status.code();
    assert_eq!(code, Some(2), "a group has failed");
    assert_eq!(log.steps()?, []);
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    bed.lab.mend_peer(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&healthy)
}

#[test]
fn a_failed_group_is_failed_after_a_restart_until_it_is_proved() -> Result<()> {
    restart_of_a_failed_group(false)
}

#[test]
fn withdrawn_addresses_do_not_return_by_a_restart() -> Result<()> {
    restart_of_a_failed_group(true)
}

/// What a standby without a list stood in for when the daemon ended is not its own.
#[test]
fn a61_a_standby_does_not_adopt_what_it_stands_in_for() -> Result<()> {
    let mut config = Config::active_standby(FDT_MS);
    let Some(mut bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    // Neither has a list now: the first one's addresses are those found on it.
    config.members[0].data.clear();
    fs::write(bed.daemon.files().config(), config.to_string())?;
    crate::detach::order(&bed, &["reload"])?;
    let address = data(0, false).to_string();
    bed.wait_address_on(&address, "eth0")?;
    bed.lab.pull(0)?;
    bed.wait_address_on(&address, "eth1")?;
    wait::until("it stands there", || Ok(bed.lab.host.ip("address show dev eth1")?.contains(&address)))?;
    for lost in [false, true] {
        bed.daemon.signal(Signal::SIGKILL)?;
        bed.daemon.wait_exit()?;
        if lost {
            // Also where the first one is not even there.
            bed.lab.host.batch("link set eth0 name away")?;
        }
        bed.daemon.start_again(&bed.lab.host)?;
        bed.wait_state("eth1", "ok")?;
        let status = bed.daemon.status()?;
        let homes = group(&status)["addresses"].as_array().cloned().unwrap_or_default();
        assert!(homes.iter().all(|entry| entry["home"] != "eth1"), "lost: {lost}: {homes:#?}");
        assert!(bed.lab.host.ip("address show dev eth1")?.contains(&address), "it goes on serving");
    }
    bed.lab.host.batch("link set away name eth0")?;
    bed.lab.plug(0)?;
    bed.wait_address_on(&address, "eth0")?;
    bed.daemon.wait_healthy().map(drop)
}
