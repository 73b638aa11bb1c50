//! Reload: only what differs changes, and an invalid file changes nothing.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    address_log::AddressLog,
    config::{Config, Member},
    daemon::{Daemon, address_on, group, interface},
    skip,
    snapshot::Snapshot,
    topology::{Lab, PREFIX4, Shape, data, data4, test4},
    wait::{self, now_ns},
};
use nix::sys::signal::Signal;

use crate::{Bed, FDT_MS, Traffic};

/// A lab with a third NIC, which the configuration may or may not name.
pub(crate) fn three(config: &Config) -> Result<Option<Bed>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let data_members = config.members.iter().filter(|member| !member.data.is_empty()).count();
    let lab = Lab::new(&Shape { members: 3, data_members, ..Shape::default() })?;
    let bed = Bed { daemon: Daemon::start(&lab.host, config)?, lab };
    bed.daemon.wait_healthy()?;
    Ok(Some(bed))
}

pub(crate) fn third(standby: bool) -> Member {
    Member { name: "eth2".into(), data: Vec::new(), test: vec![test4(2).to_string()], standby }
}

/// Writes another file.
pub(crate) fn write(bed: &Bed, text: &str) -> Result<()> {
    fs::write(bed.daemon.files().config(), text).context("writing the configuration")
}

/// Writes another file and has it read; what the daemon said.
pub(crate) fn reload(bed: &Bed, text: &str) -> Result<String> {
    write(bed, text)?;
    let output = bed.daemon.client(&["reload"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// Events since a moment that a group without news would not have.
fn twitches(bed: &Bed, since_ns: u64) -> Result<Vec<String>> {
    let events = bed.daemon.events_since(since_ns)?;
    let of_ours = |event: &&serde_json::Value| event["group"] == "ipmp0";
    Ok(events.iter().filter(of_ours).map(ToString::to_string).collect())
}

#[test]
fn reload_without_a_difference_says_so_and_does_nothing() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let (before, from_ns) = (Snapshot::take(&bed.lab.host)?, now_ns());
    let said = reload(&bed, &format!("# another comment\n{config}"))?;
    assert!(said.ends_with("reloaded: nothing is different\n"), "{said}");
    assert_eq!(twitches(&bed, from_ns)?, Vec::<String>::new());
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    Ok(())
}

#[test]
fn sighup_reloads_and_an_invalid_file_keeps_the_old_configuration() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let wrong = format!("failback = true\n{config}").replace("\ntest = [", "\ntset = [");
    write(&bed, &wrong)?;
    let refused = bed.daemon.client(&["reload"])?;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    let line = 1 + wrong.lines().position(|line| line.starts_with("tset")).context("the line")?;
    let place = format!("{}:{line}:1: unknown key \"tset\"", bed.daemon.files().config().display());
    assert_eq!(refused.status.code(), Some(65), "{text}");
    assert!(text.contains(&place) && text.contains("the configuration in force stays"), "{text}\n{place}");

    bed.daemon.signal(Signal::SIGHUP)?;
    wait::until("the log names the place", || {
        let log = fs::read_to_string(bed.daemon.files().log())?;
        Ok(log.matches(&place).count() >= 2)
    })?;
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    bed.daemon.wait_healthy()?;

    write(&bed, &Config { fdt_ms: 500, ..config }.to_string())?;
    bed.daemon.signal(Signal::SIGHUP)?;
    bed.daemon.wait_for("another detection time", |status| {
        group(status)["fdt_ns"] == 500_000_000 && group(status)["fdt_configured_ns"] == 500_000_000
    })?;
    let cut_ns = bed.lab.cut(0)?;
    let failed = bed.daemon.wait_event("eth0 fails", cut_ns, |event| {
        event["kind"] == "failed" && event["interface"] == "eth0"
    })?;
    let took_ms = failed["decided_ns"].as_u64().unwrap_or(0).saturating_sub(cut_ns) / 1_000_000;
    assert!(took_ms > 500 / 3, "by the new detection time: {took_ms} ms");
    Ok(())
}

#[test]
fn a_connection_and_an_unchanged_group_live_through_a_reload() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(bed) = three(&config)? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    let from_ns = now_ns();
    let losses = |status: &serde_json::Value| {
        let targets = |nic| interface(status, nic)["targets"].as_array().cloned().unwrap_or_default();
        let all: Vec<_> = targets("eth0").into_iter().chain(targets("eth1")).collect();
        all.iter().map(|target| target["lost"].as_u64().unwrap_or(0)).sum::<u64>()
    };
    let lost = losses(&bed.daemon.status()?);
    let other = "\n[group.other]\nfailure-detection-time = \"1s\"\n[group.other.interface.eth2]\ndata = [\"10.9.8.7/24\"]\n";
    let said = reload(&bed, &format!("{config}{other}"))?;
    assert!(said.contains("group other: added, with eth2"), "{said}");
    wait::until("the new group serves its address", || {
        Ok(bed.lab.host.ip("-4 address show dev eth2")?.contains("10.9.8.7/24"))
    })?;
    traffic.wait_flow()?;
    let said = reload(&bed, &config.to_string())?;
    assert!(said.contains("group other: removed"), "{said}");
    traffic.wait_flow()?;
    assert_eq!(twitches(&bed, from_ns)?, Vec::<String>::new());
    assert_eq!(losses(&bed.daemon.status()?), lost);
    assert!(bed.lab.host.ip("-4 address show dev eth2")?.contains("10.9.8.7/24"), "it stays where it is");
    let unmanaged = bed.lab.host.ip("-d link show dev eth2")?;
    assert!(!unmanaged.contains("xdp"), "{unmanaged}");
    traffic.tcp.finish().map(drop)
}

