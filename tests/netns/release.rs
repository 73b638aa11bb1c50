//! What the daemon changes on a host is put back: for an interface that leaves, and for all when asked.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, bin_dir},
    netns::Netns,
    skip,
    snapshot::Snapshot,
    topology::{Lab, Shape, data, peer4, test4},
    wait,
};
use ipmp_user::kernel::{DepartureRung, Kernel, KernelOptions};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};

use crate::{Bed, FDT_MS};

const SETTINGS: [&str; 3] = ["arp_ignore", "arp_announce", "promote_secondaries"];

/// The members' settings of an interface.
pub(crate) type Settings = [String; 3];

/// What members' settings are on two interfaces of a host.
pub(crate) fn settings(host: &Netns) -> Result<Vec<Settings>> {
    let read = || {
        ["eth0", "eth1"]
            .iter()
            .map(|nic| {
                let value = |key| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{nic}/{key}"));
                let [a, b, c] = SETTINGS;
                Ok([value(a)?, value(b)?, value(c)?])
            })
            .collect::<std::io::Result<Vec<_>>>()
    };
    host.run(read)?.context("settings")
}

/// How a lab was before the daemon came, and the daemon.
type Before = (Snapshot, Vec<Settings>, Bed);

/// Builds a lab, remembers it, and starts the daemon.
fn before_and_bed() -> Result<Option<Before>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
    let (before, set) = (Snapshot::take(&lab.host)?, settings(&lab.host)?);
    let daemon = Daemon::start(&lab.host, &Config::active_active(FDT_MS))?;
    daemon.wait_healthy()?;
    ensure!(settings(&lab.host)? != set, "members have settings of their own");
    Ok(Some((before, set, Bed { daemon, lab })))
}

/// Runs `ipmpd --release` in the host; its exit code and all it said.
pub(crate) fn release(bed: &Bed) -> Result<(Option<i32>, String)> {
    let files = bed.daemon.files();
    release_in(bed, &files.runtime(), &files.pins())
}

/// The same with directories of its own.
fn release_in(bed: &Bed, runtime: &Path, pins: &Path) -> Result<(Option<i32>, String)> {
    let output = bed
        .lab
        .host
        .command(bin_dir()?.join("ipmpd"))?
        .arg("--release")
        .arg("--runtime-dir")
        .arg(runtime)
        .arg("--pin-dir")
        .arg(pins)
        .stdin(Stdio::null())
        .output()
        .context("running ipmpd")?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

/// Neighbour entries that the kernel keeps up by itself.
fn managed(bed: &Bed) -> Result<String> {
    let text = bed.lab.host.ip("neigh show nud all")?;
    Ok(text.lines().filter(|line| line.contains("managed")).collect::<Vec<_>>().join("\n"))
}

fn has_program(bed: &Bed, nic: &str) -> Result<bool> {
    Ok(bed.lab.host.ip(&format!("-d link show dev {nic}"))?.contains("prog/xdp"))
}

#[test]
fn an_interface_that_left_the_configuration_gets_its_settings_back_at_the_next_start() -> Result<()> {
    let Some((_, set, mut bed)) = before_and_bed()? else {
        return Ok(());
    };
    ensure!(has_program(&bed, "eth1")?, "a member has a program");
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    fs::write(bed.daemon.files().config(), Config::new(FDT_MS, 1, 1).to_string()).context("ipmpd.toml")?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    let now = settings(&bed.lab.host)?;
    assert_ne!(now[0], set[0], "eth0 is a member still");
    assert_eq!(now[1], set[1], "eth1 is none any more");
    assert!(!has_program(&bed, "eth1")?);
    let shown = bed.lab.host.ip("address show dev eth1")?;
    assert!(!shown.contains(&test4(1).to_string()), "{shown}");
    assert!(shown.contains(&data(1, false).to_string()), "{shown}");
    Ok(())
}

#[test]
fn release_puts_the_host_back_after_a_crash() -> Result<()> {
    let Some((before, set, mut bed)) = before_and_bed()? else {
        return Ok(());
    };
    let (code, text) = release(&bed)?;
    assert_eq!(code, Some(70), "refused while a daemon runs: {text}");
    assert!(text.contains("another ipmpd runs"), "{text}");
    bed.daemon.wait_healthy()?;

    assert!(managed(&bed)?.contains(&peer4(0).to_string()), "the kernel keeps targets resolved");
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    let kept = "192.0.2.99 dev eth0";
    bed.lab.host.batch(&format!("neigh add {kept} lladdr 02:00:00:00:00:99 nud stale"))?;
    let (code, text) = release(&bed)?;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(managed(&bed)?, "");
    assert!(bed.lab.host.ip("neigh show")?.contains(kept), "somebody else's");
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    assert_eq!(settings(&bed.lab.host)?, set);
    assert!(!has_program(&bed, "eth0")? && !has_program(&bed, "eth1")?);
    assert!(!bed.daemon.files().runtime().join("state.json").exists());
    assert_eq!(release(&bed)?, (Some(0), String::new()), "nothing is left to be put back");
    Ok(())
}

#[test]
fn release_leaves_an_address_where_it_serves() -> Result<()> {
    let Some((_, set, mut bed)) = before_and_bed()? else {
        return Ok(());
    };
    let address = data(0, false).to_string();
    let pulled_ns = bed.lab.pull(0)?;
    bed.daemon.wait_event("the move is noted", pulled_ns, |event| event["kind"] == "announced")?;
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    let (code, text) = release(&bed)?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("{address}: stays on eth1; its home is eth0")), "{text}");
    assert!(bed.lab.host.ip("-4 address show dev eth1")?.contains(&address));
    assert_eq!(settings(&bed.lab.host)?, set);
    // A daemon that is started after all knows the home.
    bed.lab.plug(0)?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.wait_address_on(&address, "eth0")
}

