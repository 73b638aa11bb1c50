//! What a group does when more, or less, than one active member is concerned.

use anyhow::Result;
use ipmp_tests::{
    config::{Config, Member},
    daemon::{group, interface},
    snapshot::Snapshot,
    topology::data,
    wait,
};
use serde_json::Value;

use crate::{Bed, FDT_MS, Traffic};

#[test]
fn all_fail_at_once_moves_nothing_and_recovers() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let broken_ns = bed.lab.cut_peer(0)?;
    bed.daemon.wait_for("the group failed", |status| group(status)["state"] == "failed")?;
    assert_eq!(before.difference(&Snapshot::take(&bed.lab.host)?), "");
    bed.wait_log("All IP interfaces in group ipmp0 are now unusable")?;
    assert_eq!(bed.count("moved", broken_ns)?, 0);

    bed.lab.mend_peer(0)?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    assert_eq!(bed.count("moved", broken_ns)?, 0);
    bed.wait_unchanged_since(&before)?;
    bed.wait_log("At least 1 IP interface (eth")?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn a22_a_group_of_one_interface_tells_its_failure_and_its_groups() -> Result<()> {
    let config = Config::new(FDT_MS, 1, 1);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let cut_ns = bed.lab.cut(0)?;
    bed.daemon.wait_for("the group failed", |status| group(status)["state"] == "failed")?;
    bed.wait_log("IP interface failure detected on eth0 of group ipmp0")?;
    bed.wait_log("All IP interfaces in group ipmp0 are now unusable")?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_log("IP interface repair detected on eth0 of group ipmp0")?;
    bed.wait_log("At least 1 IP interface (eth0) in group ipmp0 is now usable")?;
    assert_eq!((bed.count("failed", cut_ns)?, bed.count("moved", cut_ns)?), (1, 0));
    bed.wait_unchanged_since(&before)
}

/// Carriers cannot go at the same instant; what counts is that the last member keeps what it has.
#[test]
fn the_last_member_keeps_the_addresses_without_carrier() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    bed.lab.pull(0)?;
    bed.lab.pull(1)?;
    bed.daemon.wait_for("the group failed", |status| group(status)["state"] == "failed")?;
    bed.lab.plug(0)?;
    bed.lab.plug(1)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)
}

fn standby_failure_moves_nothing(fail: fn(&Bed) -> Result<u64>, mend: fn(&Bed) -> Result<u64>) -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_standby(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let failed_ns = fail(&bed)?;
    bed.wait_state("eth1", "failed")?;
    let status = bed.daemon.wait_for("the group degraded", |status| group(status)["state"] == "degraded")?;
    assert_eq!(interface(&status, "eth0")["state"], "ok");
    mend(&bed)?;
    bed.daemon.wait_healthy()?;
    assert_eq!(bed.count("moved", failed_ns)?, 0);
    bed.wait_unchanged_since(&before)
}

#[test]
fn a46_a63_standby_without_path_moves_nothing() -> Result<()> {
    standby_failure_moves_nothing(|bed| bed.lab.cut(1), |bed| bed.lab.mend(1))
}

#[test]
fn a46_a63_standby_without_carrier_moves_nothing() -> Result<()> {
    standby_failure_moves_nothing(|bed| bed.lab.pull(1), |bed| bed.lab.plug(1))
}

#[test]
fn missing_interface_is_absent_and_the_rest_works() -> Result<()> {
    let mut config = Config::active_active(FDT_MS);
    config.members.push(Member {
        name: "eth7".into(),
        data: Vec::new(),
        test: vec!["192.168.10.117".into()],
        standby: false,
    });
    let Some(bed) = Bed::start(&config)? else {
        return Ok(());
    };
    bed.wait_state("eth7", "absent")?;
    bed.wait_state("eth0", "ok")?;
    bed.wait_state("eth1", "ok")?;
    let traffic = Traffic::start(&bed.lab, false)?;
    bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

/// What a neighbour has on record for an address.
fn recorded(bed: &Bed, address: &str) -> Result<String> {
    let entries: Value =
        serde_json::from_str(&bed.lab.peer().ip(&format!("-j neighbour show to {address}"))?)?;
    Ok(entries[0]["lladdr"].as_str().unwrap_or_default().to_owned())
}

/// Nothing moves, and a neighbour that asks nothing learns where the addresses are all the same.
#[test]
fn addresses_on_a_link_that_returns_are_announced() -> Result<()> {
    const WRONG: &str = "02:00:00:00:00:99";
    let Some(bed) = Bed::healthy(&Config::new(FDT_MS, 1, 1).link_based())? else {
        return Ok(());
    };
    let links: Value = serde_json::from_str(&bed.lab.host.ip("-j link show dev eth0")?)?;
    let own = links[0]["address"].as_str().unwrap_or_default().to_owned();
    let addresses = [data(0, false).to_string(), data(0, true).to_string()];
    let pulled_ns = bed.lab.pull(0)?;
    bed.daemon.wait_for("the group failed", |status| group(status)["state"] == "failed")?;
    for address in &addresses {
        bed.lab.peer().ip(&format!("neighbour replace {address} lladdr {WRONG} dev eth0 nud stale"))?;
        assert_eq!(recorded(&bed, address)?, WRONG);
    }
    bed.lab.plug(0)?;
    wait::until("the neighbour knows", || {
        let known = |address| Ok::<_, anyhow::Error>(recorded(&bed, address)? == own);
        Ok(known(&addresses[0])? && known(&addresses[1])?)
    })?;
    assert_eq!(bed.count("moved", pulled_ns)?, 0);
    Ok(())
}