#[test]
fn data_and_test_addresses_come_and_go_with_the_file() -> Result<()> {
    let mut config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let original = config.to_string();
    let before = Snapshot::take(&bed.lab.host)?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let shows = |text: &str| Ok(bed.lab.host.ip("address show dev eth0")?.contains(text));
    config.members[0].data.push("192.168.10.77/24".into());
    config.members[0].data.push("2001:db8:10::77/64".into());
    config.members[0].test = vec!["192.168.10.177".into()];
    reload(&bed, &config.to_string())?;
    for address in ["192.168.10.77/24", "2001:db8:10::77/64", "192.168.10.177/32"] {
        wait::until(address, || shows(address))?;
    }
    wait::until("the old test address is off", || Ok(!shows(&test4(0).to_string())?))?;
    bed.daemon.wait_healthy()?;
    let probes_from = |status: &serde_json::Value, source: &str| {
        let targets = interface(status, "eth0")["targets"].as_array().cloned().unwrap_or_default();
        targets.iter().any(|target| target["source"] == source && target["acked"].as_u64() > Some(0))
    };
    bed.daemon.wait_for("probes from the new one", |status| probes_from(status, "192.168.10.177"))?;
    // Away from home they go as well.
    bed.lab.cut(0)?;
    bed.wait_address_on("192.168.10.77", "eth1")?;
    reload(&bed, &original)?;
    wait::until("they are off", || {
        let all = bed.lab.host.ip("address show")?;
        Ok(!all.contains(".77/24") && !all.contains("::77/64") && !all.contains(".177/32"))
    })
    .with_context(|| {
        format!("{}{}", bed.lab.host.ip("address show").unwrap_or_default(), bed.daemon.log_tail())
    })?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn a_member_that_joins_serves_and_one_that_leaves_is_as_it_was() -> Result<()> {
    let mut config = Config::active_active(FDT_MS);
    let Some(bed) = three(&config)? else {
        return Ok(());
    };
    let setting = "/proc/sys/net/ipv4/conf/eth2/arp_ignore";
    let arp_ignore = || bed.lab.host.run(|| fs::read_to_string(Path::new(setting)).context("arp_ignore"))?;
    let (before, was) = (Snapshot::take(&bed.lab.host)?, arp_ignore()?);
    let traffic = Traffic::start(&bed.lab, false)?;
    let without = config.to_string();
    config.members.push(third(false));
    reload(&bed, &config.to_string())?;
    bed.daemon.wait_for("eth2 works", |status| interface(status, "eth2")["probe"] == "ok")?;
    assert_ne!(arp_ignore()?, was, "members are set up");
    bed.lab.cut(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth2")?;
    traffic.wait_flow()?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    reload(&bed, &without)?;
    bed.wait_unchanged_since(&before)?;
    assert_eq!(arp_ignore()?, was);
    assert!(!bed.lab.host.ip("-d link show dev eth2")?.contains("xdp"));
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn b21_an_address_whose_home_left_the_file_stays_where_it_is() -> Result<()> {
    let mut config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    bed.lab.cut(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    config.members.remove(0);
    reload(&bed, &config.to_string())?;
    traffic.wait_flow()?;
    bed.lab.mend(0)?;
    let status = bed.daemon.status()?;
    let address = format!("{}/24", data4(0));
    let shown = group(&status)["addresses"].as_array().context("addresses")?.clone();
    let entry = shown.iter().find(|entry| entry["address"] == address.as_str()).context("the address")?;
    assert_eq!((&entry["home"], &entry["on"]), (&"eth1".into(), &"eth1".into()));
    assert!(bed.lab.host.ip("-4 address show dev eth1")?.contains(&address));
    // And the same file once more changes nothing of that.
    reload(&bed, &config.to_string())?;
    assert!(bed.lab.host.ip("-4 address show dev eth1")?.contains(&address));
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

/// Our own changes are not told as somebody else's.
fn nobody_else(bed: &Bed) -> Result<()> {
    let log = fs::read_to_string(bed.daemon.files().log())?;
    ensure!(!log.contains("somebody else"), "{log}");
    Ok(())
}

/// After a reload that put the interfaces into other groups: all of them serve, and no address was moved.
fn regrouped_serves(bed: &Bed, text: &str, said: &str) -> Result<()> {
    let before = Snapshot::take(&bed.lab.host)?.of_others();
    let log = AddressLog::start(&bed.lab.host)?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let from_ns = now_ns();
    let answer = reload(bed, text)?;
    assert!(answer.contains(said), "{answer}");
    for nic in ["eth0", "eth1"] {
        bed.daemon.wait_for("the interface works", |status| {
            let shown = status["groups"].as_array().into_iter().flatten();
            let mut all = shown.flat_map(|group| group["interfaces"].as_array().into_iter().flatten());
            all.any(|shown| shown["name"] == nic && shown["state"] == "ok" && shown["probe"] == "ok")
        })?;
    }
    traffic.wait_flow()?;
    assert_eq!((log.steps()?, bed.count("moved", from_ns)?), (Vec::new(), 0));
    // The kernel keeps two equal broadcast entries in the order in which they were made last.
    wait::until("addresses and routes as before", || {
        let difference = before.difference(&Snapshot::take(&bed.lab.host)?);
        Ok(difference.is_empty() || difference.starts_with("only the order differs"))
    })?;
    nobody_else(bed)?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn a_renamed_group_takes_its_interfaces_over() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let from_ns = now_ns();
    let renamed = config.to_string().replace("ipmp0", "prod");
    regrouped_serves(&bed, &renamed, "group prod: added, with eth0, eth1")?;
    let events = bed.daemon.events_since(from_ns)?;
    let told = |group: &str, text: &str| {
        events.iter().any(|event| event["group"] == group && event.to_string().contains(text))
    };
    assert!(told("ipmp0", "no longer in the configuration"), "{events:?}");
    assert!(!told("prod", "no longer in the configuration"), "{events:?}");
    // It fails over as any other.
    let on = |nic: &str| {
        wait::until(nic, || {
            Ok(bed.lab.host.ip(&format!("address show dev {nic}"))?.contains(&data4(0).to_string()))
        })
    };
    bed.lab.cut(0)?;
    on("eth1")?;
    bed.lab.mend(0)?;
    on("eth0")
}

#[test]
fn an_interface_that_changes_its_group_serves_on() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let text = config.to_string();
    let moved = text.replace("[group.ipmp0.interface.eth0]", "[group.prod.interface.eth0]");
    assert_ne!(moved, text);
    let settings = text.split_once("[group.ipmp0.interface").context("an interface")?.0;
    let settings = settings.split_once("[group.ipmp0]").context("the group")?.1;
    regrouped_serves(&bed, &format!("{moved}\n[group.prod]{settings}"), "group prod: added, with eth0")
}

#[test]
fn the_holder_of_a_failed_members_address_leaves_and_no_number_is_shown() -> Result<()> {
    let mut config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let address = data(0, false).to_string();
    bed.lab.cut(0)?;
    bed.wait_address_on(&address, "eth1")?;
    config.members.remove(1);
    reload(&bed, &config.to_string())?;
    let status = bed.daemon.status()?;
    assert!(!status.to_string().contains("\"member "), "{status:#}");
    assert_eq!(address_on(&status, &address), None);
    bed.lab.mend(0)?;
    bed.wait_address_on(&address, "eth0")
}

#[test]
fn a_member_taken_out_and_put_back_by_reload_is_nobody_elses_change() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let address = data(1, false).to_string();
    let mut without = config.clone();
    without.members.remove(0);
    for text in [without.to_string(), config.to_string()] {
        let from_ns = now_ns();
        reload(&bed, &text)?;
        bed.daemon.wait_event("in force", from_ns, |event| event["kind"] == "reconfigured")?;
        bed.wait_address_on(&address, "eth1")?;
        // What changed by it has been compared when somebody's change is told, which nothing was before.
        let from_ns = now_ns();
        wait::until("a command's change is told", || {
            if bed.lab.host.ip("address show dev eth1")?.contains(&format!("{address}/")) {
                bed.lab.host.ip(&format!("address delete {address}/{PREFIX4} dev eth1"))?;
            }
            Ok(bed.count("put-back", from_ns)? > 0)
        })?;
        bed.wait_address_on(&address, "eth1")?;
    }
    bed.daemon.wait_healthy()?;
    let told = bed.daemon.events()?.into_iter().filter(|event| event["kind"] == "put-back");
    for event in told {
        let by = event["why"]["by"].as_array().context("who")?;
        let command = |who: &serde_json::Value| who["class"] == "command";
        ensure!(!by.is_empty() && by.iter().all(command), "somebody else: {event}");
    }
    Ok(())
}
