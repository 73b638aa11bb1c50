//! What keeps a group quiet: delays, the flap rule, failback, slow paths, hardware addresses that are not unique.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, bin_dir, group, interface},
    echo::DelayedEcho,
    pace, skip,
    topology::{Lab, Shape, data},
};
use serde_json::Value;

use crate::{Bed, FDT_MS, Traffic};

fn is(event: &Value, kind: &str, nic: &str) -> bool {
    event["kind"] == kind && event["interface"] == nic
}

#[test]
fn a10_link_down_delay_rides_out_a_flap_and_not_a_loss() -> Result<()> {
    let config = Config::active_active(FDT_MS).link_based().with("link-down-delay", "\"5s\"");
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let flapped_ns = bed.lab.pull(0)?;
    bed.daemon.wait_event("the failure waits", flapped_ns, |event| is(event, "deferred", "eth0"))?;
    bed.daemon.wait_for("the wait is shown", |status| interface(status, "eth0")["deferred"].is_string())?;
    bed.lab.plug(0)?;
    bed.daemon.wait_event("the link is back", flapped_ns, |event| is(event, "link-up", "eth0"))?;
    assert_eq!((bed.count("failed", flapped_ns)?, bed.count("moved", flapped_ns)?), (0, 0));

    let pulled_ns = bed.lab.pull(0)?;
    let failed = bed.daemon.wait_event("the loss counts", pulled_ns, |event| is(event, "failed", "eth0"))?;
    let times = failed["decided_ns"].as_u64().zip(failed["evidence_ns"].as_u64());
    let (decided_ns, evidence_ns) = times.context("both times")?;
    assert!(decided_ns - evidence_ns >= 5_000_000_000, "{failed}");
    bed.wait_address_on(&data(0, false).to_string(), "eth1")
}

#[test]
fn the_third_link_up_within_a_minute_is_deferred_with_one_message() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS).link_based())? else {
        return Ok(());
    };
    let mut first_ns = None;
    for up in 1..=4 {
        let pulled_ns = bed.lab.pull(0)?;
        first_ns.get_or_insert(pulled_ns);
        bed.daemon.wait_event("the link goes", pulled_ns, |event| is(event, "link-down", "eth0"))?;
        bed.wait_state("eth0", "failed")?;
        let plugged_ns = bed.lab.plug(0)?;
        bed.daemon
            .wait_event("the link comes", plugged_ns, |event| is(event, "link-up", "eth0"))
            .with_context(|| format!("plugged at {plugged_ns}; all events: {:#?}", bed.daemon.events()))?;
        if up < 3 {
            bed.wait_state("eth0", "ok")?;
        }
    }
    let since_ns = first_ns.context("a first flap")?;
    bed.daemon.wait_event("the flaps are told", since_ns, |event| is(event, "flapping", "eth0"))?;
    assert_eq!(interface(&bed.daemon.status()?, "eth0")["state"], "failed");
    assert_eq!((bed.count("flapping", since_ns)?, bed.count("repaired", since_ns)?), (1, 2));
    let log = bed.daemon.log_tail();
    assert!(
        log.contains("eth0 more than 2 times in the last minute; disabling repair until it stabilizes"),
        "{log}"
    );
    Ok(())
}

