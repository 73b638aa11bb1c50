//! The administrator's orders, and what the how-to of the source shows, in its order.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ipmp_tests::{
    address_log::AddressLog,
    config::Config,
    daemon::{address_on, interface},
    ping::Pinger,
    snapshot::Snapshot,
    topology::data,
    wait::{self, now_ns},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{Bed, FDT_MS, Traffic};

/// Loss that the source's laboratory had was five seconds (A62); a pulled cable may cost us this.
const CABLE_BUDGET: Duration = Duration::from_secs(1);

/// Exit code and standard error of an order.
fn order(bed: &Bed, words: &[&str]) -> Result<(Option<i32>, String)> {
    let output = bed.daemon.client(words)?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn a35_the_last_one_goes_offline_only_by_force_and_online_returns_it_even_without_failback() -> Result<()> {
    let config = Config::active_active(FDT_MS).with("failback", "false");
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    let address = data(0, false).to_string();
    assert_eq!(order(&bed, &["offline", "eth0"])?, (Some(0), String::new()));
    bed.wait_address_on(&address, "eth1")?;
    let status = bed
        .daemon
        .wait_for("eth0 is not probed any more", |status| interface(status, "eth0")["state"] == "offline")?;
    assert_eq!(interface(&status, "eth0")["active"], false);
    traffic.wait_flow()?;

    let (code, text) = order(&bed, &["offline", "eth0"])?;
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("already offline"), "{text}");
    let (code, text) = order(&bed, &["offline", "eth1"])?;
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("no other functioning interfaces are in its IPMP group"), "{text}");
    assert_eq!(address_on(&bed.daemon.status()?, &address), Some("eth1"), "a refusal changes nothing");

    assert_eq!(order(&bed, &["offline", "eth1", "--force"])?, (Some(0), String::new()));
    bed.wait_state("eth1", "offline")?;
    let whys = bed.daemon.events()?.into_iter().filter(|event| event["kind"] == "offline");
    let whys: Vec<Value> = whys.map(|event| event["why"].clone()).collect();
    let [usual, forced] = [json!({"why": "administrator"}), json!({"why": "administrator", "forced": true})];
    assert_eq!(whys, [usual, forced]);
    let told = bed.daemon.client(&["explain", "eth1"])?.stdout;
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("forced: no other functioning interface is in its group"), "{told}");
    // There is no better place: they stay, and work as long as the interface does.
    traffic.wait_flow()?;
    for nic in ["eth1", "eth0"] {
        assert_eq!(order(&bed, &["online", nic])?, (Some(0), String::new()));
    }
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    let (code, text) = order(&bed, &["online", "eth0"])?;
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("not offline"), "{text}");
    let (code, text) = order(&bed, &["offline", "eth9"])?;
    assert_eq!(code, Some(64), "{text}");
    traffic.tcp.finish().map(drop)
}

/// What was taken offline is about to be worked on: a daemon that is started anew must not give it traffic again.
#[test]
fn a35_offline_outlives_a_restart_until_online_ends_it() -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?.of_others();
    let address = data(0, false).to_string();
    assert_eq!(order(&bed, &["offline", "eth0"])?, (Some(0), String::new()));
    bed.wait_address_on(&address, "eth1")?;
    wait::until("eth0 is without its data addresses", || {
        let shown = bed.lab.host.ip("address show dev eth0")?;
        Ok([false, true].iter().all(|ipv6| !shown.contains(&format!("{}/", data(0, *ipv6)))))
    })?;
    let moved = Snapshot::take(&bed.lab.host)?.of_others();
    let log = AddressLog::start(&bed.lab.host)?;
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.wait_state("eth0", "offline")?;
    bed.wait_state("eth1", "ok")?;
    assert_eq!(address_on(&bed.daemon.status()?, &address), Some("eth1"));
    assert_eq!(log.steps()?, []);
    assert_eq!(moved.difference(&Snapshot::take(&bed.lab.host)?), "");

    assert_eq!(order(&bed, &["online", "eth0"])?, (Some(0), String::new()));
    bed.wait_unchanged_since(&before)?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    Ok(())
}

