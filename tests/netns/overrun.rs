//! A host with many routes and neighbours whose notifications are lost again and again: reading the kernel's tables anew
//! delays no verdict, and fails nobody.

use std::{
    fmt::Write as _,
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, group},
    netns::Netns,
    wait::{self, now_ns},
};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;

use crate::Bed;

/// A short failure detection time that a debug build on a loaded machine can keep.
const FDT_MS: u64 = 50;
/// Cuts with and without the adversary.
const ROUNDS: usize = 5;
/// So many of the verdicts must come in time; not all, for this machine has other work too.
const IN_TIME: usize = 3;
/// Reading so many takes longer than a failure may take to be detected.
const ROUTES: u32 = 20_000;
const NEIGHBOURS: u32 = 5_000;
/// What the adversary adds and removes at a time.
const CHANGES: u32 = 2_000;
/// For tables to be read anew: that thread has no priority.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bits of `RTNLGRP_LINK` and `RTNLGRP_NEIGH` among the groups of a socket (linux/rtnetlink.h): only the loop's own hears
/// both.
const MONITOR_GROUPS: u32 = 0b101;

/// What the daemon says when it has read everything anew.
const LOST: &str = "notifications were lost";

/// Lines about so many addresses from this one on.
fn lines(first: u32, count: u32, line: impl Fn(std::net::Ipv4Addr) -> String) -> String {
    (first..first + count).fold(String::new(), |mut text, bits| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line(bits.into()));
        text
    })
}

/// Routes and neighbours on a device that is no member's.
fn fill(host: &Netns) -> Result<()> {
    host.ip("link add many type veth peer name other")?;
    host.ip("link set other up")?;
    host.ip("link set many up")?;
    host.batch(&lines(0x0a00_0000, ROUTES, |to| format!("route add {to}/32 dev many")))?;
    host.batch(&lines(0x6440_0000, NEIGHBOURS, |of| {
        format!("neigh add {of} lladdr 02:00:00:00:00:01 dev many nud permanent")
    }))
}

/// The daemon's own descriptor of the socket that its loop hears the kernel by.
fn monitor_of(daemon: &Daemon) -> Result<OwnedFd> {
    let proc = format!("/proc/{}", daemon.pid());
    let table = fs::read_to_string(format!("{proc}/net/netlink")).context("its netlink sockets")?;
    let inode = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let groups = u32::from_str_radix(fields.get(3)?, 16).ok()?;
        (fields.get(1) == Some(&"0") && groups & MONITOR_GROUPS == MONITOR_GROUPS)
            .then(|| fields.last().copied())?
    });
    let wanted = format!("socket:[{}]", inode.context("a socket that hears of links and neighbours")?);
    for entry in fs::read_dir(format!("{proc}/fd")).context("its descriptors")?.flatten() {
        if fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()) {
            let number: i32 = entry.file_name().to_string_lossy().parse().context("a number")?;
            return copy(daemon, number);
        }
    }
    bail!("{wanted} is none of the daemon's")
}

/// By `pidfd_getfd(2)`.
fn copy(daemon: &Daemon, number: i32) -> Result<OwnedFd> {
    // SAFETY: no pointers; the kernel returns a new descriptor or an error.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, daemon.pid().as_raw(), 0) };
    ensure!(process >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel just returned this descriptor to us.
    let process = unsafe { OwnedFd::from_raw_fd(process as i32) };
    // SAFETY: as above.
    let copied = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    ensure!(copied >= 0, "pidfd_getfd: {}", std::io::Error::last_os_error());
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(copied as i32) })
}

/// Does something while routes are added and removed without end.
fn beside_an_adversary<R>(host: &Netns, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let batch = |word: &str| lines(0xac10_0000, CHANGES, |to| format!("route {word} {to}/32 dev many"));
    let scripts = [batch("add"), batch("del")];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let adversary = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                scripts.iter().try_for_each(|script| host.batch(script))?;
            }
            Ok(())
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        let ended = adversary.join().unwrap_or_else(|_| Err(anyhow!("the adversary panicked")));
        ended.and(result)
    })
}

/// Cuts the first path and mends it; from the last good reply to the verdict, in nanoseconds.
fn failover(bed: &Bed) -> Result<u64> {
    let cut_ns = bed.lab.cut(0)?;
    let failed = bed.daemon.wait_event("the failure", cut_ns, |event| {
        event["kind"] == "failed" && event["interface"] == "eth0"
    })?;
    bed.daemon.wait_event("the address moved", cut_ns, |event| {
        event["kind"] == "moved" && event["interface"] == "eth1" && event["applied_ns"].is_u64()
    })?;
    let time = |event: &Value, key: &str| event[key].as_u64().with_context(|| format!("{key}: {event}"));
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    Ok(time(&failed, "decided_ns")? - time(&failed, "evidence_ns")?)
}

fn failovers(bed: &Bed) -> Result<Vec<u64>> {
    (0..ROUNDS).map(|_| failover(bed)).collect()
}

fn stalls(bed: &Bed) -> Result<u64> {
    bed.daemon.status()?["stalls"].as_u64().context("stalls")
}

fn log_lines(bed: &Bed, text: &str) -> Result<usize> {
    let log = fs::read_to_string(bed.daemon.files().log()).context("the log")?;
    Ok(log.lines().filter(|line| line.contains(text)).count())
}

/// While notifications are lost without end, the verdicts come within the failure detection time as often as without that,
/// nobody fails who was not cut off, and the daemon runs late no oftener than once more.
#[test]
fn notifications_lost_on_a_host_with_many_routes_delay_no_verdict() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let fdt_ns = config.fdt_ms * 1_000_000;
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    fill(&bed.lab.host)?;
    bed.daemon.wait_healthy()?;
    let before = stalls(&bed)?;
    let quiet = failovers(&bed)?;
    let quiet_stalls = stalls(&bed)? - before;
    setsockopt(&monitor_of(&bed.daemon)?, sockopt::RcvBuf, &1).context("the smallest buffer")?;
    let told = log_lines(&bed, LOST)?;
    let from_ns = now_ns();
    let pressed = beside_an_adversary(&bed.lab.host, || {
        wait::until_within("notifications are lost", PATIENCE, || Ok(log_lines(&bed, LOST)? > told))?;
        failovers(&bed)
    })?;
    let pressed_stalls = stalls(&bed)? - before - quiet_stalls;
    let in_time = |times: &[u64]| times.iter().filter(|time| **time <= fdt_ns).count();
    let figures = format!(
        "{pressed:?} ns with {pressed_stalls} stalls among lost notifications, {quiet:?} with {quiet_stalls} without"
    );
    eprintln!("{figures}");
    wait::until_within("they were lost again", PATIENCE, || Ok(log_lines(&bed, LOST)? > told + 1))?;
    assert!(in_time(&pressed) >= in_time(&quiet).min(IN_TIME), "{figures}");
    assert!(pressed_stalls <= quiet_stalls + 1, "{figures}");
    let failed = bed.daemon.events_since(from_ns)?;
    let failed: Vec<&Value> = failed.iter().filter(|event| event["kind"] == "failed").collect();
    assert_eq!(failed.len(), ROUNDS, "who was cut off, and nobody else: {failed:#?}");
    // What is true now is known in the end.
    bed.lab.host.ip("link set eth1 down")?;
    bed.wait_state("eth1", "failed")?;
    assert_eq!(group(&bed.daemon.status()?)["state"], "degraded");
    Ok(())
}
