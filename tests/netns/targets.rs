//! Where probe targets come from, and whose fault their silence is, on real interfaces.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, address_on, group, interface},
    ping::Pinger,
    skip,
    snapshot::Snapshot,
    topology::{Lab, Shape, data, peer_link_local, peer4, peer6, test4},
    wait,
};
use serde_json::Value;

use crate::{Bed, FDT_MS, Traffic, reload};

/// A lab whose host and neighbours are prepared before the daemon starts; `None` where network tests cannot run.
fn bed(config: &Config, peers: usize, prepare: impl FnOnce(&Lab) -> Result<()>) -> Result<Option<Bed>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let data_members = config.members.iter().filter(|member| !member.data.is_empty()).count();
    let lab = Lab::new(&Shape { data_members, peers, ..Shape::default() })?;
    prepare(&lab)?;
    let daemon = Daemon::start(&lab.host, config)?;
    Ok(Some(Bed { daemon, lab }))
}

fn discovering() -> Config {
    Config::active_active(FDT_MS).discovering()
}

fn without_routers(lab: &Lab) -> Result<()> {
    lab.host.ip("-4 route del default")?;
    lab.host.ip("-6 route del default").map(drop)
}

fn second_router(lab: &Lab) -> Result<()> {
    lab.host.batch(&format!(
        "route add default via {} dev eth0 metric 2000\nroute add default via {} dev eth0 metric 2000",
        peer4(1),
        peer6(1)
    ))
}

/// The state of a target through a member; null if it is not known there.
fn target<'a>(status: &'a Value, nic: &str, address: &str) -> &'a Value {
    let targets = interface(status, nic)["targets"].as_array();
    let found = targets.and_then(|targets| targets.iter().find(|target| target["address"] == address));
    found.map_or(&Value::Null, |target| &target["state"])
}

fn wait_target(bed: &Bed, address: &str, state: &str) -> Result<Value> {
    bed.daemon.wait_for(&format!("{address} is {state} on both members"), |status| {
        ["eth0", "eth1"].iter().all(|nic| target(status, nic, address) == state)
    })
}

