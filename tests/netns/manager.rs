//! A manager that starts: it deletes whatever it does not know and adds what it was told to, as systemd-networkd does by
//! default (`ManageForeignRoutes=`, `ManageForeignRoutingPolicyRules=`, `ManageForeignNextHops=` in networkd.conf(5)).

use std::{fs, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    address_log::AddressLog,
    changes::Changes,
    config::Config,
    daemon::{Daemon, group},
    skip,
    snapshot::Snapshot,
    topology::{Lab, PREFIX4, PREFIX6, Shape, data, peer4, peer6},
    wait::{self, now_ns},
};

use crate::{Bed, FDT_MS, Traffic, spread::PROTOCOL};

/// How often it starts, as fast as it can.
const STARTS: usize = 3;
/// Two comparisons with what shall be are a second apart.
const QUIET_NS: u64 = 2_500_000_000;

/// What the manager deletes: whatever is not the kernel's, `ip rule flush` even the rules by which the tables are found.
fn flush(ipv6: bool) -> String {
    let default = if ipv6 { "" } else { "rule add pref 32767 lookup default protocol kernel\n" };
    format!(
        "nexthop flush\nroute flush table all proto {PROTOCOL}\nrule flush\n\
         rule add pref 32766 lookup main protocol kernel\n{default}\
         address flush dev eth0 scope global\naddress flush dev eth1 scope global\n"
    )
}

/// What the manager has in its own configuration, as if there were no ipmpd; what it had there before goes.
fn own(ipv6: bool) -> String {
    let (prefix, router) =
        if ipv6 { (PREFIX6, peer6(0).to_string()) } else { (PREFIX4, peer4(0).to_string()) };
    let address = |n: usize| {
        let options = if ipv6 { "nodad" } else { "brd +" };
        format!("address replace {}/{prefix} {options} dev eth{n}\n", data(n, ipv6))
    };
    format!(
        "route flush proto static\n{}{}route replace default via {router} dev eth0 proto static\n",
        address(0),
        address(1)
    )
}

/// Runs a script for one family. Of what is flushed there may be nothing, and routes go with their objects.
fn run(bed: &Bed, ipv6: bool, text: &str) -> Result<()> {
    let script = bed.daemon.files().dir.join("manager");
    fs::write(&script, text).context("a script")?;
    let mut ip = bed.lab.host.command(skip::find_program("ip").context("ip(8)")?)?;
    let family = if ipv6 { "-6" } else { "-4" };
    let output = ip.args([family, "-force", "-batch"]).arg(&script).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!said.contains("rule") && !said.contains("address"), "{said}");
    Ok(())
}

fn put_back(bed: &Bed) -> Result<u64> {
    group(&bed.daemon.status()?)["put_back"].as_u64().context("a count")
}

/// The manager starts, with a configuration of its own or without; all is as before, and then nobody changes
/// anything any more.
fn start_manager(bed: &Bed, configured: bool) -> Result<()> {
    let before = Snapshot::take(&bed.lab.host)?;
    for ipv6 in [false, true].repeat(STARTS) {
        run(bed, ipv6, &flush(ipv6))?;
        if configured {
            run(bed, ipv6, &own(ipv6))?;
        }
    }
    bed.wait_unchanged_since(&before)?;
    wait::until("nobody changes anything any more", || is_quiet(bed)).with_context(|| bed.daemon.log_tail())
}

/// Listens for longer than the daemon lets pass between two comparisons of what is with what shall be.
fn is_quiet(bed: &Bed) -> Result<bool> {
    let addresses = AddressLog::start(&bed.lab.host)?;
    let (log, since_ns) = (Changes::start(&bed.lab.host)?, now_ns());
    wait::until("some time passes", || Ok(now_ns() - since_ns >= QUIET_NS))?;
    Ok(log.heard()?.is_empty() && addresses.steps()?.is_empty())
}

fn healthy() -> Result<Option<Bed>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
    for (family, router) in [("-4", peer4(0).to_string()), ("-6", peer6(0).to_string())] {
        lab.host.ip(&format!("{family} route del default via {router} dev eth0"))?;
        lab.host.ip(&format!("{family} route add default via {router} dev eth0 proto static"))?;
    }
    let daemon = Daemon::start(&lab.host, &Config::active_active(FDT_MS))?;
    daemon.wait_healthy()?;
    let bed = Bed { daemon, lab };
    bed.wait_outbound(&["eth0", "eth1"])?;
    Ok(Some(bed))
}

#[test]
fn a_manager_that_starts_while_all_is_well_is_followed_and_undone_once() -> Result<()> {
    let Some(bed) = healthy()? else { return Ok(()) };
    let traces = bed.traces()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    for configured in [true, false] {
        start_manager(&bed, configured)?;
        traffic.wait_flow()?;
    }
    wait::until("it is counted", || Ok(put_back(&bed)? > 0))?;
    let spread = |text: &str| (text.matches("dev eth0").count(), text.matches("dev eth1").count());
    wait::until("flows are spread again", || Ok(spread(&bed.traces()?) == spread(&traces)))?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn a_manager_that_starts_while_a_member_is_failed_brings_nothing_back_to_it() -> Result<()> {
    let Some(bed) = healthy()? else { return Ok(()) };
    let (all_well, traces) = (Snapshot::take(&bed.lab.host)?, bed.traces()?);
    bed.lab.cut(0)?;
    for ipv6 in [false, true] {
        bed.wait_address_on(&data(0, ipv6).to_string(), "eth1")?;
    }
    bed.wait_state("eth0", "failed")?;
    wait::until("the move is noted", || Ok(crate::crash::is_noted(&bed, "eth1")))?;
    let traffic = Traffic::start(&bed.lab, false)?;
    for configured in [true, false] {
        let known = put_back(&bed)?;
        start_manager(&bed, configured)?;
        traffic.wait_flow()?;
        wait::until("it is counted", || Ok(put_back(&bed)? > known))?;
    }
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&all_well)?;
    let spread = |text: &str| (text.matches("dev eth0").count(), text.matches("dev eth1").count());
    wait::until("flows are spread again", || Ok(spread(&bed.traces()?) == spread(&traces)))?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}