#[test]
fn release_remembers_the_settings_of_a_renamed_interface() -> Result<()> {
    let Some((before, set, mut bed)) = before_and_bed()? else {
        return Ok(());
    };
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    bed.lab.host.batch("link set eth0 name net0")?;
    let (code, text) = release(&bed)?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("eth0: not there; its settings are remembered"), "{text}");
    assert!(text.contains("eth1: settings as they were before"), "{text}");
    assert!(text.contains(&format!("{}: stays on net0; its home is eth0", data(0, false))), "{text}");
    bed.lab.host.batch("link set net0 name eth0")?;
    assert_eq!(release(&bed)?, (Some(0), "eth0: settings as they were before\n".to_owned()));
    assert_eq!(settings(&bed.lab.host)?, set);
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    assert_eq!(release(&bed)?, (Some(0), String::new()), "nothing is left to be put back");
    Ok(())
}

#[test]
fn release_says_that_a_withdrawn_address_is_on_no_interface() -> Result<()> {
    let config = Config { withdraw: true, ..Config::active_standby(FDT_MS) };
    let Some(mut bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let address = data(0, false).to_string();
    bed.lab.cut(0)?;
    bed.wait_address_on(&address, "eth1")?;
    bed.lab.cut(1)?;
    wait::until("the address is withdrawn", || {
        Ok(!bed.lab.host.ip("-4 address show")?.contains(&format!("{address}/")))
    })?;
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    let (code, text) = release(&bed)?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("{address}: on no interface; its home is eth0")), "{text}");
    assert!(!text.contains("stays on"), "{text}");
    // A daemon that is started after all brings it back.
    bed.lab.mend(0)?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.wait_address_on(&address, "eth0")
}

#[test]
fn release_of_another_directory_leaves_a_running_daemon_its_test_addresses() -> Result<()> {
    let Some((_, _, bed)) = before_and_bed()? else {
        return Ok(());
    };
    let other = bed.daemon.files().runtime().with_file_name("other");
    let before = bed.lab.host.ip("-o address show")?;
    assert!(before.contains(&test4(0).to_string()), "{before}");
    assert_eq!(release_in(&bed, &other, &other.join("pins"))?, (Some(0), String::new()));
    assert_eq!(bed.lab.host.ip("-o address show")?, before);
    Ok(())
}

