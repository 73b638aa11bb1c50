//! B28: hardware that a section is tied to is the member, whatever its name.

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, address_on, bin_dir, interface},
    netns::ip_words,
    skip,
    topology::{Lab, Shape, data},
    wait::{self, now_ns},
};

use crate::{
    Bed, FDT_MS, Traffic,
    detach::{client, order},
};

fn mac(lab: &Lab, name: &str) -> Result<String> {
    let shown = lab.host.ip(&format!("-o link show dev {name}"))?;
    let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
    Ok(words.nth(1).context("a hardware address")?.to_owned())
}

/// The group with each section tied to what has its name now.
fn tied(lab: &Lab) -> Result<String> {
    let mut text = Config::active_active(FDT_MS).to_string();
    for name in ["eth0", "eth1"] {
        let heading = format!("[group.ipmp0.interface.{name}]\n");
        text = text.replace(&heading, &format!("{heading}mac = \"{}\"\n", mac(lab, name)?));
    }
    Ok(text)
}

fn lab() -> Result<Option<Lab>> {
    if !skip::can_run() {
        return Ok(None);
    }
    Lab::new(&Shape { data_members: 2, ..Shape::default() }).map(Some)
}

fn rename(lab: &Lab, from: &str, to: &str) -> Result<()> {
    lab.host.batch(&format!("link set {from} name {to}"))
}

/// What tells that something was taken for a failure.
fn unrest(bed: &Bed, since_ns: u64) -> Result<usize> {
    ["failed", "absent", "moved", "reconfigured"].iter().map(|kind| bed.count(kind, since_ns)).sum()
}

#[test]
fn b28_a_connection_lives_through_new_names_of_tied_hardware() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let daemon = Daemon::start_from(&lab.host, &tied(&lab)?, bin_dir()?)?;
    let mut bed = Bed { daemon, lab };
    bed.daemon.wait_healthy()?;
    let before = bed.places()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let address = data(0, false).to_string();
    let from_ns = now_ns();
    // Linux 6.2; earlier kernels rename only what is down.
    if rename(&bed.lab, "eth0", "port0").is_err() {
        skip::say("this kernel does not rename an interface that is up");
        return Ok(());
    }
    bed.wait_address_on(&address, "port0")?;
    traffic.wait_flow()?;
    let status = bed.daemon.wait_healthy()?;
    assert_eq!(interface(&status, "port0")["device"]["section"], "eth0", "{status:#}");
    assert_eq!((unrest(&bed, from_ns)?, bed.count("renamed", from_ns)?), (0, 1), "{}", bed.daemon.log_tail());
    let (code, said) = client(&bed, &["reload"])?;
    assert!(code == Some(0) && said.ends_with("nothing is different\n"), "{said}");
    assert_eq!(unrest(&bed, from_ns)?, 0, "a reload means the same as before");
    // The administrator may call it by either name.
    let (code, said) = client(&bed, &["offline", "eth0"])?;
    assert_eq!(code, Some(0), "{said}");
    bed.wait_address_on(&address, "eth1")?;
    // What is known of it stays known, away from home and over a restart.
    rename(&bed.lab, "port0", "port1")?;
    bed.wait_state("port1", "offline")?;
    bed.daemon.signal(nix::sys::signal::Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    rename(&bed.lab, "port1", "port2")?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.wait_state("port2", "offline")?;
    traffic.wait_flow()?;
    let (code, said) = client(&bed, &["online", "port2"])?;
    assert_eq!(code, Some(0), "{said}");
    bed.daemon.wait_healthy()?;
    bed.wait_address_on(&address, "port2")?;
    rename(&bed.lab, "port2", "eth0")?;
    bed.wait_address_on(&address, "eth0")?;
    // The kernel labels an interface's second and later addresses anew (`inetdev_changename` in net/ipv4/devinet.c).
    let places = || Ok::<_, anyhow::Error>(bed.places()?.join("\n").replace("eth0:2", "eth0"));
    wait::until("addresses and routes as before", || Ok(places()? == before.join("\n")))
        .with_context(|| format!("before {before:#?}, now {}", places().unwrap_or_default()))?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

/// What is about to be pulled out is left alone, whatever it is called meanwhile.
#[test]
fn b28_a_new_name_does_not_undo_a_detach() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let daemon = Daemon::start_from(&lab.host, &tied(&lab)?, bin_dir()?)?;
    let mut bed = Bed { daemon, lab };
    bed.daemon.wait_healthy()?;
    order(&bed, &["detach", "eth0"])?;
    rename(&bed.lab, "eth0", "port0")?;
    bed.wait_state("port0", "absent")?;
    bed.daemon.signal(nix::sys::signal::Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    rename(&bed.lab, "port0", "port1")?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.wait_state("eth1", "ok")?;
    bed.wait_state("port1", "absent")?;
    let shown = bed.lab.host.ip("address show dev port1")?;
    assert!(!shown.contains("scope global") && !shown.contains(",UP"), "{shown}");
    order(&bed, &["attach", "eth0"])?;
    bed.daemon.wait_healthy()?;
    bed.wait_address_on(&data(0, false).to_string(), "port1")
}

#[test]
fn b28_tied_hardware_that_returns_under_another_name_gets_its_addresses_back() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let daemon = Daemon::start_from(&lab.host, &tied(&lab)?, bin_dir()?)?;
    let bed = Bed { daemon, lab };
    bed.daemon.wait_healthy()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let address = data(0, false).to_string();
    let (host, switch, mac) = (bed.lab.host.name(), bed.lab.switch.name(), mac(&bed.lab, "eth0")?);
    bed.lab.host.batch("link delete eth0")?;
    bed.wait_address_on(&address, "eth1")?;
    // Somebody else's hardware has the name meanwhile.
    bed.lab.host.batch("link add eth0 type veth peer name other")?;
    ip_words(&format!(
        "link add name enp3s0 address {mac} index 121 netns {host} type veth peer name p0 index 121 netns {switch}"
    ))?;
    bed.lab.switch.batch("link set p0 master br0\nlink set p0 up")?;
    let status = bed.daemon.wait_healthy()?;
    assert_eq!(address_on(&status, &address), Some("enp3s0"), "{status:#}");
    traffic.wait_flow()?;
    let shown = bed.lab.host.ip("-o address show")?;
    let on = shown.lines().filter(|line| line.contains(&format!("{address}/")));
    assert!(on.clone().count() == 1 && on.clone().all(|line| line.contains("enp3s0")), "{shown}");
    traffic.tcp.finish().map(drop)
}

#[test]
fn b28_names_that_were_swapped_before_the_start_are_followed() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let config = tied(&lab)?;
    lab.host.batch("link set eth0 down\nlink set eth1 down")?;
    for (from, to) in [("eth0", "other"), ("eth1", "eth0"), ("other", "eth1")] {
        rename(&lab, from, to)?;
    }
    lab.host.batch("link set eth0 up\nlink set eth1 up")?;
    let daemon = Daemon::start_from(&lab.host, &config, bin_dir()?)?;
    let bed = Bed { daemon, lab };
    let status = bed.daemon.wait_healthy()?;
    assert_eq!(address_on(&status, &data(0, false).to_string()), Some("eth1"), "{status:#}");
    assert_eq!(address_on(&status, &data(1, false).to_string()), Some("eth0"), "{status:#}");
    assert_eq!(bed.count("moved", 0)?, 0, "{}", bed.daemon.log_tail());
    Ok(())
}
