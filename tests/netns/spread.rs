//! Outbound load spreading: shares, flows that survive, and traces that are not left.

mod chosen;
mod rules;

use std::{collections::BTreeMap, fs, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    changes::Changes,
    config::Config,
    daemon::{Daemon, group},
    flows::{Flow, Flows},
    netns::Netns,
    skip,
    topology::{Lab, Shape, peer4, peer6},
    wait,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// Hosts behind the neighbour.
const BEYOND: [&str; 2] = ["203.0.113.1", "2001:db8:ff::1"];
/// Flows by each protocol to each address: of 32 fair choices fewer than an eighth fall on one side once in 400,000 times.
const FLOWS: usize = 32;
/// A NIC has at least this part of the flows to an address.
const FAIR: usize = 8;
/// Between two numbers of one flow.
const INTERVAL: Duration = Duration::from_millis(100);
/// As in `net/spread.rs`.
pub(crate) const PROTOCOL: &str = "73";

/// Flows are spread unless somebody says no.
fn config() -> Config {
    Config::active_active(FDT_MS)
}

fn off() -> Config {
    config().with("outbound-spreading", "false")
}

fn destinations() -> Result<Vec<IpAddr>> {
    let mut all = vec![peer4(0).into(), peer6(0).into()];
    for address in BEYOND {
        all.push(address.parse()?);
    }
    Ok(all)
}

/// A lab with hosts behind its router.
fn lab() -> Result<Option<Lab>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
    for address in BEYOND {
        lab.peer().ip(&format!("address add {address} dev lo"))?;
    }
    Ok(Some(lab))
}

/// A healthy group that spreads.
fn spreading() -> Result<Option<Bed>> {
    let Some(lab) = lab()? else { return Ok(None) };
    let daemon = Daemon::start(&lab.host, &config())?;
    daemon.wait_healthy()?;
    let bed = Bed { daemon, lab };
    bed.wait_outbound(&["eth0", "eth1"])?;
    Ok(Some(bed))
}

impl Bed {
    pub(crate) fn wait_outbound(&self, nics: &[&str]) -> Result<()> {
        let wanted = Value::from(nics);
        let nobody = Value::from(Vec::<&str>::new());
        self.daemon
            .wait_for(&format!("outbound flows by {nics:?}"), |status| {
                *group(status).get("outbound").unwrap_or(&nobody) == wanted
            })
            .map(drop)
    }

    /// What is ours in the host.
    pub(crate) fn traces(&self) -> Result<String> {
        traces(&self.lab.host)
    }
}

fn traces(host: &Netns) -> Result<String> {
    let listed = ["-4 route show table all proto", "-6 route show table all proto", "nexthop show proto"]
        .iter()
        .map(|what| host.ip(&format!("{what} {PROTOCOL}")));
    listed.chain([Ok(rules(host, true)?.concat())]).collect()
}

/// The rules of both families, ours or those of others.
fn rules(host: &Netns, ours: bool) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        let text = host.ip(&format!("{family} rule show"))?;
        lines.extend(text.lines().map(|line| format!("{family} {}\n", line.trim_end())));
    }
    lines.retain(|line| line.ends_with(&format!(" proto {PROTOCOL}\n")) == ours);
    Ok(lines)
}

/// The kernel's choice of what a flow is.
fn hash_policy(host: &Netns) -> Result<Vec<String>> {
    let read = || {
        ["ipv4", "ipv6"]
            .iter()
            .map(|family| fs::read_to_string(format!("/proc/sys/net/{family}/fib_multipath_hash_policy")))
            .collect::<std::io::Result<Vec<_>>>()
    };
    let read = host.run(read)?.context("the hash policy")?;
    Ok(read.iter().map(|value| value.trim().to_owned()).collect())
}

/// Waits until the neighbour got more of every flow than it had when this was called.
fn wait_all_go_on(flows: &Flows) -> Result<()> {
    let before = flows.received();
    let result = wait::until("every flow goes on", || {
        let now = flows.received();
        Ok(now.len() == flows.count()
            && now
                .iter()
                .zip(before.iter().chain(std::iter::repeat(&0)))
                .all(|(now, before)| *now >= before + 5))
    });
    result.with_context(|| {
        format!("{} of {} flows; broken: {:?}", flows.received().len(), flows.count(), flows.broken())
    })
}

/// How many flows to each destination leave by each NIC; each by one only. Connections over IPv6 do not count: before Linux 6.16
/// the kernel chooses for them when they have no port yet, so those to one address and port leave by one NIC.
fn shares(seen: &BTreeMap<Flow, Vec<usize>>) -> Result<BTreeMap<IpAddr, [usize; 2]>> {
    let mut shares: BTreeMap<IpAddr, [usize; 2]> = BTreeMap::new();
    for (flow, nics) in seen {
        ensure!(nics.len() == 1, "{flow:?} left by {nics:?}");
        if !flow.tcp || flow.to.is_ipv4() {
            shares.entry(flow.to).or_default()[nics[0]] += 1;
        }
    }
    Ok(shares)
}

