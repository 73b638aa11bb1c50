//! The harness itself, without a daemon: the lab behaves like cables and a switch, and the traffic meters tell the truth.

use std::time::Duration;

use anyhow::Result;
use ipmp_tests::{
    netns::{self, Netns},
    ping::Pinger,
    skip,
    snapshot::Snapshot,
    tcp::Session,
    topology::{Lab, Shape, data, data4, link_is_up},
    wait::{self, now_ns},
};

const EVERY_MS: Duration = Duration::from_millis(1);

#[test]
fn a_namespace_is_gone_when_dropped() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let netns = Netns::new("gone")?;
    let name = netns.name().to_owned();
    assert!(netns::list().contains(&name));
    drop(netns);
    assert!(!netns::list().contains(&name));
    Ok(())
}

#[test]
fn a_pulled_cable_takes_the_carrier_and_a_cut_path_leaves_it() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let lab = Lab::new(&Shape::default())?;
    lab.cut(0)?;
    assert!(link_is_up(&lab.host, "eth0")?);
    lab.pull(1)?;
    wait::until("carrier lost", || Ok(!link_is_up(&lab.host, "eth1")?))?;
    assert!(link_is_up(&lab.host, "eth0")?);
    lab.plug(1)?;
    wait::until("carrier back", || link_is_up(&lab.host, "eth1"))
}

fn a_cut_is_seen_and_a_moved_address_heals_it(ipv6: bool) -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let lab = Lab::new(&Shape::default())?;
    let address = data(0, ipv6);
    let ping = Pinger::start(lab.peer(), address, EVERY_MS)?;
    let tcp = Session::start(&lab.host, lab.peer(), address, 5 * EVERY_MS)?;
    wait::until("answers", || Ok(ping.answered() >= 100 && tcp.answered() >= 10))?;

    let cut_ns = now_ns();
    lab.cut(0)?;
    wait::until("the loss of fifty requests", || Ok(ping.report(cut_ns, now_ns()).lost >= 50))?;
    // By hand what the daemon will do. Deleting the neighbour's entry stands for the announcement.
    let length = if ipv6 { 64 } else { 24 };
    lab.host.batch(&format!(
        "address del {address}/{length} dev eth0\naddress add {address}/{length} dev eth1 nodad"
    ))?;
    lab.peer().ip("neigh flush dev eth0")?;
    let (pings, messages) = (ping.answered(), tcp.answered());
    wait::until("answers over the other path", || {
        Ok(ping.answered() >= pings + 100 && tcp.answered() >= messages + 10)
    })?;

    let seen = ping.finish()?;
    assert!(seen.lost >= 50, "{seen:?}");
    assert!(seen.longest_gap >= Duration::from_millis(50), "{seen:?}");
    let carried = tcp.finish()?;
    assert!(carried.messages >= 20, "{carried:?}");
    Ok(())
}

#[test]
fn a_cut_is_seen_and_a_moved_address_heals_it_ipv4() -> Result<()> {
    a_cut_is_seen_and_a_moved_address_heals_it(false)
}

#[test]
fn a_cut_is_seen_and_a_moved_address_heals_it_ipv6() -> Result<()> {
    a_cut_is_seen_and_a_moved_address_heals_it(true)
}

#[test]
fn a_snapshot_tells_a_moved_address_from_an_unmoved_one() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let lab = Lab::new(&Shape::default())?;
    let before = Snapshot::take(&lab.host)?;
    assert_eq!(before.difference(&Snapshot::take(&lab.host)?), "");
    lab.host.batch(&format!("address del {}/24 dev eth0", data4(0)))?;
    let difference = before.difference(&Snapshot::take(&lab.host)?);
    assert!(difference.contains("- address on eth0"), "{difference}");
    Ok(())
}

#[test]
fn traffic_on_a_whole_path_loses_nothing() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let lab = Lab::new(&Shape { peers: 2, ..Shape::default() })?;
    let pings = lab
        .peers()
        .iter()
        .map(|peer| Pinger::start(peer, data(0, false), EVERY_MS))
        .collect::<Result<Vec<_>>>()?;
    for ping in pings {
        wait::until("answers", || Ok(ping.answered() >= 200))?;
        let seen = ping.finish()?;
        assert_eq!(seen.lost, 0, "{seen:?}");
        assert!(seen.sent >= 200, "{seen:?}");
    }
    Ok(())
}
