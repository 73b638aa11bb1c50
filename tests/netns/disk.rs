//! What the daemon keeps on disk: a full one, a damaged file, and pins that cannot be made.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use ipmp_tests::{config::Config, daemon::interface, snapshot::Snapshot, topology::data, wait};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use serde_json::Value;

use crate::{
    Bed, FDT_MS, Traffic,
    release::{release, settings},
    restart::another,
};

const WAYS: usize = 7;

/// Ways in which a crash, a full disk or a careless hand leaves a file.
fn damaged(text: &str) -> [Vec<u8>; WAYS] {
    let bytes = text.as_bytes();
    let half = &bytes[..bytes.len() / 2];
    [
        Vec::new(),
        vec![0; bytes.len()],
        half.to_vec(),
        bytes[..bytes.len() - 1].to_vec(),
        // The blocks that were not written any more are zeros.
        [half, &vec![0; bytes.len() - half.len()]].concat(),
        [half, b"\xff\xfe garbage }".as_slice()].concat(),
        // Another file's end behind a whole one.
        [bytes, half].concat(),
    ]
}

#[test]
fn a_damaged_state_file_is_set_aside_and_never_trusted() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let address = data(0, false).to_string();
    let state = bed.daemon.files().runtime().join("state.json");
    let restart = |bed: &mut Bed, how: usize| -> Result<()> {
        bed.daemon.signal(Signal::SIGKILL)?;
        bed.daemon.wait_exit()?;
        let text = fs::read_to_string(&state).context("the state file")?;
        let left = damaged(&text).into_iter().nth(how).unwrap_or_default();
        fs::write(&state, &left).context("damaging the state file")?;
        bed.daemon.start_again(&bed.lab.host)?;
        bed.wait_state("eth1", "ok")?;
        assert_eq!(fs::read(state.with_extension("json.damaged")).context("set aside")?, left, "{how}");
        let log = fs::read_to_string(bed.daemon.files().log()).context("the log")?;
        assert!(log.contains("state.json: damaged"), "{how}: {log}");
        Ok(())
    };
    for how in 0..WAYS {
        restart(&mut bed, how)?;
        bed.daemon.wait_healthy()?;
        bed.wait_unchanged_since(&before).with_context(|| format!("damaged in way {how}"))?;
    }
    // What only the file knew is taken from the configuration.
    bed.lab.pull(0)?;
    bed.wait_address_on(&address, "eth1")?;
    wait::until("the move is noted", || Ok(crate::crash::is_noted(&bed, "eth1")))?;
    let traffic = Traffic::start(&bed.lab, false)?;
    restart(&mut bed, 0)?;
    let shown = bed.lab.host.ip("address show dev eth1")?;
    assert!(shown.contains(&format!("{address}/")), "it goes on serving: {shown}");
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    traffic.tcp.finish()?;
    Ok(())
}

/// A file system of its own for a directory, so small that it can be filled.
struct Tiny(PathBuf);

impl Tiny {
    fn on(dir: PathBuf) -> Result<Self> {
        Self::with(dir, "size=64k")
    }

    fn with(dir: PathBuf, limit: &str) -> Result<Self> {
        mount(Some("ipmpt"), &dir, Some("tmpfs"), MsFlags::empty(), Some(limit)).context("a tmpfs")?;
        Ok(Self(dir))
    }

    fn fill(&self) -> Result<PathBuf> {
        let filler = self.0.join("filler");
        let mut file = fs::File::create(&filler).context("a filler")?;
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok() {}
        Ok(filler)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

fn wait_reported(bed: &Bed, from_ns: u64) -> Result<()> {
    let reports = |event: &Value| {
        let text = event.to_string();
        event["kind"] == "action-failed"
            && text.contains("state.json")
            && text.contains("No space left on device (os error 28)\"")
    };
    bed.daemon.wait_event("the full disk is reported", from_ns, reports).map(drop)
}

#[test]
fn a_full_disk_is_reported_and_keeps_no_address_from_moving() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    let disk = Tiny::on(bed.daemon.files().runtime())?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    let before = Snapshot::take(&bed.lab.host)?;
    let filler = disk.fill()?;
    let pulled_ns = bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    wait_reported(&bed, pulled_ns)?;
    fs::remove_file(filler).context("making room")?;
    wait::until("what could not be written is written", || {
        let text = fs::read_to_string(disk.0.join("state.json")).unwrap_or_default();
        let state: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(state["placement"][data(0, false).to_string()] == "eth1")
    })?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)
}

#[test]
fn a_disk_that_is_full_at_the_start_is_reported_and_nothing_is_lost() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    let members = settings(&bed.lab.host)?;
    release(&bed)?;
    let before = Snapshot::take(&bed.lab.host)?;
    let others = settings(&bed.lab.host)?;
    assert_ne!(others, members, "members have settings of their own");
    // Another place than that of the daemon before: this one knows nothing.
    let disk = Tiny::on(bed.daemon.files().runtime())?;
    let filler = disk.fill()?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    assert_eq!(settings(&bed.lab.host)?, members, "they are needed whether they can be written down or not");
    bed.wait_log("settings of before are not written down")?;
    let pulled_ns = bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    wait_reported(&bed, pulled_ns)?;
    fs::remove_file(filler).context("making room")?;
    wait::until("what could not be written is written", || Ok(crate::crash::is_noted(&bed, "eth1")))?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_log("settings of before are written down now")?;
    wait::until("the failback is done", || Ok(crate::crash::is_noted(&bed, "eth0")))?;
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    let (code, text) = release(&bed)?;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(settings(&bed.lab.host)?, others);
    bed.wait_unchanged_since(&before)
}

/// Without a control socket nobody could order anything.
#[test]
fn where_no_file_can_be_made_a_start_is_refused_with_the_reason_and_changes_nothing() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    let before = Snapshot::take(&bed.lab.host)?;
    let files = bed.daemon.files().clone();
    // The root directory is one.
    let disk = Tiny::with(files.runtime(), "nr_inodes=1")?;
    let (code, text) = another(&bed, &files.runtime(), &files.pins())?;
    assert_eq!(code, Some(70), "{text}");
    assert!(
        text.contains("No space left on device") && text.contains("the runtime directory must"),
        "{text}"
    );
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    drop(disk);
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)
}

#[test]
fn a_read_only_bpffs_costs_a_daemon_its_pins_and_nothing_else() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    release(&bed)?;
    let pins = bed.daemon.files().pins();
    fs::create_dir_all(&pins).context("a directory for the pins")?;
    mount(Some("ipmpt"), &pins, Some("bpf"), MsFlags::MS_RDONLY, None::<&str>).context("bpffs")?;
    bed.daemon.start_again(&bed.lab.host)?;
    let status = bed.daemon.wait_healthy()?;
    bed.wait_log("nothing is pinned: ")?;
    bed.wait_log("Read-only file system")?;
    assert_ne!(interface(&status, "eth0")["reply_evidence"], "socket", "{status:#}");
    let traffic = Traffic::start(&bed.lab, false)?;
    bed.lab.cut(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    traffic.tcp.finish()?;
    bed.wait_unchanged_since(&before)
}