#[test]
fn b29_outbound_flows_spread_over_the_active_members() -> Result<()> {
    let Some(bed) = spreading()? else { return Ok(()) };
    let flows = Flows::start(&bed.lab, &destinations()?, FLOWS, INTERVAL)?;
    wait_all_go_on(&flows)?;
    flows.left_by();
    wait_all_go_on(&flows)?;
    let seen = flows.left_by();
    ensure!(seen.len() == flows.count(), "{} flows of {} were seen", seen.len(), flows.count());
    for (to, [first, second]) in shares(&seen)? {
        println!("{first:3} flows to {to} leave by eth0, {second:3} by eth1");
        let all = if to.is_ipv4() { 2 * FLOWS } else { FLOWS };
        ensure!(first + second == all && first.min(second) * FAIR >= all, "{to}: {first} and {second}");
    }
    // The source is the one that the routes of others give.
    for flow in seen.keys() {
        let source = if flow.to.is_ipv4() { "192.168.10.10" } else { "2001:db8:10::10" };
        ensure!(flow.from == source.parse::<IpAddr>()?, "{flow:?}");
    }
    ensure!(flows.overtaken() == 0, "{} datagrams were overtaken", flows.overtaken());
    let said = String::from_utf8(bed.daemon.client(&["status"])?.stdout)?;
    ensure!(said.contains("outbound flows leave by eth0, eth1"), "{said}");
    Ok(())
}

/// One NIC is lost and comes back: its flows go on by the other, those of the other stay there, nothing is overtaken, and
/// new flows are spread again.
fn flows_survive(lose: impl Fn(&Lab) -> Result<u64>, mend: impl Fn(&Lab) -> Result<u64>) -> Result<()> {
    let Some(bed) = spreading()? else { return Ok(()) };
    let flows = Flows::start(&bed.lab, &destinations()?, FLOWS, INTERVAL)?;
    wait_all_go_on(&flows)?;
    let by_eth1 = |seen: &BTreeMap<Flow, Vec<usize>>| {
        seen.iter().filter(|(_, nics)| **nics == [1]).map(|(flow, _)| *flow).collect::<Vec<_>>()
    };
    let healthy = by_eth1(&flows.left_by());

    lose(&bed.lab)?;
    bed.wait_outbound(&["eth1"])?;
    wait_all_go_on(&flows)?;
    let during = flows.left_by();
    let stayed = healthy.iter().filter(|flow| during.get(*flow).is_some_and(|nics| *nics == [1])).count();
    println!("{} flows, {stayed} of the {} by eth1 stayed there", flows.count(), healthy.len());
    ensure!(stayed == healthy.len() && stayed > 0, "{stayed} of {}", healthy.len());
    wait_all_go_on(&flows)?;
    let after = flows.left_by();
    ensure!(after.values().all(|nics| *nics == [1]), "all leave by eth1: {after:?}");

    mend(&bed.lab)?;
    bed.daemon.wait_healthy()?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    wait_all_go_on(&flows)?;
    ensure!(flows.broken().is_empty(), "{:?}", flows.broken());
    ensure!(flows.overtaken() == 0, "{} datagrams were overtaken", flows.overtaken());
    let more = Flows::start(&bed.lab, &destinations()?, FLOWS, INTERVAL)?;
    wait_all_go_on(&more)?;
    for (to, [first, second]) in shares(&more.left_by())? {
        println!("afterwards {first:3} new flows to {to} leave by eth0, {second:3} by eth1");
        ensure!(first * FAIR >= first + second, "{to}: {first} by eth0, {second} by eth1");
    }
    Ok(())
}

#[test]
fn b29_flows_survive_a_dead_path() -> Result<()> {
    flows_survive(|lab| lab.cut(0), |lab| lab.mend(0))
}

#[test]
fn b29_flows_survive_a_pulled_cable() -> Result<()> {
    flows_survive(|lab| lab.pull(0), |lab| lab.plug(0))
}

/// The rules and routes of others.
fn others(host: &Netns) -> Result<Vec<String>> {
    let mut lines = rules(host, false)?;
    for family in ["-4", "-6"] {
        let text = host.ip(&format!("-o {family} route show table all"))?;
        let others = text.lines().filter(|line| !line.contains(&format!("proto {PROTOCOL} ")));
        lines.extend(others.filter(|line| !line.contains("table local")).map(str::to_owned));
    }
    Ok(lines)
}

impl Bed {
    fn wait_no_traces(&self) -> Result<()> {
        wait::until("nothing of ours is left", || Ok(self.traces()?.is_empty()))
            .with_context(|| self.traces().unwrap_or_default())
    }

