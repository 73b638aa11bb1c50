//! What `ipmp status -v` and `ipmp doctor` say of links and of the host.

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, bin_dir, interface},
    skip,
    tap::{Link, Tap, mode},
    topology::{Lab, Shape},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Bed, FDT_MS};

const ALL: u32 =
    mode::AUTONEG | mode::TEN_HALF | mode::HUNDRED_HALF | mode::HUNDRED_FULL | mode::GIGABIT_FULL;
const GIGABIT: Link = Link {
    speed_mbps: 1000,
    full: true,
    autonegotiation: true,
    supported: ALL,
    advertised: ALL,
    partner: ALL,
};

/// Two NICs in a group that only looks at carrier, and a daemon.
struct Desk {
    daemon: Daemon,
    taps: [Tap; 2],
    lab: Lab,
}

impl Desk {
    fn new() -> Result<Option<Self>> {
        if !skip::can_run() {
            return Ok(None);
        }
        let lab = Lab::new(&Shape { data_members: 0, ..Shape::default() })?;
        let taps = match (Tap::new(&lab.host, "tap0"), Tap::new(&lab.host, "tap1")) {
            (Ok(first), Ok(second)) => [first, second],
            (Err(error), _) | (_, Err(error)) => {
                skip::say(&format!("no tap devices here: {error:#}"));
                return Ok(None);
            }
        };
        for tap in &taps {
            tap.says(&lab.host, GIGABIT)?;
        }
        let config =
            "[group.ipmp0.interface.tap0]\ndata = [\"192.0.2.10/24\"]\n[group.ipmp0.interface.tap1]\n";
        let daemon = Daemon::start_from(&lab.host, config, bin_dir()?)?;
        daemon.wait_for("both work", |status| {
            ["tap0", "tap1"].iter().all(|name| interface(status, name)["state"] == "ok")
        })?;
        Ok(Some(Self { daemon, taps, lab }))
    }

    fn status(&self) -> Result<Value> {
        let output = self.daemon.client(&["--json", "status", "-v"])?;
        serde_json::from_slice(&output.stdout).context("a status")
    }

    fn checks(&self, nic: &str) -> Result<Vec<String>> {
        let status = self.status()?;
        let findings = interface(&status, nic)["diagnosis"]["findings"].as_array().cloned();
        let findings = findings.with_context(|| format!("no findings: {status:#}"))?;
        Ok(findings.iter().filter_map(|found| found["check"].as_str().map(str::to_owned)).collect())
    }
}

#[test]
fn a36_a37_a38_speed_duplex_and_negotiation_are_shown_as_the_driver_says_them() -> Result<()> {
    let Some(desk) = Desk::new()? else { return Ok(()) };
    let status = desk.status()?;
    let link = &interface(&status, "tap0")["diagnosis"]["link"];
    assert_eq!(
        (&link["speed_mbps"], &link["duplex"]),
        (&Value::from(1000), &Value::from("full")),
        "{link:#}"
    );
    assert_eq!(link["autonegotiation"], true);
    for modes in ["supported", "advertised", "partner"] {
        let list = link[modes].as_array().with_context(|| format!("no {modes}: {link:#}"))?;
        assert!(list.contains(&"1000baseT/Full".into()) && list.contains(&"Autoneg".into()), "{link:#}");
    }
    assert_eq!(desk.checks("tap0")?, [""; 0]);
    let text = String::from_utf8_lossy(&desk.daemon.client(&["status", "-v"])?.stdout).into_owned();
    assert!(text.contains("1000 Mb/s") && text.contains("NEGOTIATION"), "{text}");
    // Without -v nobody asks the driver.
    assert!(interface(&desk.daemon.status()?, "tap0")["diagnosis"].is_null());
    Ok(())
}

