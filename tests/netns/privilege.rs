//! The daemon needs three capabilities and no other user's rights.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, Files, bin_dir, interface},
    skip,
    snapshot::Snapshot,
    topology::{Lab, Shape, data},
    wait,
};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};

use serde_json::Value;

use crate::{Bed, FDT_MS, Traffic, crash::is_noted, detach::client};

/// `nobody`: any user without privileges.
const NOBODY: u32 = 65534;
/// Bits of `NET_ADMIN`, `NET_RAW`, `BPF` (linux/capability.h).
const NEEDED: u64 = 1 << 12 | 1 << 13 | 1 << 39;
/// Those that may be there as well: `IPC_LOCK`, `SYS_NICE`, `PERFMON`.
const USEFUL: u64 = 1 << 14 | 1 << 23 | 1 << 38;

/// A set of capabilities of each thread of a daemon, by its name in `proc_pid_status(5)`.
fn capabilities(daemon: &Daemon, set: &str) -> Result<Vec<u64>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).context("the daemon's threads")?;
    tasks
        .map(|task| {
            let status = fs::read_to_string(task?.path().join("status"))?;
            let value = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':'));
            u64::from_str_radix(value.context("a set of capabilities")?.trim(), 16).context("a number")
        })
        .collect()
}

/// What the systemd unit prepares: a runtime directory and a BPF file system that belong to the daemon's user.
fn prepare(files: &mut Files, set: &str) -> Result<()> {
    fs::set_permissions(&files.dir, Permissions::from_mode(0o755)).context("permissions")?;
    for dir in [files.runtime(), files.pins()] {
        fs::create_dir(&dir).with_context(|| format!("{}", dir.display()))?;
    }
    mount(Some("bpf"), &files.pins(), Some("bpf"), MsFlags::empty(), Some("mode=0700")).context("a bpffs")?;
    for dir in [files.runtime(), files.pins()] {
        chown(&dir, Some(NOBODY), Some(NOBODY)).with_context(|| format!("{}", dir.display()))?;
    }
    // Another user may not be able to reach the build directory.
    let program = files.dir.join("ipmpd");
    let copied = Command::new("cp").arg(files.bin_dir.join("ipmpd")).arg(&program).status();
    ensure!(copied.context("running cp")?.success(), "cp");
    let client = files.dir.join("ipmp");
    fs::hard_link(files.bin_dir.join("ipmp"), &client)
        .or_else(|_| fs::copy(files.bin_dir.join("ipmp"), &client).map(drop))
        .context("the client")?;
    files.bin_dir.clone_from(&files.dir);
    files.wrapper = vec![
        skip::find_program("setpriv").context("setpriv(1)")?.display().to_string(),
        format!("--reuid={NOBODY}"),
        format!("--regid={NOBODY}"),
        "--clear-groups".into(),
        format!("--inh-caps={set}"),
        format!("--ambient-caps={set}"),
        format!("--bounding-set={set}"),
        "--no-new-privs".into(),
    ];
    Ok(())
}

/// A failover and a failback by a daemon of an ordinary user with these capabilities; what its replies were seen by.
fn ordinary_user(set: &str, bits: u64) -> Result<Option<String>> {
    if !skip::can_run() {
        return Ok(None);
    }
    if skip::find_program("setpriv").is_none() {
        skip::say("setpriv(1) of util-linux is missing");
        return Ok(None);
    }
    let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
    let config = Config::active_active(FDT_MS).to_string();
    let daemon = Daemon::start_prepared(&lab.host, &config, bin_dir()?, |files| prepare(files, set))?;
    let mut bed = Bed { daemon, lab };
    let status = bed.daemon.wait_healthy()?;
    assert!(capabilities(&bed.daemon, "CapEff")?.iter().all(|held| *held == bits));
    let setting = || fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_announce");
    assert_eq!(bed.lab.host.run(setting)?.context("a setting")?.trim(), "2", "members are prepared");

    wait::until("the start is noted", || Ok(is_noted(&bed, "eth0")))?;
    let before = Snapshot::take(&bed.lab.host)?;
    let traffic = Traffic::start(&bed.lab, true)?;
    bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, true).to_string(), "eth1")?;
    traffic.wait_flow()?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)?;
    traffic.tcp.finish()?;

    // What it pinned is its successor's.
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)?;
    Ok(interface(&status, "eth0")["reply_evidence"].as_str().map(str::to_owned))
}

/// Without `CAP_PERFMON` the verifier may refuse the programs; replies are then seen by a socket.
#[test]
fn three_capabilities_suffice_for_an_ordinary_user() -> Result<()> {
    let Some(evidence) = ordinary_user("-all,+net_admin,+net_raw,+bpf", NEEDED)? else {
        return Ok(());
    };
    assert!(["xdp-native", "socket"].contains(&evidence.as_str()), "{evidence}");
    Ok(())
}

/// As the systemd unit has it.
#[test]
fn with_a_fourth_capability_programs_see_the_replies() -> Result<()> {
    let Some(evidence) = ordinary_user("-all,+net_admin,+net_raw,+bpf,+perfmon", NEEDED | 1 << 38)? else {
        return Ok(());
    };
    assert_eq!(evidence, "xdp-native");
    Ok(())
}

/// The unit's daemon may not write everywhere: whoever asks for it is told what to change, and nothing was done.
#[test]
fn b7_a_daemon_that_may_not_write_its_file_says_what_would_help() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    if skip::find_program("setpriv").is_none() {
        skip::say("setpriv(1) of util-linux is missing");
        return Ok(());
    }
    let lab = Lab::new(&Shape { members: 3, data_members: 2, ..Shape::default() })?;
    let config = Config::active_active(FDT_MS).to_string();
    let capabilities = "-all,+net_admin,+net_raw,+bpf,+perfmon";
    let daemon =
        Daemon::start_prepared(&lab.host, &config, bin_dir()?, |files| prepare(files, capabilities))?;
    let bed = Bed { daemon, lab };
    bed.daemon.wait_healthy()?;
    let file = bed.daemon.files().config();
    let dir = &bed.daemon.files().dir;
    let order = ["attach", "eth2", "--group", "ipmp0", "--persist"];
    let (code, said) = client(&bed, &order)?;
    let fix = format!("`chgrp ipmp {0}` and `chmod g+w {0}`", dir.display());
    assert_eq!((code, said.contains(&fix)), (Some(65), true), "{said}");
    assert_eq!(interface(&bed.daemon.status()?, "eth2"), &Value::Null, "nothing was done");
    // As ipmp.tmpfiles.conf has it.
    chown(dir, None, Some(NOBODY))?;
    fs::set_permissions(dir, Permissions::from_mode(0o775))?;
    let (code, said) = client(&bed, &order)?;
    assert_eq!((code, said.contains("also after a restart")), (Some(0), true), "{said}");
    assert!(fs::read_to_string(file)?.ends_with("\n[group.ipmp0.interface.eth2]\n"));
    Ok(())
}

#[test]
fn root_keeps_only_what_the_daemon_needs() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        for held in capabilities(&bed.daemon, set)? {
            assert_eq!(held & !(NEEDED | USEFUL), 0, "{set} of a thread is {held:x}");
        }
    }
    assert!(capabilities(&bed.daemon, "CapEff")?.iter().all(|held| held & NEEDED == NEEDED));
    let children = Path::new("/proc").join(bed.daemon.pid().to_string()).join("task");
    for task in fs::read_dir(children).context("threads")?.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        assert_eq!(children, "", "it runs no other program");
    }
    bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")
}