#[test]
fn failback_no_leaves_the_addresses_where_they_are_until_ordered_back() -> Result<()> {
    let config = Config::active_standby(FDT_MS).with("failback", "false");
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    let cut_ns = bed.lab.cut(0)?;
    let address = data(0, false).to_string();
    bed.wait_address_on(&address, "eth1")?;
    // Told only when the kernel has carried it out, one address after the other.
    for address in [data(0, false), data(0, true)] {
        let prefix = format!("{address}/");
        bed.daemon.wait_event("the address was moved", cut_ns, |event| {
            is(event, "moved", "eth1")
                && event["address"].as_str().is_some_and(|moved| moved.starts_with(&prefix))
        })?;
    }
    let mended_ns = bed.lab.mend(0)?;
    bed.daemon.wait_event("eth0 is repaired", mended_ns, |event| is(event, "repaired", "eth0"))?;
    let status = bed.daemon.wait_for("eth0 rests", |status| {
        let eth0 = interface(status, "eth0");
        eth0["state"] == "ok" && eth0["active"] == false
    })?;
    assert_eq!(group(&status)["state"], "ok");
    assert_eq!(bed.count("moved", mended_ns)?, 0);
    for order in ["offline", "online"] {
        let output = bed.daemon.client(&[order, "eth0"])?;
        ensure!(output.status.success(), "{order}: {}", String::from_utf8_lossy(&output.stderr));
    }
    bed.wait_address_on(&address, "eth0")?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn a_slow_path_raises_the_detection_time_and_a_quick_one_lowers_it() -> Result<()> {
    let config = Config::active_active(1400).only(false);
    let fdt_ms = config.fdt_ms;
    let Some(bed) = Bed::start(&config)? else {
        return Ok(());
    };
    let echo = DelayedEcho::start(bed.lab.peer())?;
    bed.daemon.wait_healthy()?;
    let in_force = |status: &Value| group(status)["fdt_ns"].as_u64().unwrap_or_default();
    let configured_ns = fdt_ms * 1_000_000;
    let slow_ns = ipmp_tests::wait::now_ns();
    // Half as long again as the interval, a seventh of the detection time.
    echo.set_delay(pace::stretched(Duration::from_millis(300)));
    bed.daemon.wait_for("the detection time is raised", |status| in_force(status) > configured_ns)?;
    let raised = bed.daemon.wait_event("it is told", slow_ns, |event| event["kind"] == "detection-time")?;
    assert_eq!(raised["why"]["why"], "slow-round-trip", "{raised}");
    assert_eq!(bed.count("failed", slow_ns)?, 0);
    let log = bed.daemon.log_tail();
    assert!(log.contains("Cannot meet requested failure detection time of 1400 ms on (inet eth"), "{log}");

    echo.set_delay(Duration::ZERO);
    let minutes = Duration::from_mins(3);
    bed.daemon.wait_for_within("the detection time is as configured", minutes, |status| {
        in_force(status) == configured_ns
    })?;
    let events = bed.daemon.events_since(slow_ns)?;
    let last = |why: &str| events.iter().rfind(|event| event["why"]["why"] == why);
    let first = |why: &str| events.iter().find(|event| event["why"]["why"] == why);
    let (raised, lowered) = (last("slow-round-trip"), first("quick-round-trip"));
    let at = |event: Option<&Value>| event.and_then(|event| event["t_ns"].as_u64()).context("an event");
    assert!(at(lowered)? >= at(raised)? + 60_000_000_000, "{raised:?} {lowered:?}");
    assert_eq!(bed.count("failed", slow_ns)?, 0);
    Ok(())
}

#[test]
fn a51_a_duplicate_hardware_address_is_held_offline() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let mac = |nic: &str| -> Result<String> {
        let links: Value = serde_json::from_str(&bed.lab.host.ip(&format!("-j link show dev {nic}"))?)?;
        links[0]["address"].as_str().map(str::to_owned).context("a hardware address")
    };
    let (first, second) = (mac("eth0")?, mac("eth1")?);
    bed.lab.host.ip(&format!("link set dev eth1 address {first}"))?;
    let status =
        bed.daemon.wait_for("eth1 is offline", |status| interface(status, "eth1")["state"] == "offline")?;
    let why = &interface(&status, "eth1")["why"];
    assert_eq!((&why["why"], &why["other"]), (&"duplicate-mac".into(), &"eth0".into()), "{status:#}");
    bed.wait_address_on(&data(1, false).to_string(), "eth0")?;
    let refused = bed.daemon.client(&["online", "eth1"])?;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("hardware address is not unique"), "{text}");

    bed.lab.host.ip(&format!("link set dev eth1 address {second}"))?;
    bed.daemon.wait_healthy()?;
    let log = bed.daemon.log_tail();
    for line in [
        "eth1 has a hardware address which is not unique in group ipmp0; offlining",
        "eth1 now has a unique hardware address in group ipmp0; onlining",
    ] {
        assert!(log.contains(line), "{line}:\n{log}");
    }
    Ok(())
}

#[test]
fn interfaces_in_no_group_are_watched_if_asked_for() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let lab = Lab::new(&Shape { members: 3, data_members: 2, ..Shape::default() })?;
    let config = format!("track-interfaces-only-with-groups = false\n{}", Config::active_active(FDT_MS));
    let daemon = Daemon::start_from(&lab.host, &config, bin_dir()?)?;
    daemon.wait_healthy()?;
    let ungrouped = |status: &Value| -> Value {
        let groups = status["groups"].as_array().cloned().unwrap_or_default();
        groups.into_iter().find(|group| group["name"] == "").unwrap_or_default()
    };
    let state_is = |state: &'static str| {
        move |status: &Value| {
            let group = ungrouped(status);
            let interfaces = group["interfaces"].as_array().cloned().unwrap_or_default();
            group["state"] == "ok"
                && matches!(interfaces.as_slice(), [only] if only["name"] == "eth2" && only["state"] == state)
        }
    };
    daemon.wait_for("eth2 alone is in no group", state_is("ok"))?;
    let pulled_ns = lab.pull(2)?;
    daemon.wait_for("eth2 failed", state_is("failed"))?;
    lab.plug(2)?;
    daemon.wait_for("eth2 repaired", state_is("ok"))?;
    let moved = daemon.events_since(pulled_ns)?.iter().filter(|event| event["kind"] == "moved").count();
    assert_eq!(moved, 0);
    let log = daemon.log_tail();
    assert!(log.contains("IP interface failure detected on eth2: "), "{log}");

    // One that appears later is watched as well.
    lab.host.batch("link add new0 type veth peer name new1\nlink set new0 up\nlink set new1 up")?;
    let state_of = |status: &Value, name: &str| -> Value {
        let interfaces = ungrouped(status)["interfaces"].as_array().cloned().unwrap_or_default();
        interfaces.into_iter().find(|interface| interface["name"] == name).unwrap_or_default()["state"]
            .clone()
    };
    daemon.wait_for("new0 is watched", |status| state_of(status, "new0") == "ok")?;
    lab.host.ip("link set new1 down")?;
    let status = daemon.wait_for("new0 failed", |status| state_of(status, "new0") == "failed")?;
    assert_eq!((&state_of(&status, "eth2"), &group(&status)["state"]), (&"ok".into(), &"ok".into()));
    Ok(())
}