#[test]
fn a39_a_duplex_mismatch_is_warned_of_and_nothing_is_changed() -> Result<()> {
    let Some(desk) = Desk::new()? else { return Ok(()) };
    // Parallel detection: we negotiate, nobody answers, half duplex it is.
    let fallen = Link { speed_mbps: 100, full: false, partner: 0, ..GIGABIT };
    desk.taps[1].says(&desk.lab.host, fallen)?;
    assert_eq!(desk.checks("tap1")?, ["duplex-mismatch", "below-sibling"]);
    assert_eq!(desk.checks("tap0")?, [""; 0]);
    let text = String::from_utf8_lossy(&desk.daemon.client(&["explain", "tap1"])?.stdout).into_owned();
    assert!(text.contains("ethtool -s tap1 speed 100 duplex full autoneg off"), "{text}");
    // Looked at three times by now, and as it was.
    let status = desk.status()?;
    let link = &interface(&status, "tap1")["diagnosis"]["link"];
    assert_eq!((&link["speed_mbps"], &link["duplex"]), (&Value::from(100), &Value::from("half")), "{link:#}");
    assert_eq!(link["autonegotiation"], true);
    Ok(())
}

#[test]
fn a37_a38_negotiation_off_and_a_partner_that_does_not_negotiate_are_warned_of() -> Result<()> {
    let Some(desk) = Desk::new()? else { return Ok(()) };
    desk.taps[0].says(&desk.lab.host, Link { autonegotiation: false, ..GIGABIT })?;
    desk.taps[1].says(&desk.lab.host, Link { partner: mode::GIGABIT_FULL, ..GIGABIT })?;
    assert_eq!(desk.checks("tap0")?, ["negotiation-off"]);
    assert_eq!(desk.checks("tap1")?, ["partner-not-negotiating"]);
    Ok(())
}

#[test]
fn a42_a_link_that_fell_back_points_to_the_cable_and_tells_its_error_counters() -> Result<()> {
    let Some(desk) = Desk::new()? else { return Ok(()) };
    desk.taps[1].says(&desk.lab.host, Link { speed_mbps: 100, ..GIGABIT })?;
    // Its carrier goes and comes: a counter of the kernel's.
    desk.lab.host.ip("link set tap1 down")?;
    desk.lab.host.ip("link set tap1 up")?;
    let status = desk.status()?;
    let diagnosis = &interface(&status, "tap1")["diagnosis"];
    assert_eq!(diagnosis["findings"][0]["check"], "below-common-mode", "{diagnosis:#}");
    assert_eq!(diagnosis["findings"][1]["check"], "below-sibling", "{diagnosis:#}");
    assert!(diagnosis["link"]["counters"]["rx_errors"].is_u64(), "{diagnosis:#}");
    Ok(())
}

#[test]
fn a42_the_reason_of_a_failure_comes_with_the_links_error_counters() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS).link_based())? else {
        return Ok(());
    };
    bed.lab.pull(0)?;
    bed.wait_state("eth0", "failed")?;
    let text = String::from_utf8_lossy(&bed.daemon.client(&["explain", "eth0"])?.stdout).into_owned();
    let (reason, _) = text.split_once("evidence:").context("no evidence")?;
    assert!(reason.contains("carrier lost") && reason.contains(" losses of carrier"), "{text}");
    Ok(())
}

/// The exit code of `ipmp doctor`, and what it found: `SEVERITY SUBJECT CHECK`.
fn doctor(daemon: &Daemon) -> Result<(Option<i32>, Vec<String>)> {
    let config = daemon.files().config();
    let config = config.to_str().context("a path that is text")?;
    let output = daemon.client(&["--json", "doctor", "--config", config])?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("a report, not: {}", String::from_utf8_lossy(&output.stderr)))?;
    let findings = report["findings"].as_array().context("findings")?;
    let word = |found: &Value, field: &str| found[field].as_str().unwrap_or_default().to_owned();
    for found in findings {
        assert!(["what", "why", "fix"].iter().all(|part| !word(found, part).is_empty()), "{found}");
    }
    let line = |found: &Value| {
        format!("{} {} {}", word(found, "severity"), word(found, "subject"), word(found, "check"))
    };
    Ok((output.status.code(), findings.iter().map(line).collect()))
}

