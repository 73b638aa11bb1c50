//! Failover and failback with traffic, for both families, both ways to arrange members, both ways to fail.

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::interface,
    snapshot::Snapshot,
    topology::{Lab, data, peer6, test4},
    wait,
};

use crate::{Bed, FDT_MS, Traffic};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrangement {
    ActiveActive,
    ActiveStandby,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Break {
    /// The carrier goes.
    Cable,
    /// The carrier stays, frames are dropped in the middle.
    Path,
}

impl Break {
    fn make(self, lab: &Lab) -> Result<u64> {
        match self {
            Self::Cable => lab.pull(0),
            Self::Path => lab.cut(0),
        }
    }

    fn mend(self, lab: &Lab) -> Result<u64> {
        match self {
            Self::Cable => lab.plug(0),
            Self::Path => lab.mend(0),
        }
    }
}

/// A neighbour's ping and connection go on through the failure and the repair, after which all is as it was.
fn traffic_goes_on(family: Family, arrangement: Arrangement, how: Break) -> Result<()> {
    let config = match arrangement {
        Arrangement::ActiveActive => Config::active_active(FDT_MS),
        Arrangement::ActiveStandby => Config::active_standby(FDT_MS),
    };
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let ipv6 = family == Family::Ipv6;
    let traffic = Traffic::start(&bed.lab, ipv6)?;
    let address = data(0, ipv6).to_string();

    let broken_ns = how.make(&bed.lab)?;
    bed.wait_address_on(&address, "eth1")?;
    traffic.wait_flow()?;
    bed.wait_state("eth0", "failed")?;
    let moved = bed.daemon.wait_event("the address was moved and announced", broken_ns, |event| {
        event["kind"] == "moved"
            && event["address"].as_str().is_some_and(|moved| moved.starts_with(&address))
            && event["announced_ns"].is_u64()
    })?;
    in_order(&moved)?;

    how.mend(&bed.lab)?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    bed.wait_unchanged_since(&before)?;
    let carried = traffic.tcp.finish()?;
    assert!(carried.messages >= 20, "{carried:?}");
    let seen = traffic.ping.finish()?;
    assert!(seen.lost < seen.sent / 2, "{seen:?}");
    Ok(())
}

/// Evidence comes before the decision, that before its application, and that before the announcement.
fn in_order(event: &serde_json::Value) -> Result<()> {
    let times = ["evidence_ns", "decided_ns", "applied_ns", "announced_ns"]
        .iter()
        .map(|name| event[name].as_u64().with_context(|| format!("{name} in {event}")))
        .collect::<Result<Vec<_>>>()?;
    ensure!(times.is_sorted(), "times out of order in {event}");
    Ok(())
}

macro_rules! traffic_goes_on {
    ($($name:ident: $family:ident, $arrangement:ident, $how:ident;)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            traffic_goes_on(Family::$family, Arrangement::$arrangement, Break::$how)
        }
    )*};
}

traffic_goes_on! {
    carrier_loss_active_active_ipv4: Ipv4, ActiveActive, Cable;
    carrier_loss_active_active_ipv6: Ipv6, ActiveActive, Cable;
    carrier_loss_active_standby_ipv4: Ipv4, ActiveStandby, Cable;
    carrier_loss_active_standby_ipv6: Ipv6, ActiveStandby, Cable;
    path_cut_active_active_ipv4: Ipv4, ActiveActive, Path;
    path_cut_active_active_ipv6: Ipv6, ActiveActive, Path;
    path_cut_active_standby_ipv4: Ipv4, ActiveStandby, Path;
    path_cut_active_standby_ipv6: Ipv6, ActiveStandby, Path;
}

/// With targets of one family only, that family's probes alone find the cut.
fn one_family_decides_within_the_detection_time(ipv6: bool) -> Result<()> {
    let config = Config::active_standby(1000).only(ipv6);
    let fdt_ms = config.fdt_ms;
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let cut_ns = bed.lab.cut(0)?;
    let failed = bed.daemon.wait_event("eth0 fails", cut_ns, |event| {
        event["kind"] == "failed" && event["interface"] == "eth0"
    })?;
    let decided_ns = failed["decided_ns"].as_u64().context("decided_ns")?;
    let took_ms = decided_ns.saturating_sub(cut_ns) / 1_000_000;
    // Five probes a detection time: fewer than four unanswered ones prove nothing. The slack is for a loaded machine.
    assert!(took_ms > fdt_ms / 3, "{took_ms} ms of {fdt_ms} ms: {failed}");
    assert!(took_ms < fdt_ms + 250, "{took_ms} ms of {fdt_ms} ms: {failed}");
    Ok(())
}

#[test]
fn path_cut_is_decided_within_the_detection_time_ipv4() -> Result<()> {
    one_family_decides_within_the_detection_time(false)
}

#[test]
fn path_cut_is_decided_within_the_detection_time_ipv6() -> Result<()> {
    one_family_decides_within_the_detection_time(true)
}

