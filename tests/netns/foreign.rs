//! Others who change addresses and routes of members: put back, and told with what is known of who it was.

use std::{
    io::Write as _,
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::Config,
    daemon::{group, interface},
    topology::{data, test4},
    wait::{self, now_ns},
};
use serde_json::Value;

use crate::{Bed, FDT_MS, Traffic, detach::order, reload::three};

/// ip(8) that takes its commands from us, and lives until it is dropped.
struct Batch(Child);

impl Batch {
    fn start(bed: &Bed) -> Result<Self> {
        let mut command = bed.lab.host.command("ip")?;
        Ok(Self(command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().context("ip -batch -")?))
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let input = self.0.stdin.as_mut().context("its input")?;
        writeln!(input, "{line}").context("a line for ip")?;
        input.flush().context("a line for ip")
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The event that tells of it.
fn put_back(bed: &Bed, from_ns: u64) -> Result<Value> {
    bed.daemon.wait_event("put back", from_ns, |event| event["kind"] == "put-back")
}

fn deletion(ipv6: bool) -> String {
    format!("address delete {}/{} dev eth0", data(0, ipv6), if ipv6 { 64 } else { 24 })
}

fn wait_back(bed: &Bed, ipv6: bool) -> Result<()> {
    wait::until("the address is back", || {
        Ok(bed.lab.host.ip("address show dev eth0")?.contains(&format!("{}/", data(0, ipv6))))
    })
}

#[test]
fn what_a_command_removes_is_put_back_and_told() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let from_ns = now_ns();
    bed.lab.host.ip(&deletion(false))?;
    let told = put_back(&bed, from_ns)?;
    wait_back(&bed, false)?;
    assert_eq!(told["group"], "ipmp0");
    assert_eq!(told["why"]["why"], "foreign-change");
    assert_eq!(told["why"]["by"][0]["class"], "command", "{told}");
    let reason = told["reason"].as_str().context("a reason")?;
    assert!(reason.starts_with("changed by a command") && reason.ends_with("times so far: 1"), "{reason}");
    assert_eq!(group(&bed.daemon.status()?)["put_back"], 1);
    bed.wait_log("Addresses or routes of group ipmp0 were put back: changed by a command")
}

#[test]
fn a_program_that_runs_on_is_named() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let (mut program, from_ns) = (Batch::start(&bed)?, now_ns());
    program.say(&deletion(false))?;
    let told = put_back(&bed, from_ns)?;
    wait_back(&bed, false)?;
    let pid = program.0.id();
    assert_eq!(
        told["why"]["by"],
        serde_json::json!([{"class": "command", "program": "ip", "pid": pid}]),
        "{told}"
    );
    let reason = told["reason"].as_str().context("a reason")?;
    assert!(reason.starts_with(&format!("changed by a command (ip, process {pid});")), "{reason}");
    Ok(())
}

/// The kernel gives no port in notifications of IPv6 addresses.
#[test]
fn who_removed_an_ipv6_address_is_unknown_and_that_is_said() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let from_ns = now_ns();
    bed.lab.host.ip(&deletion(true))?;
    let told = put_back(&bed, from_ns)?;
    wait_back(&bed, true)?;
    let reason = told["reason"].as_str().context("a reason")?;
    assert!(reason.starts_with("changed by unknown (the kernel does not say);"), "{reason}");
    Ok(())
}

#[test]
fn a_route_of_a_dhcp_client_is_told_as_its() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let from_ns = now_ns();
    let address = data(0, false);
    bed.lab.host.batch(&format!(
        "route add 192.0.2.0/24 via 192.168.10.1 dev eth0 proto dhcp\naddress delete {address}/24 dev eth0"
    ))?;
    let told = put_back(&bed, from_ns)?;
    wait_back(&bed, false)?;
    let classes: Vec<&Value> =
        told["why"]["by"].as_array().context("who")?.iter().map(|by| &by["class"]).collect();
    assert!(
        classes.contains(&&Value::from("dhcp-client")) && classes.contains(&&Value::from("command")),
        "{told}"
    );
    Ok(())
}

#[test]
fn what_we_change_ourselves_is_nobody_elses() -> Result<()> {
    let Some(bed) = three(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    for nic in 0..2 {
        bed.lab.cut(nic)?;
        bed.wait_state(&format!("eth{nic}"), "failed")?;
        bed.lab.mend(nic)?;
        bed.daemon.wait_healthy()?;
        bed.lab.pull(nic)?;
        bed.wait_state(&format!("eth{nic}"), "failed")?;
        bed.lab.plug(nic)?;
        bed.daemon.wait_healthy()?;
    }
    order(&bed, &["attach", "eth2", "--group", "ipmp0", "--test", &test4(2).to_string()])?;
    bed.daemon.wait_for("eth2 works", |status| interface(status, "eth2")["probe"] == "ok")?;
    order(&bed, &["detach", "eth0"])?;
    order(&bed, &["attach", "eth0"])?;
    bed.daemon.wait_healthy()?;
    order(&bed, &["offline", "eth1"])?;
    bed.wait_state("eth1", "offline")?;
    order(&bed, &["online", "eth1"])?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    // What somebody else does now is told, and is the first.
    let from_ns = now_ns();
    bed.lab.host.ip(&deletion(false))?;
    put_back(&bed, from_ns)?;
    let events = bed.daemon.events()?;
    let told: Vec<&Value> = events.iter().filter(|event| event["kind"] == "put-back").collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    traffic.tcp.finish().map(drop)
}
