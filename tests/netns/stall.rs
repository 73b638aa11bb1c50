//! "Was it us?": a daemon that did not run has no evidence against an interface.

use anyhow::Result;
use ipmp_tests::{
    config::Config,
    daemon::interface,
    wait::{self, now_ns},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::Bed;

const STOPPED_NS: u64 = 5_000_000_000;

#[test]
fn stopped_for_five_seconds_fails_nothing_over_and_reports_the_stall() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(50))? else {
        return Ok(());
    };
    let stopped_ns = now_ns();
    bed.daemon.signal(Signal::SIGSTOP)?;
    wait::until("five seconds pass", || Ok(now_ns() - stopped_ns >= STOPPED_NS))?;
    bed.daemon.signal(Signal::SIGCONT)?;
    let stalled =
        bed.daemon.wait_event("a stall is reported", stopped_ns, |event| event["kind"] == "stalled")?;

    // Long enough for any verdict that the stall could have caused: twice the losses that fail a member.
    let acked = |status: &Value| {
        interface(status, "eth0")["targets"]
            .as_array()
            .map_or(0, |targets| targets.iter().filter_map(|target| target["acked"].as_u64()).sum())
    };
    let after = acked(&bed.daemon.status()?);
    let status = bed.daemon.wait_for("probes are answered again", |status| acked(status) >= after + 20)?;
    for nic in ["eth0", "eth1"] {
        assert_eq!(interface(&status, nic)["state"], "ok", "{stalled}");
    }
    for kind in ["failed", "moved", "group-state"] {
        assert_eq!(bed.count(kind, stopped_ns)?, 0, "{kind} after {stalled}");
    }
    Ok(())
}
