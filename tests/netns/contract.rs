//! Exit codes, and what the daemon leaves behind.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, bin_dir, group, interface},
    snapshot::Snapshot,
    topology::data,
};
use nix::{sys::signal::Signal, unistd::Uid};
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// `nobody`: any user without privileges.
const NOBODY: u32 = 65534;

#[test]
fn status_tells_the_group_state_by_its_exit_code() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_standby(FDT_MS))? else {
        return Ok(());
    };
    let code = |bed: &Bed| -> Result<Option<i32>> { Ok(bed.daemon.client(&["status"])?.status.code()) };
    assert_eq!(code(&bed)?, Some(0));
    bed.lab.pull(1)?;
    bed.daemon.wait_for("degraded", |status| group(status)["state"] == "degraded")?;
    assert_eq!(code(&bed)?, Some(1));
    bed.lab.pull(0)?;
    bed.daemon.wait_for("failed", |status| group(status)["state"] == "failed")?;
    assert_eq!(code(&bed)?, Some(2));
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    assert_eq!(code(&bed)?, Some(3));
    Ok(())
}

#[test]
fn sigterm_leaves_addresses_where_they_are_and_exits_0() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    bed.lab.pull(0)?;
    let address = data(0, false).to_string();
    bed.wait_address_on(&address, "eth1")?;
    bed.wait_address_on(&data(0, true).to_string(), "eth1")?;
    bed.daemon
        .wait_event("announced", 0, |event| event["kind"] == "moved" && event["announced_ns"].is_u64())?;
    let before = Snapshot::take(&bed.lab.host)?.of_others();
    bed.daemon.signal(Signal::SIGTERM)?;
    assert_eq!(bed.daemon.wait_exit()?.code(), Some(0));
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    let shown = bed.lab.host.ip("-4 address show dev eth1")?;
    assert!(shown.contains(&address), "{shown}");
    Ok(())
}

#[test]
fn a_restart_changes_nothing() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(Bed { daemon, lab }) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let before = Snapshot::take(&lab.host)?;
    drop(daemon);
    let bed = Bed { daemon: Daemon::start(&lab.host, &config)?, lab };
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)
}

/// A failed interface is known as failed after the restart, too: its addresses stay with the stand-in, without a
/// moment on the dead one, and go home when it is repaired.
#[test]
fn a_restart_while_an_interface_is_failed_moves_nothing() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let healthy = Snapshot::take(&bed.lab.host)?.of_others();
    bed.lab.cut(0)?;
    let addresses = [data(0, false).to_string(), data(0, true).to_string()];
    for address in &addresses {
        bed.wait_address_on(address, "eth1")?;
    }
    bed.daemon.wait_event("both were moved", 0, |event| {
        event["kind"] == "moved"
            && event["address"].as_str().is_some_and(|address| address.starts_with(&addresses[1]))
    })?;
    let failed = Snapshot::take(&bed.lab.host)?.of_others();
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.wait_state("eth0", "failed")?;
    bed.wait_state("eth1", "ok")?;
    let asked = |status: &Value| {
        let targets = interface(status, "eth0")["targets"].as_array().cloned().unwrap_or_default();
        targets.iter().filter_map(|target| target["sent"].as_u64()).sum::<u64>()
    };
    // As long as two verdicts take.
    let status = bed.daemon.wait_for("the dead path was probed", |status| asked(status) >= 20)?;
    assert_eq!(interface(&status, "eth0")["state"], "failed", "{status:#}");
    assert_eq!((bed.count("moved", 0)?, bed.count("repaired", 0)?), (0, 0));
    assert_eq!(failed.difference(&Snapshot::take(&bed.lab.host)?), "");
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&healthy)
}

#[test]
fn invalid_configuration_names_file_line_and_column_and_exits_65() -> Result<()> {
    let dir = tempfile::tempdir().context("a directory")?;
    let file = dir.path().join("ipmpd.toml");
    fs::write(&file, "[group.ipmp0]\n  failure-detection-tyme = \"1s\"\n").context("writing")?;
    let output = Command::new(bin_dir()?.join("ipmpd"))
        .args(["--check", "--config"])
        .arg(&file)
        .output()
        .context("running ipmpd")?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{text}");
    assert!(text.contains(&format!("{}:2:3", file.display())), "{text}");
    assert!(text.contains("failure-detection-time"), "{text}");
    Ok(())
}

#[test]
fn without_privileges_names_what_is_missing_and_exits_77() -> Result<()> {
    let dir = tempfile::tempdir().context("a directory")?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).context("permissions")?;
    // Another user may not be able to reach the build directory. A process of its own copies: a file that this one
    // holds open for writing, if only in a child that another test just forked, cannot be executed.
    let program = dir.path().join("ipmpd");
    let copied = Command::new("cp").arg(bin_dir()?.join("ipmpd")).arg(&program).status();
    assert!(copied.context("running cp")?.success());
    let file = dir.path().join("ipmpd.toml");
    fs::write(&file, Config::active_active(FDT_MS).to_string()).context("writing")?;
    let mut command = Command::new(&program);
    for (option, path) in [
        ("--config", file),
        ("--runtime-dir", dir.path().join("run")),
        ("--pin-dir", dir.path().join("pins")),
    ] {
        command.arg(option).arg(path);
    }
    if Uid::effective().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().context("running ipmpd")?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{text}");
    assert!(text.contains("CAP_"), "{text}");
    Ok(())
}
