//! B22 to B27: interfaces that are missing at start.

use std::fs;

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::{Config, Member},
    daemon::{Daemon, address_on, bin_dir, group, interface},
    netns::ip_words,
    skip,
    topology::{Lab, Shape, data, test4},
    wait,
};

use crate::{Bed, FDT_MS, Traffic};

/// eth7 is configured and not there; eth0 is active, eth1 a standby.
fn config() -> Config {
    let mut config = Config::active_standby(FDT_MS);
    config.members.push(Member {
        name: "eth7".into(),
        data: vec!["192.168.10.17/24".into(), "2001:db8:10::17/64".into()],
        test: vec![test4(7).to_string()],
        standby: false,
    });
    config
}

fn start(boot_wait: &str, config: &Config) -> Result<Option<Bed>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let lab = Lab::new(&Shape::default())?;
    let text = format!("boot-wait = \"{boot_wait}\"\n{config}");
    let daemon = Daemon::start_from(&lab.host, &text, bin_dir()?)?;
    Ok(Some(Bed { daemon, lab }))
}

fn plug_in(bed: &Bed) -> Result<()> {
    let (host, switch) = (bed.lab.host.name(), bed.lab.switch.name());
    ip_words(&format!(
        "link add name eth7 index 107 netns {host} type veth peer name p7 index 107 netns {switch}"
    ))?;
    bed.lab.switch.batch("link set p7 master br0\nlink set p7 up")
}

fn log(bed: &Bed) -> Result<String> {
    fs::read_to_string(bed.daemon.files().log()).context("the log")
}

#[test]
fn b22_b23_b24_a_standby_serves_after_a_bounded_wait_and_the_guides_words_say_so() -> Result<()> {
    let Some(bed) = start("3s", &config())? else {
        return Ok(());
    };
    let status =
        bed.daemon.wait_for("the others work", |status| interface(status, "eth0")["probe"] == "ok")?;
    let waits = interface(&status, "eth7")["deferred"] == "missing at start; it may still come";
    assert!(waits || log(&bed)?.contains("moving addresses"), "it is waited for: {status:#}");
    bed.wait_address_on("192.168.10.17", "eth1")?;
    bed.wait_address_on("2001:db8:10::17", "eth1")?;
    wait::until("the messages", || {
        let log = log(&bed)?;
        Ok(["IPv4", "IPv6"].iter().all(|family| {
            log.contains(&format!("moving addresses from failed {family} interfaces: eth7 (moved to eth1)"))
        }))
    })?;
    bed.wait_state("eth7", "absent")?;
    wait::until("they serve", || Ok(bed.lab.host.ip("address show dev eth1")?.contains("192.168.10.17/24")))?;
    let events = bed.daemon.events()?;
    let missing = events.iter().find(|event| event["kind"] == "missing").context("a missing event")?;
    assert_eq!(missing["why"]["moved"], serde_json::json!([{"interface": "eth7", "on": ["eth1"]}]));
    Ok(())
}

#[test]
fn b25_without_an_alternative_the_guides_words_say_so() -> Result<()> {
    let mut config = config();
    config.members.drain(..2);
    let Some(bed) = start("100ms", &config)? else {
        return Ok(());
    };
    let words =
        "moving addresses from failed IPv4 interfaces: eth7 (couldn't move; no alternative interface)";
    wait::until("the message", || Ok(log(&bed)?.contains(words)))?;
    assert_eq!(group(&bed.daemon.status()?)["state"], "failed");
    Ok(())
}

/// Without a list there is nothing that could be served elsewhere: what DHCP or a router gives an interface is its own.
#[test]
fn b26_only_listed_addresses_are_hosted_elsewhere() -> Result<()> {
    let mut config = config();
    config.members[2].data.clear();
    let Some(bed) = start("100ms", &config)? else {
        return Ok(());
    };
    bed.wait_state("eth7", "absent")?;
    bed.wait_state("eth1", "ok")?;
    assert!(!log(&bed)?.contains("moving addresses"));
    let status = bed.daemon.status()?;
    assert_eq!(group(&status)["addresses"].as_array().map(Vec::len), Some(2), "{status:#}");
    Ok(())
}

#[test]
fn b27_a_connection_lives_through_a_later_appearance() -> Result<()> {
    let Some(bed) = start("200ms", &config())? else {
        return Ok(());
    };
    bed.wait_address_on("192.168.10.17", "eth1")?;
    let traffic = Traffic::start(&bed.lab, false)?;
    plug_in(&bed)?;
    let status = bed.daemon.wait_healthy()?;
    assert_eq!(address_on(&status, &data(0, false).to_string()), Some("eth0"));
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn b22_one_that_comes_within_the_wait_was_never_missing() -> Result<()> {
    let Some(bed) = start("60s", &config())? else {
        return Ok(());
    };
    bed.daemon.wait_for("the others work", |status| interface(status, "eth0")["probe"] == "ok")?;
    plug_in(&bed)?;
    bed.daemon.wait_healthy()?;
    let events = bed.daemon.events()?;
    let story = ["missing", "absent", "moved", "action-failed"];
    let told: Vec<_> = events.iter().filter(|e| story.iter().any(|kind| e["kind"] == *kind)).collect();
    assert!(told.is_empty(), "{told:#?}");
    wait::until("at home", || Ok(bed.lab.host.ip("address show dev eth7")?.contains("192.168.10.17/24")))
}
