//! `cargo xtask lab`: the demo's lab, left standing for exploring.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use ipmp_tests::{
    config::Config,
    daemon::Files,
    netns,
    topology::{Lab, Shape, data},
    wait,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{privilege, shell::say, stage};

/// The names of its namespaces begin so.
const PREFIX: &str = "ipmp-lab";
/// The daemon's files. Also the mark that a lab stands.
const DIR: &str = "/run/ipmp-lab";

/// Up or down.
#[derive(Args)]
pub(crate) struct Options {
    /// Remove the lab
    #[arg(long)]
    down: bool,
    /// Use the binaries that are built already (in `IPMP_BIN_DIR`, else the release build)
    #[arg(long)]
    built: bool,
}

/// Builds the lab and says what to try, or removes it.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.down {
        privilege::become_root("removing the lab", Path::new(""), &["lab", "--down"])?;
        return down();
    }
    let bin_dir = stage::prepare("the lab", options.built, &["lab", "--built"])?;
    ensure!(!stands(), "a lab stands already; remove it first: cargo xtask lab --down");
    if let Err(error) = up(&bin_dir) {
        down()?;
        return stage::end(Err(error));
    }
    print!("{}", commands(&bin_dir));
    Ok(())
}

fn stands() -> bool {
    Path::new(DIR).exists() || !namespaces().is_empty()
}

fn namespaces() -> Vec<String> {
    let mut names = netns::list();
    names.retain(|name| name.starts_with(&format!("{PREFIX}-")));
    names
}

fn files(bin_dir: &Path) -> Files {
    Files { bin_dir: bin_dir.to_path_buf(), dir: PathBuf::from(DIR), wrapper: Vec::new() }
}

fn pid_file() -> PathBuf {
    Path::new(DIR).join("pid")
}

fn up(bin_dir: &Path) -> Result<()> {
    let files = files(bin_dir);
    fs::create_dir_all(&files.dir).with_context(|| format!("creating {DIR}"))?;
    let lab = Lab::new(&Shape { data_members: 2, keep_as: Some(PREFIX.to_owned()), ..Shape::default() })?;
    let config = Config::active_active(stage::FDT.as_millis() as u64);
    fs::write(files.config(), config.to_string()).context("writing ipmpd.toml")?;
    // A group of its own: the terminal's Ctrl-C is not meant for it.
    let mut daemon = files.daemon_command(&lab.host)?.process_group(0).spawn().context("starting ipmpd")?;
    fs::write(pid_file(), daemon.id().to_string()).context("noting ipmpd's process id")?;
    wait::until("ipmpd reports a healthy group", || {
        if let Some(status) = daemon.try_wait()? {
            let log = fs::read_to_string(files.log()).unwrap_or_default();
            bail!("ipmpd ended with {status}:\n{log}");
        }
        Ok(files.client(&["status"])?.status.success())
    })
}

fn down() -> Result<()> {
    if !stands() {
        say("no lab stands");
        return Ok(());
    }
    end_daemon()?;
    files(Path::new("")).unmount_pins();
    for name in namespaces() {
        netns::delete(&name)?;
    }
    if Path::new(DIR).exists() {
        fs::remove_dir_all(DIR).with_context(|| format!("removing {DIR}"))?;
    }
    say("the lab is removed");
    Ok(())
}

/// Ends the lab's daemon, if the noted process still is that daemon.
fn end_daemon() -> Result<()> {
    let Ok(text) = fs::read_to_string(pid_file()) else {
        return Ok(());
    };
    let pid: i32 =
        text.trim().parse().with_context(|| format!("{} holds no process id", pid_file().display()))?;
    let is_ours = || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            let line = String::from_utf8_lossy(&line);
            line.contains("ipmpd\0") && line.contains(DIR)
        })
    };
    if is_ours() {
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("ending ipmpd")?;
        wait::until_despite_interrupt("ipmpd ends", wait::DEADLINE, || Ok(!is_ours()))?;
    }
    Ok(())
}

fn commands(bin_dir: &Path) -> String {
    let address = data(0, false);
    let ipmp = format!("sudo {}/ipmp --runtime-dir {DIR}/run", bin_dir.display());
    let inside = format!("sudo nsenter --net=/run/netns/{PREFIX}");
    let switch = format!("sudo ip -n {PREFIX}-switch");
    format!(
        "
The lab stands: namespaces {PREFIX}-host, {PREFIX}-switch, {PREFIX}-peer0; the daemon's files are in {DIR}.

See        {ipmp} status
           {ipmp} events --follow
           {inside}-host ip -brief address
           sudo bpftool map show          (maps named ipmp_…; pinned below {DIR}/pins)
Traffic    {inside}-peer0 ping {address}
Cable      {switch} link set p0 down      … and up
Path       {switch} link set p0 nomaster  … and link set p0 master br0
Remove     cargo xtask lab --down
"
    )
}