#[test]
fn a35_a51_online_is_refused_while_the_hardware_address_is_a_siblings() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let shown: Value = serde_json::from_str(&bed.lab.host.ip("-j link show dev eth0")?).context("JSON")?;
    let mac = shown[0]["address"].as_str().context("a hardware address")?;
    assert_eq!(order(&bed, &["offline", "eth1"])?, (Some(0), String::new()));
    bed.lab.host.ip(&format!("link set eth1 address {mac}"))?;
    bed.daemon
        .wait_for("the new address is known", |status| interface(status, "eth1")["device"]["mac"] == mac)?;
    let (code, text) = order(&bed, &["online", "eth1"])?;
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("interface has duplicate hardware address"), "{text}");
    assert_eq!(interface(&bed.daemon.status()?, "eth1")["state"], "offline");
    Ok(())
}

#[test]
fn a45_a54_a58_a59_a62_each_cable_in_turn_costs_little_and_all_is_as_before() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    for (pulled, other) in [(0, "eth1"), (1, "eth0")] {
        let address = data(pulled, false);
        let ping = Pinger::start(bed.lab.peer(), address, Duration::from_millis(5))?;
        bed.lab.pull(pulled)?;
        bed.wait_address_on(&address.to_string(), other)?;
        bed.lab.plug(pulled)?;
        bed.daemon.wait_healthy()?;
        bed.wait_unchanged_since(&before)?;
        let seen = ping.finish()?;
        assert!(seen.longest_gap < CABLE_BUDGET, "cable {pulled}: {seen:?}");
    }
    Ok(())
}

#[test]
fn a32_a61_an_idle_standby_holds_only_its_test_address_and_stays_up() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_standby(FDT_MS).only(false))? else {
        return Ok(());
    };
    let output = bed.daemon.client(&["status", "--solaris"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The place of a data address, which it has none of; its test address is the first logical interface, as in the how-to.
    let first = text.find(
        "eth1: flags=69040843<UP,BROADCAST,RUNNING,MULTICAST,DEPRECATED,IPv4,NOFAILOVER,STANDBY,INACTIVE>",
    );
    assert!(first.is_some(), "{text}");
    let shown: Value =
        serde_json::from_str(&bed.lab.host.ip("-j -4 address show dev eth1")?).context("JSON")?;
    let addresses = shown[0]["addr_info"].as_array().context("addresses")?;
    assert_eq!(addresses.len(), 1, "{shown:#}");
    assert_eq!(
        (&addresses[0]["prefixlen"], &addresses[0]["scope"]),
        (&32.into(), &"link".into()),
        "{shown:#}"
    );
    // Its link must be seen: never administratively down.
    let flags = shown[0]["flags"].as_array().context("flags")?;
    assert!(flags.contains(&"UP".into()) && flags.contains(&"LOWER_UP".into()), "{shown:#}");
    Ok(())
}

/// It is tried again after a second, two, four and so on, and each time in vain.
#[test]
fn what_cannot_be_placed_is_told_once_until_it_can() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::new(FDT_MS, 1, 1).link_based())? else {
        return Ok(());
    };
    let address = data(0, true).to_string();
    let refusals = |from_ns| -> Result<usize> {
        let events = bed.daemon.events_since(from_ns)?;
        let of_it = |event: &&Value| {
            event["kind"] == "action-failed" && event.to_string().contains("eth0 is administratively down")
        };
        Ok(events.iter().filter(of_it).count())
    };
    for _ in 0..2 {
        let from_ns = now_ns();
        // The kernel deletes the IPv6 address for that, and there is nowhere to put it.
        bed.lab.host.ip("link set eth0 down")?;
        wait::until("it is told", || Ok(refusals(from_ns)? > 0))?;
        wait::until("it was tried again twice", || Ok(now_ns() - from_ns >= 4_500_000_000))?;
        assert_eq!(refusals(from_ns)?, 1, "{}", bed.daemon.log_tail());
        bed.lab.host.ip("link set eth0 up")?;
        wait::until("it is back", || Ok(bed.lab.host.ip("-6 address show dev eth0")?.contains(&address)))?;
        bed.daemon.wait_healthy()?;
    }
    Ok(())
}
