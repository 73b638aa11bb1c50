//! B9 to B17: interfaces given up as a preparation of their removal.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::{address_on, group, interface},
    snapshot::Snapshot,
    topology::{data, test4},
    wait::{self, now_ns},
};

use crate::{Bed, FDT_MS, Traffic};

/// Exit status and all that was said.
pub(crate) fn client(bed: &Bed, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = bed.daemon.client(arguments)?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout) + &text(&output.stderr)))
}

/// An order that must be carried out.
pub(crate) fn order(bed: &Bed, arguments: &[&str]) -> Result<String> {
    let (code, text) = client(bed, arguments)?;
    ensure!(code == Some(0), "ipmp {}: {code:?}: {text}{}", arguments.join(" "), bed.daemon.log_tail());
    Ok(text)
}

/// Has no address but its link-local one (if that), no program, and is down.
fn ensure_bare(bed: &Bed, nic: &str) -> Result<()> {
    let shown = bed.lab.host.ip(&format!("-d address show dev {nic}"))?;
    ensure!(!shown.contains("scope global") && !shown.contains("/32") && !shown.contains("xdp"), "{shown}");
    ensure!(shown.contains("state DOWN"), "{shown}");
    Ok(())
}

#[test]
fn b1_a_connection_lives_through_offline_and_online() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let traffic = Traffic::start(&bed.lab, false)?;
    order(&bed, &["offline", "eth0"])?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    traffic.wait_flow()?;
    order(&bed, &["online", "eth0"])?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    bed.wait_unchanged_since(&before)?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn b9_check_gives_the_reason_and_changes_nothing() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let (before, from_ns) = (Snapshot::take(&bed.lab.host)?, now_ns());
    let said = order(&bed, &["detach", "--check", "eth0"])?;
    assert_eq!(said, "eth0: can be detached; 2 data addresses would move\n");
    let (code, said) = client(&bed, &["detach", "--check", "eth0", "eth1"])?;
    let together = "ipmp: eth0, eth1: no other functioning interfaces are in its IPMP group: repair one first, or use --force\n";
    assert_eq!((code, said.as_str()), (Some(69), together), "B11: judged together");
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    assert_eq!(bed.daemon.events_since(from_ns)?, Vec::<serde_json::Value>::new());
    Ok(())
}

#[test]
fn b10_an_interface_in_no_group_is_refused_and_forced() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    bed.lab
        .host
        .batch("link add name lone type veth peer name lone-peer\nlink set lone up\nlink set lone-peer up")?;
    let known = || Ok(client(&bed, &["detach", "--check", "lone"])?.1.contains("in no IPMP group"));
    wait::until("the daemon knows of it", known)?;
    let (code, said) = client(&bed, &["detach", "lone"])?;
    assert_eq!(code, Some(69));
    assert!(said.contains("lone: is in no IPMP group") && said.contains("--force"), "{said}");
    let (code, said) = client(&bed, &["detach", "nosuch"])?;
    assert_eq!((code, said.contains("there is no such interface")), (Some(64), true), "{said}");
    order(&bed, &["detach", "--force", "lone"])?;
    assert!(bed.lab.host.ip("link show dev lone")?.contains("state DOWN"));
    order(&bed, &["attach", "lone"])?;
    wait::until("it is up again", || Ok(bed.lab.host.ip("link show dev lone")?.contains("state UP")))?;
    let (code, said) = client(&bed, &["detach", "--force", "lo"])?;
    assert_eq!((code, said.contains("loopback")), (Some(69), true), "{said}");
    Ok(())
}

#[test]
fn b11_the_only_functioning_interface_is_refused() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    bed.lab.pull(1)?;
    bed.wait_state("eth1", "failed")?;
    let before = Snapshot::take(&bed.lab.host)?;
    let (code, said) = client(&bed, &["detach", "eth0"])?;
    assert_eq!(code, Some(69));
    assert!(said.contains("no other functioning interfaces are in its IPMP group"), "{said}");
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    Ok(())
}

#[test]
fn b13_b14_b15_b17_a_connection_lives_through_a_detach_and_a_reattach() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = bed.places()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let from_ns = now_ns();
    let said = order(&bed, &["detach", "eth0"])?;
    assert_eq!(said, "eth0: is detached and may be removed\n");
    ensure_bare(&bed, "eth0")?;
    traffic.wait_flow()?;
    let status = bed.daemon.status()?;
    let shown = interface(&status, "eth0");
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&"absent".into(), &"detached by the administrator".into())
    );
    assert_eq!(address_on(&status, &data(0, false).to_string()), Some("eth1"));
    let moved = bed.daemon.wait_event("moved as at a failure", from_ns, |event| event["kind"] == "moved")?;
    assert_eq!(moved["why"]["why"], "failover", "{moved}");
    // It stays detached, also for a daemon that is started anew: what is about to be pulled out is left alone.
    let (code, said) = client(&bed, &["detach", "eth0"])?;
    assert_eq!((code, said.contains("is detached already")), (Some(69), true), "{said}");
    let (code, said) = client(&bed, &["offline", "eth0"])?;
    assert_eq!((code, said.contains("`ipmp attach eth0` undoes that")), (Some(69), true), "{said}");

    let said = order(&bed, &["attach", "eth0"])?;
    assert!(said.starts_with("eth0: is attached"), "{said}");
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    bed.wait_places(&before)?;
    let (code, said) = client(&bed, &["attach", "eth0"])?;
    assert_eq!((code, said.contains("is attached already")), (Some(69), true), "{said}");
    traffic.tcp.finish().map(drop)
}

