//! What a carrier does because our own programs were attached is no failure: drivers that reset their rings take it away
//! for a while. A veth pair does not; the port at the other end of its cable does it, when the call has returned.

use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use ipmp_tests::{
    config::Config,
    daemon::interface,
    held_call::Held,
    topology::{data, test4},
    wait::{self, now_ns},
};
use serde_json::Value;

use crate::{Bed, FDT_MS, Traffic, detach::order, reload::three};

/// `BPF_LINK_CREATE` (linux/bpf.h).
const LINK_CREATE: u64 = 28;

/// Does something that attaches programs to the NIC, and takes its carrier away as soon as the first is attached.
fn flapping<R: Send>(bed: &Bed, nic: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let held = Held::after_bpf(bed.daemon.pid(), "ipmpd", LINK_CREATE)?;
    thread::scope(|scope| {
        let work = scope.spawn(work);
        let pulled = held.wait().and_then(|()| bed.lab.pull(nic).map(drop));
        drop(held);
        let result = work.join().map_err(|_| anyhow!("it panicked"))?;
        pulled.and(result)
    })
}

fn events_of(bed: &Bed, from_ns: u64, nic: &str, kinds: &[&str]) -> Result<Vec<Value>> {
    let mut events = bed.daemon.events_since(from_ns)?;
    events.retain(|event| event["interface"] == nic && kinds.iter().any(|kind| event["kind"] == *kind));
    Ok(events)
}

#[test]
fn a_carrier_that_flaps_when_a_new_member_is_attached_is_no_failure() -> Result<()> {
    let Some(bed) = three(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    let (test, from_ns) = (test4(2).to_string(), now_ns());
    flapping(&bed, 2, || {
        order(&bed, &["attach", "eth2", "--group", "ipmp0", "--data", "192.168.10.12/24", "--test", &test])
    })?;
    // As long as a link takes to be negotiated anew.
    let lost_ns = now_ns();
    wait::until("a second passes", || Ok(now_ns() - lost_ns >= 1_000_000_000))?;
    let shown = bed.lab.host.ip("-4 address show dev eth2")?;
    assert!(!shown.contains("192.168.10.12/"), "nothing is put on it yet: {shown}");
    bed.lab.plug(2)?;
    bed.daemon.wait_for("eth2 works", |status| {
        let eth2 = interface(status, "eth2");
        eth2["state"] == "ok" && eth2["probe"] == "ok"
    })?;
    wait::until("its address serves", || {
        Ok(bed.lab.host.ip("-4 address show dev eth2")?.contains("192.168.10.12/"))
    })?;
    let told = events_of(&bed, from_ns, "eth2", &["failed", "link-down", "absent", "repaired"])?;
    assert!(told.is_empty(), "{told:#?}");
    traffic.wait_flow()?;
    // What happens later is a failure.
    let from_ns = now_ns();
    bed.lab.pull(2)?;
    bed.daemon
        .wait_event("it fails", from_ns, |event| event["kind"] == "failed" && event["interface"] == "eth2")?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn a_carrier_that_does_not_come_back_after_the_attach_is_a_failure_in_the_end() -> Result<()> {
    let Some(bed) = three(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let from_ns = now_ns();
    flapping(&bed, 2, || {
        order(&bed, &["attach", "eth2", "--group", "ipmp0", "--test", &test4(2).to_string()])
    })?;
    bed.wait_log("no carrier since programs were attached")?;
    bed.wait_state("eth2", "failed")?;
    ensure!(events_of(&bed, from_ns, "eth2", &["failed"])?.len() == 1);
    Ok(())
}

#[test]
fn a_carrier_that_flaps_when_a_member_returns_is_no_failure() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    order(&bed, &["detach", "eth0"])?;
    bed.lab.host.ip("link set eth0 up")?;
    bed.lab.plug(0)?;
    wait::until("it has a carrier", || Ok(bed.lab.host.ip("link show dev eth0")?.contains("LOWER_UP")))?;
    let from_ns = now_ns();
    flapping(&bed, 0, || order(&bed, &["attach", "eth0"]))?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    let told = events_of(&bed, from_ns, "eth0", &["failed", "link-down"])?;
    assert!(told.is_empty(), "{told:#?}");
    let address = data(0, false).to_string();
    wait::until("its address is at home", || {
        Ok(bed.lab.host.ip("-4 address show dev eth0")?.contains(&format!("{address}/")))
    })?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop).context("the connection")
}