/// Also a target with a global address, and without any IPv4 on the link.
#[test]
fn ipv6_targets_are_probed_from_the_link_local_address_without_a_test_address() -> Result<()> {
    let mut config = Config::active_active(FDT_MS).only(true);
    config.targets = vec![peer6(0).to_string()];
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let probed = |status: &serde_json::Value, name| {
        let shown = interface(status, name);
        shown["probe"] == "ok" && shown["targets"][0]["acked"].as_u64() > Some(0)
    };
    bed.daemon.wait_for("both are probed", |status| probed(status, "eth0") && probed(status, "eth1"))?;
    let cut_ns = bed.lab.cut(0)?;
    let failed = bed.daemon.wait_event("eth0 fails", cut_ns, |event| {
        event["kind"] == "failed" && event["interface"] == "eth0"
    })?;
    assert_eq!(failed["why"]["target"], peer6(0).to_string(), "{failed}");
    bed.wait_address_on(&data(0, true).to_string(), "eth1")
}

/// Losses over half a second suffice where the slots are long: in.mpathd would take at least 0.65 of the time.
#[test]
fn a_long_detection_time_is_not_used_up() -> Result<()> {
    let fdt_ms = 5000;
    let Some(bed) = Bed::healthy(&Config::active_active(fdt_ms).only(false))? else {
        return Ok(());
    };
    let cut_ns = bed.lab.cut(0)?;
    let failed = bed.daemon.wait_event("eth0 fails", cut_ns, |event| {
        event["kind"] == "failed" && event["interface"] == "eth0"
    })?;
    let took_ms = failed["decided_ns"].as_u64().context("decided_ns")?.saturating_sub(cut_ns) / 1_000_000;
    assert!(took_ms < fdt_ms * 65 / 100, "{took_ms} ms of {fdt_ms} ms: {failed}");
    assert!(failed["why"]["losses"].as_u64() >= Some(5), "{failed}");
    bed.wait_address_on(&data(0, false).to_string(), "eth1")
}

/// The kernel asks for a neighbour for three seconds before it gives up. A family that waits for that cannot speak
/// for the path; the other one, which was heard, decides alone.
#[test]
fn path_cut_is_decided_while_a_neighbour_is_unresolved() -> Result<()> {
    let mut config = Config::active_active(FDT_MS);
    config.targets.retain(|target| !target.contains(':'));
    config.targets.push("fe80::dead".to_owned());
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    bed.lab.pull(0)?;
    bed.wait_state("eth0", "failed")?;
    let plugged_ns = bed.lab.plug(0)?;
    let of_eth0 = |kind: &'static str| {
        move |event: &serde_json::Value| event["kind"] == kind && event["interface"] == "eth0"
    };
    bed.daemon.wait_event("eth0 is repaired", plugged_ns, of_eth0("repaired"))?;
    let cut_ns = bed.lab.cut(0)?;
    let failed = bed.daemon.wait_event("eth0 fails", cut_ns, of_eth0("failed"))?;
    let took_ms = (failed["decided_ns"].as_u64().context("decided_ns")?.saturating_sub(cut_ns)) / 1_000_000;
    assert!(took_ms < 4 * FDT_MS, "{took_ms} ms of {FDT_MS} ms: {failed}");
    Ok(())
}

#[test]
fn link_based_group_needs_no_test_address() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS).link_based())? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let traffic = Traffic::start(&bed.lab, false)?;
    bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    traffic.wait_flow()?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn a57_test_address_stays_up_on_the_failed_interface() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    bed.lab.cut(0)?;
    bed.wait_state("eth0", "failed")?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    let shown = bed.lab.host.ip("-4 address show dev eth0 up")?;
    assert!(shown.contains(&test4(0).to_string()), "{shown}");
    Ok(())
}

/// What the kernel refuses keeps nothing else back, and is done when it can be.
#[test]
fn route_that_was_refused_moves_when_it_is_allowed() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS).only(false))? else {
        return Ok(());
    };
    let default_by =
        |nic: &str| Ok(bed.lab.host.ip("-6 route show default")?.contains(&format!("dev {nic}")));
    ensure!(default_by("eth0")?, "the lab has an IPv6 default route");
    bed.lab.host.sysctl("net/ipv6/conf/eth1/disable_ipv6", "1")?;
    let cut_ns = bed.lab.cut(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    bed.daemon.wait_event("the refusal is reported", cut_ns, |event| {
        event["kind"] == "action-failed" && event.to_string().contains("IPv6 is disabled")
    })?;
    ensure!(default_by("eth0")?, "what is refused stays where it was");

    bed.lab.host.sysctl("net/ipv6/conf/eth1/disable_ipv6", "0")?;
    wait::until("the IPv6 default route by eth1", || default_by("eth1"))?;
    wait::until("none by eth0", || Ok(!default_by("eth0")?))
}