#[test]
fn b12_by_force_addresses_are_parked_and_come_back() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = bed.places()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    bed.lab.cut(1)?;
    bed.wait_state("eth1", "failed")?;
    let foretold = bed.daemon.client(&["detach", "--force", "--check", "eth0"])?;
    let foretold = String::from_utf8_lossy(&foretold.stdout).into_owned();
    assert!(
        foretold.contains("eth0: can be detached by force; 4 data addresses would be on no"),
        "{foretold}"
    );
    order(&bed, &["detach", "--force", "eth0"])?;
    ensure_bare(&bed, "eth0")?;
    let address = data(0, false).to_string();
    assert!(!bed.lab.host.ip("address show")?.contains(&format!("{address}/")), "parked");
    let status = bed.daemon.status()?;
    let shown = group(&status)["addresses"].as_array().context("addresses")?.clone();
    let own = |entry: &&serde_json::Value| entry["address"].as_str().is_some_and(|a| a.starts_with(&address));
    let entry = shown.iter().find(own).context("the address")?;
    assert_eq!((&entry["on"], &entry["parked"]), (&serde_json::Value::Null, &true.into()));
    let text = String::from_utf8_lossy(&bed.daemon.client(&["status"])?.stdout).into_owned();
    assert!(text.contains("nowhere (parked)"), "{text}");
    bed.lab.mend(1)?;
    bed.wait_address_on(&address, "eth1")?;
    wait::until("it stands there", || Ok(bed.lab.host.ip("address show dev eth1")?.contains(&address)))?;
    traffic.wait_flow()?;
    order(&bed, &["attach", "eth0"])?;
    bed.daemon.wait_healthy()?;
    bed.wait_places(&before)?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

/// The sibling takes no IPv6 address: the move fails, and all is as before.
#[test]
fn b16_a_step_that_fails_is_named_and_everything_is_undone() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS).only(false))? else {
        return Ok(());
    };
    let mut config = Config::active_active(FDT_MS).only(false);
    config.members[0].data.push(format!("{}/64", data(0, true)));
    fs::write(bed.daemon.files().config(), config.to_string())?;
    order(&bed, &["reload"])?;
    bed.daemon.wait_healthy()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    bed.lab.host.sysctl("net/ipv6/conf/eth1/disable_ipv6", "1")?;
    let before = Snapshot::take(&bed.lab.host)?.of_others();
    let (code, said) = client(&bed, &["detach", "eth0"])?;
    assert_eq!(code, Some(70), "{said}");
    let step = "eth0: detach failed at moving its data addresses away: ";
    assert!(said.contains(step) && said.contains("the previous configuration is restored"), "{said}");
    bed.wait_address_on(&data(0, false).to_string(), "eth0")?;
    bed.wait_state("eth0", "ok")?;
    bed.wait_unchanged_since(&before)?;
    assert!(bed.lab.host.ip("address show dev eth0")?.contains(&test4(0).to_string()));
    traffic.wait_flow()?;
    // What stood in the way gone, it works.
    bed.lab.host.sysctl("net/ipv6/conf/eth1/disable_ipv6", "0")?;
    bed.wait_log("eth1 is now consistent with group")?;
    order(&bed, &["detach", "eth0"])?;
    ensure_bare(&bed, "eth0")?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn b16_an_offline_interface_that_cannot_be_detached_stays_offline() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    order(&bed, &["offline", "eth0"])?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    order(&bed, &["detach", "eth0"])?;
    ensure_bare(&bed, "eth0")?;
    order(&bed, &["attach", "eth0"])?;
    bed.daemon.wait_healthy()?;
    let device = client(&bed, &["detach", "--device", "0000:ff:1f"])?;
    assert_eq!(device.0, Some(64));
    assert!(device.1.contains("0000:ff:1f: has no interface"), "{}", device.1);
    let standing = bed.lab.host.ip("address show dev eth0")?;
    standing.contains(&data(0, false).to_string()).then_some(()).context(standing)
}

#[test]
fn a_detached_interface_is_left_alone_after_a_restart() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(mut bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    order(&bed, &["detach", "eth0"])?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.wait_state("eth1", "ok")?;
    bed.wait_state("eth0", "absent")?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    ensure_bare(&bed, "eth0")?;
    order(&bed, &["attach", "eth0"])?;
    bed.daemon.wait_healthy().map(drop)
}