#[test]
fn doctor_names_what_defeats_a_group_and_the_worst_finding_is_its_exit_code() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    // This machine's kernel may be short of something, its interfaces in the lab are not.
    let of_lab = |found: &[String]| -> Vec<String> {
        let worse = |line: &&String| !line.starts_with("note") && !line.contains(" host ");
        found.iter().filter(worse).cloned().collect()
    };
    let (code, found) = doctor(&bed.daemon)?;
    assert_eq!(of_lab(&found), [""; 0], "{found:?}");
    assert!(matches!(code, Some(0 | 1)), "{code:?} {found:?}");

    let host = &bed.lab.host;
    for scope in ["all", "eth1"] {
        host.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "1")?;
    }
    host.sysctl("net/ipv6/conf/eth1/disable_ipv6", "1")?;
    host.sysctl("net/ipv4/conf/eth1/arp_ignore", "0")?;
    let (code, found) = doctor(&bed.daemon)?;
    assert_eq!(code, Some(2), "{found:?}");
    let wanted = ["problem eth1 rp-filter", "problem eth1 ipv6-disabled", "warning eth1 arp-ignore"];
    for wanted in wanted {
        assert!(found.iter().any(|line| line == wanted), "{wanted} is not among {found:?}");
    }
    assert!(found[0].starts_with("problem"), "worst first: {found:?}");

    let shown: Value = serde_json::from_str(&host.ip("-j link show dev eth0")?).context("JSON")?;
    let mac = shown[0]["address"].as_str().context("a hardware address")?;
    host.ip(&format!("link set eth1 address {mac}"))?;
    let (_, found) = doctor(&bed.daemon)?;
    assert!(found.iter().any(|line| line == "problem ipmp0 duplicate-mac"), "{found:?}");
    Ok(())
}

#[test]
fn doctor_tells_of_links_and_of_a_daemon_that_does_not_answer() -> Result<()> {
    let Some(mut desk) = Desk::new()? else { return Ok(()) };
    desk.taps[1].says(&desk.lab.host, Link { full: false, speed_mbps: 100, partner: 0, ..GIGABIT })?;
    let (_, found) = doctor(&desk.daemon)?;
    assert!(found.iter().any(|line| line == "warning tap1 duplex-mismatch"), "{found:?}");
    desk.daemon.signal(Signal::SIGTERM)?;
    desk.daemon.wait_exit()?;
    // Now it looks at the namespace that it was started in, where there are no such interfaces.
    let (code, found) = doctor(&desk.daemon)?;
    assert_eq!(code, Some(2), "{found:?}");
    for wanted in ["warning host no-daemon", "problem tap0 absent"] {
        assert!(found.iter().any(|line| line == wanted), "{wanted} is not among {found:?}");
    }
    Ok(())
}

#[test]
fn doctor_calls_a_group_without_interfaces_a_problem() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS).only(false))? else {
        return Ok(());
    };
    let detach = |name: &str| -> Result<()> {
        let done = bed.daemon.client(&["detach", "--force", name])?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    };
    detach("eth0")?;
    // Without the file, a test address is known only of what is there.
    let output = bed.daemon.client(&["doctor", "--config", "/dev/null/none"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("no test address on eth0"), "{text}");
    detach("eth1")?;
    let (code, found) = doctor(&bed.daemon)?;
    assert_eq!(code, Some(2), "{found:?}");
    for wanted in ["problem ipmp0 group-failed", "problem ipmp0 parked"] {
        assert!(found.iter().any(|line| line == wanted), "{wanted} is not among {found:?}");
    }
    Ok(())
}

#[test]
fn top_shows_the_status_and_the_newest_events() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let output = bed.daemon.client(&["top", "-n", "2", "-d", "20ms"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(text.matches("failure detection time").count(), 2, "{text}");
    assert!(text.contains("last events:") && text.contains("eth1"), "{text}");
    assert!(!text.contains('\u{1b}'), "nothing to steer a terminal where there is none: {text}");
    Ok(())
}