/// A daemon that starts puts back what its own records name; a mark on an address does not say who made it.
#[test]
fn a_daemon_that_starts_leaves_another_one_its_test_addresses() -> Result<()> {
    let Some((_, _, bed)) = before_and_bed()? else {
        return Ok(());
    };
    let before = bed.lab.host.ip("-o address show")?;
    assert!(before.contains(&test4(0).to_string()), "{before}");
    let elsewhere = "boot-wait = \"0s\"\n[group.other.interface.absent0]\n[group.other.interface.absent1]\n";
    let other = Daemon::start_from(&bed.lab.host, elsewhere, bin_dir()?)?;
    other.status()?;
    assert_eq!(bed.lab.host.ip("-o address show")?, before);
    Ok(())
}

/// Leaves what a daemon on a kernel without tcx links (before 6.6) leaves when it is killed.
fn leave_egress_filter(bed: &Bed, nic: &str) -> Result<()> {
    // Where nothing can be pinned.
    let options = KernelOptions { departure: DepartureRung::Clsact, ..KernelOptions::new("/proc/none") };
    let departure = bed.lab.host.run(|| -> Result<DepartureRung> {
        let ifindex = nix::net::if_::if_nametoindex(nic)?;
        let mut kernel = Kernel::open(&options);
        let departure = kernel.attach(ifindex, nic).departure;
        // Who is killed takes nothing back.
        std::mem::forget(kernel);
        Ok(departure)
    })??;
    ensure!(departure == DepartureRung::Clsact, "{departure}");
    ensure!(has_egress_filter(bed, nic)?, "it outlives its daemon");
    Ok(())
}

fn has_egress_filter(bed: &Bed, nic: &str) -> Result<bool> {
    let mut tc = bed.lab.host.command("tc")?;
    let shown = tc.args(["filter", "show", "dev", nic, "egress"]).output().context("running tc")?;
    Ok(String::from_utf8_lossy(&shown.stdout).contains("ipmp_egress"))
}

#[test]
fn release_takes_an_egress_filter_off_that_no_pin_holds() -> Result<()> {
    let Some((_, _, mut bed)) = before_and_bed()? else {
        return Ok(());
    };
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    leave_egress_filter(&bed, "eth0")?;
    let (code, text) = release(&bed)?;
    assert_eq!((code, text.contains("eth0: egress filter removed")), (Some(0), true), "{text}");
    assert!(!has_egress_filter(&bed, "eth0")?);
    assert_eq!(release(&bed)?, (Some(0), String::new()), "nothing is left to be put back");
    Ok(())
}

#[test]
fn an_interface_that_left_the_configuration_loses_its_egress_filter_at_the_next_start() -> Result<()> {
    let Some((_, _, mut bed)) = before_and_bed()? else {
        return Ok(());
    };
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    leave_egress_filter(&bed, "eth1")?;
    fs::write(bed.daemon.files().config(), Config::new(FDT_MS, 1, 1).to_string()).context("ipmpd.toml")?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    assert!(!has_egress_filter(&bed, "eth1")?);
    Ok(())
}

fn is_mounted(pins: &Path) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|place| Path::new(place) == pins)))
}

#[test]
fn release_unmounts_what_the_daemon_mounted_and_nothing_else() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    for by_admin in [false, true] {
        let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
        let config = Config::active_active(FDT_MS).to_string();
        let daemon = Daemon::start_prepared(&lab.host, &config, bin_dir()?, |files| {
            let pins = files.pins();
            fs::create_dir(&pins)?;
            if by_admin {
                mount(Some("bpf"), &pins, Some("bpf"), MsFlags::empty(), None::<&str>)?;
            }
            Ok(())
        })?;
        let mut bed = Bed { daemon, lab };
        bed.daemon.wait_healthy()?;
        let pins = bed.daemon.files().pins();
        assert!(is_mounted(&pins)?);
        bed.daemon.signal(Signal::SIGTERM)?;
        bed.daemon.wait_exit()?;
        let (code, text) = release(&bed)?;
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(is_mounted(&pins)?, by_admin, "{text}");
    }
    Ok(())
}