    fn reload(&self, config: &Config) -> Result<()> {
        fs::write(self.daemon.files().config(), config.to_string())?;
        let output = self.daemon.client(&["reload"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

#[test]
fn b29_spreading_leaves_the_routes_of_others_alone_and_no_trace() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let (before, policy) = (others(&lab.host)?, hash_policy(&lab.host)?);
    ensure!(policy == ["0", "0"], "the kernel's default: {policy:?}");
    let daemon = Daemon::start(&lab.host, &config())?;
    daemon.wait_healthy()?;
    let mut bed = Bed { daemon, lab };
    bed.wait_outbound(&["eth0", "eth1"])?;
    ensure!(others(&bed.lab.host)? == before, "{before:#?} is now {:#?}", others(&bed.lab.host)?);
    let main = ["-4 route show table main proto", "-6 route show table main proto"];
    for what in main {
        ensure!(bed.lab.host.ip(&format!("{what} {PROTOCOL}"))?.is_empty(), "main has routes of ours");
    }
    ensure!(hash_policy(&bed.lab.host)? == ["1", "1"]);
    // What an administrator does to a route hits that route.
    bed.lab.host.batch("route del default\nroute add default via 192.168.10.1 dev eth0")?;
    ensure!(others(&bed.lab.host)? == before);

    bed.reload(&off())?;
    bed.wait_outbound(&[])?;
    bed.wait_no_traces()?;
    ensure!(hash_policy(&bed.lab.host)? == policy);

    bed.reload(&config())?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    ensure!(hash_policy(&bed.lab.host)? == ["1", "1"]);
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    ensure!(!bed.traces()?.is_empty(), "who is killed takes nothing away");
    let (code, text) = crate::release::release(&bed)?;
    ensure!(code == Some(0) && text.contains("outbound load spreading"), "{text}");
    ensure!(bed.traces()?.is_empty(), "{}", bed.traces()?);
    ensure!(hash_policy(&bed.lab.host)? == policy);
    ensure!(others(&bed.lab.host)? == before, "{before:#?} is now {:#?}", others(&bed.lab.host)?);
    Ok(())
}

#[test]
fn b29_restart_of_a_killed_daemon_tells_nobody_of_rules_routes_or_nexthops() -> Result<()> {
    let Some(mut bed) = spreading()? else { return Ok(()) };
    let log = Changes::start(&bed.lab.host)?;
    let traces = bed.traces()?;
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    let other = log.heard()?;
    ensure!(other.is_empty(), "{other:#?}");
    ensure!(bed.traces()? == traces);
    Ok(())
}

/// Nobody knows then who was active.
#[test]
fn b29_restart_of_a_failed_group_leaves_flows_where_they_are() -> Result<()> {
    let Some(mut bed) = spreading()? else { return Ok(()) };
    bed.lab.cut_peer(0)?;
    bed.daemon.wait_for("the group fails", |status| group(status)["state"] == "failed")?;
    let traces = bed.traces()?;
    ensure!(traces.contains("dev eth0") && traces.contains("dev eth1"), "{traces}");
    bed.daemon.signal(Signal::SIGKILL)?;
    bed.daemon.wait_exit()?;
    bed.daemon.start_again(&bed.lab.host)?;
    bed.daemon.wait_for("the group is failed", |status| group(status)["state"] == "failed")?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    ensure!(bed.traces()? == traces, "{traces} is now {}", bed.traces()?);
    Ok(())
}

/// A carrier that is gone for less than `link-down-delay` is no failure; the kernel deletes what leaves by it all the same.
#[test]
fn b29_what_the_kernel_or_somebody_took_is_made_again() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let patient = config().link_based().with("link-down-delay", "\"1h\"");
    let daemon = Daemon::start(&lab.host, &patient)?;
    daemon.wait_healthy()?;
    let bed = Bed { daemon, lab };
    bed.wait_outbound(&["eth0", "eth1"])?;
    let traces = bed.traces()?;
    bed.lab.pull(0)?;
    wait::until("the kernel deletes what leaves by eth0", || Ok(!bed.traces()?.contains("dev eth0")))?;
    bed.lab.plug(0)?;
    wait::until("flows leave by eth0 again", || {
        Ok(bed.traces()?.matches("dev eth0").count() == traces.matches("dev eth0").count())
    })
    .with_context(|| format!("{}\n{}", bed.traces().unwrap_or_default(), bed.daemon.log_tail()))?;

    bed.lab.host.ip(&format!("nexthop flush proto {PROTOCOL}"))?;
    wait::until("it is made again", || {
        Ok(bed.traces()?.matches("dev eth1").count() == traces.matches("dev eth1").count())
    })
    .with_context(|| format!("{}\n{}", bed.traces().unwrap_or_default(), bed.daemon.log_tail()))?;

    // Its own place only, behind which somebody else has put one: ours stand right before main's.
    let ours = rules(&bed.lab.host, true)?;
    bed.lab
        .host
        .batch("rule del pref 32765\nrule del pref 32765\nrule add pref 32765 from 192.0.2.1 lookup 100")?;
    wait::until("the rules are made again", || {
        let all = bed.lab.host.ip("-4 rule show")?;
        let before_main = all.split("32766:").next().unwrap_or_default();
        Ok(rules(&bed.lab.host, true)? == ours
            && before_main.trim_end().ends_with(&format!("proto {PROTOCOL}")))
    })
    .with_context(|| format!("{}\n{}", bed.traces().unwrap_or_default(), bed.daemon.log_tail()))
}