#[test]
fn a12_a16_the_default_router_is_the_target_without_configuration() -> Result<()> {
    let Some(bed) = bed(&discovering(), 1, |_| Ok(()))? else {
        return Ok(());
    };
    let status = bed.daemon.wait_healthy()?;
    wait_target(&bed, &peer4(0).to_string(), "active")?;
    wait_target(&bed, &peer6(0).to_string(), "active")?;
    ensure!(
        interface(&status, "eth1")["targets"].as_array().is_some_and(|list| list.len() == 2),
        "{status:#}"
    );
    bed.lab.cut(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy().map(drop)
}

#[test]
fn a12_a_route_added_later_names_a_target_without_a_restart() -> Result<()> {
    let Some(bed) = bed(&discovering(), 2, |_| Ok(()))? else {
        return Ok(());
    };
    bed.daemon.wait_healthy()?;
    let before = wait::now_ns();
    let host_route = format!("route add 203.0.113.0/24 via {} dev eth1", peer4(1));
    bed.lab.host.ip(&host_route)?;
    wait_target(&bed, &peer4(1).to_string(), "active")?;
    bed.daemon.wait_event("the news", before, |event| {
        event["kind"] == "target" && event["why"]["why"] == "routers-found"
    })?;
    bed.lab.host.ip(&host_route.replace("add", "del"))?;
    bed.daemon
        .wait_for("the target is gone", |status| target(status, "eth0", &peer4(1).to_string()).is_null())
        .map(drop)
}

#[test]
fn a12_ipv6_hosts_are_found_by_multicast_where_there_is_no_router() -> Result<()> {
    let Some(bed) = bed(&discovering(), 1, without_routers)? else {
        return Ok(());
    };
    let found = peer_link_local(0).to_string();
    wait_target(&bed, &found, "active")?;
    bed.daemon.wait_healthy()?;
    let before = wait::now_ns();
    bed.lab.cut(0)?;
    bed.wait_state("eth0", "failed")?;
    bed.wait_address_on(&data(0, true).to_string(), "eth1")?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    // A move is told once it is carried out, the status shows it as soon as it is decided.
    wait::until("two addresses were moved there and back", || Ok(bed.count("moved", before)? == 4))
}

/// The test addresses are in a private network that only the target shares; the data addresses' network has no part in
/// probing.
#[test]
fn a21_test_addresses_may_be_in_another_subnet_than_the_data() -> Result<()> {
    let mut config = Config::active_active(FDT_MS).only(false);
    config.targets = vec!["10.99.0.1".to_owned()];
    for (member, host) in config.members.iter_mut().zip(10..) {
        member.test = vec![format!("10.99.0.{host}")];
    }
    let private = |lab: &Lab| {
        let nic = lab.peer().ip("-o -4 addr show to 192.168.10.0/24")?;
        let nic = nic.split_whitespace().nth(1).context("the neighbour's NIC")?.to_owned();
        lab.peer().ip(&format!("addr add 10.99.0.1/24 dev {nic}")).map(drop)
    };
    let Some(bed) = bed(&config, 1, private)? else {
        return Ok(());
    };
    let status = bed.daemon.wait_healthy()?;
    assert_eq!(target(&status, "eth0", "10.99.0.1"), "active");
    wait::until("answers", || Ok(interface(&bed.daemon.status()?, "eth1")["probe"] == "ok"))?;
    let traffic = Traffic::start(&bed.lab, false)?;
    bed.lab.cut(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    traffic.wait_flow()?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    traffic.tcp.finish().map(drop)
}

/// Who names a host of the link as target does not depend on the gateway.
#[test]
fn a19_with_a_target_of_its_own_a_group_outlives_its_gateway() -> Result<()> {
    let mut config = Config::active_active(FDT_MS).only(false);
    config.targets = vec![peer4(1).to_string()];
    let Some(bed) = bed(&config, 2, |_| Ok(()))? else {
        return Ok(());
    };
    let status = bed.daemon.wait_healthy()?;
    assert!(target(&status, "eth0", &peer4(0).to_string()).is_null(), "the router is not probed: {status:#}");
    let dead_ns = bed.lab.cut_peer(0)?;
    let acked =
        |status: &Value| interface(status, "eth0")["targets"][0]["acked"].as_u64().unwrap_or_default();
    let before = acked(&bed.daemon.status()?);
    // As long as two verdicts take.
    let status = bed.daemon.wait_for("probing goes on", |status| acked(status) >= before + 20)?;
    assert_eq!(group(&status)["state"], "ok");
    assert_eq!((bed.count("failed", dead_ns)?, bed.count("moved", dead_ns)?), (0, 0));
    bed.lab.cut(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")
}

fn without_ipv6(lab: &Lab) -> Result<()> {
    lab.host.ip("-4 route del default")?;
    for nic in ["eth0", "eth1"] {
        lab.host.sysctl(&format!("net/ipv6/conf/{nic}/disable_ipv6"), "1")?;
    }
    Ok(())
}

#[test]
fn a12_an_ipv4_neighbour_is_a_target_where_there_is_no_router() -> Result<()> {
    let Some(bed) = bed(&discovering().only(false), 1, without_ipv6)? else {
        return Ok(());
    };
    bed.wait_state("eth0", "unknown")?;
    // Any traffic makes a neighbour known.
    let _traffic = Traffic::start(&bed.lab, false)?;
    wait_target(&bed, &peer4(0).to_string(), "active")?;
    bed.daemon.wait_healthy().map(drop)
}

#[test]
fn a12_ipv4_hosts_that_answer_multicast_are_found() -> Result<()> {
    let answering = |lab: &Lab| {
        lab.peer().sysctl("net/ipv4/icmp_echo_ignore_broadcasts", "0")?;
        without_ipv6(lab)
    };
    let Some(bed) = bed(&discovering().only(false), 1, answering)? else {
        return Ok(());
    };
    wait_target(&bed, &peer4(0).to_string(), "active")?;
    bed.daemon.wait_healthy().map(drop)
}

#[test]
fn a_neighbour_that_answers_no_probe_fails_nothing() -> Result<()> {
    let silent = |lab: &Lab| {
        lab.peer().sysctl("net/ipv4/icmp_echo_ignore_all", "1")?;
        without_ipv6(lab)
    };
    let Some(bed) = bed(&discovering().only(false), 1, silent)? else {
        return Ok(());
    };
    // Resolving the host's address makes the neighbour known to it.
    let _ping = Pinger::start(bed.lab.peer(), data(0, false), Duration::from_millis(20))?;
    wait_target(&bed, &peer4(0).to_string(), "dead")?;
    bed.wait_state("eth0", "unknown")?;
    bed.wait_state("eth1", "unknown")?;
    ensure!(bed.count("failed", 0)? == 0);
    Ok(())
}

#[test]
fn a18_one_of_two_routers_dies_and_nothing_fails() -> Result<()> {
    let Some(bed) = bed(&discovering(), 2, second_router)? else {
        return Ok(());
    };
    bed.daemon.wait_healthy()?;
    wait_target(&bed, &peer4(1).to_string(), "active")?;
    let dead_ns = bed.lab.cut_peer(0)?;
    let status = wait_target(&bed, &peer4(0).to_string(), "dead")?;
    assert_eq!(group(&status)["state"], "ok");
    assert_eq!(target(&status, "eth0", &peer4(1).to_string()), "active");
    bed.daemon.wait_event("the target's death", dead_ns, |event| event["why"]["why"] == "target-dead")?;
    assert_eq!((bed.count("failed", dead_ns)?, bed.count("moved", dead_ns)?), (0, 0));
    Ok(())
}

#[test]
fn a18_all_routers_die_nothing_moves_and_one_suffices_to_recover() -> Result<()> {
    let Some(bed) = bed(&discovering(), 2, second_router)? else {
        return Ok(());
    };
    bed.daemon.wait_healthy()?;
    let before = Snapshot::take(&bed.lab.host)?;
    let dead_ns = bed.lab.cut_peer(0)?;
    bed.lab.cut_peer(1)?;
    bed.daemon.wait_for("the group failed", |status| group(status)["state"] == "failed")?;
    bed.lab.mend_peer(1)?;
    bed.daemon.wait_healthy()?;
    assert_eq!(bed.count("moved", dead_ns)?, 0);
    bed.wait_unchanged_since(&before)
}

#[test]
fn on_group_failure_fail_withdraws_the_addresses_until_the_group_works_again() -> Result<()> {
    let Some(bed) = bed(&Config { withdraw: true, ..Config::active_active(FDT_MS) }, 1, |_| Ok(()))? else {
        return Ok(());
    };
    bed.daemon.wait_healthy()?;
    let before = Snapshot::take(&bed.lab.host)?;
    let dead_ns = bed.lab.cut_peer(0)?;
    let address = data(0, false).to_string();
    bed.daemon.wait_for("withdrawn", |status| {
        group(status)["state"] == "failed" && address_on(status, &address).is_none()
    })?;
    let addresses = [data(0, false), data(0, true), data(1, false), data(1, true)];
    wait::until("no data address is left", || {
        let text = bed.lab.host.ip("-j addr show")?;
        Ok(!addresses.iter().any(|address| text.contains(&format!("\"{address}\""))))
    })?;
    ensure!(bed.lab.host.ip("-j addr show")?.contains(&test4(0).to_string()), "test addresses stay");
    bed.lab.mend_peer(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)?;
    assert_eq!((bed.count("withdrawn", dead_ns)?, bed.count("action-failed", dead_ns)?), (2, 0));
    // The neighbour has heard where they are.
    Traffic::start(&bed.lab, false)?.tcp.finish().map(drop)
}

#[test]
fn a_target_that_is_dropped_is_kept_resolved_no_longer() -> Result<()> {
    let mut config = Config::active_active(FDT_MS);
    let dropped = [peer4(1).to_string(), peer_link_local(1).to_string()];
    let kept = config.targets.clone();
    config.targets.extend(dropped.clone());
    let Some(bed) = bed(&config, 2, |_| Ok(()))? else {
        return Ok(());
    };
    bed.daemon.wait_healthy()?;
    let managed = |target: &str| {
        let entries = bed.lab.host.ip(&format!("neigh show {target} nud all"))?;
        Ok(entries.lines().filter(|line| line.contains(" managed ")).count())
    };
    let all = |targets: &[String], count: usize| {
        let counts: Result<Vec<usize>> = targets.iter().map(|target| managed(target)).collect();
        counts.map(|counts| counts.iter().all(|found| *found == count))
    };
    wait::until("both members keep all targets resolved", || Ok(all(&kept, 2)? && all(&dropped, 2)?))?;
    config.targets = kept.clone();
    reload::reload(&bed, &config.to_string())?;
    wait::until("the dropped ones are not kept any more", || all(&dropped, 0))?;
    ensure!(all(&kept, 2)?, "those that are left still are");
    bed.daemon.wait_healthy().map(drop)
}
