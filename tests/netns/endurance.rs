//! Many failovers, and somebody who works against them.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipmp_tests::{
    address_log::standing,
    config::Config,
    daemon::Daemon,
    netns::Netns,
    snapshot::Snapshot,
    topology::{PREFIX4, PREFIX6, data},
    wait,
};

use crate::{Bed, FDT_MS, Traffic};

const FAILOVERS: usize = 200;
/// After so many, what is allocated once is there.
const WARM_UP: usize = 20;
/// Resident memory may grow by so much, in KiB, and by a KiB for each event that the journal keeps (up to a limit, which so
/// many failovers do not reach).
const GROWTH_KIB: u64 = 1024;
const CONTESTED: usize = 12;
/// Moves that are ordered lose nothing, as new stands before old goes; one of so many packets may fall to a loaded machine.
const LOST_OF: usize = 100;

fn home() -> [String; 2] {
    [format!("{}/{PREFIX4}", data(0, false)), format!("{}/{PREFIX6}", data(0, true))]
}

/// Waits until the first NIC's addresses are on this one and nowhere else.
fn wait_only_on(bed: &Bed, nic: &str) -> Result<()> {
    let only: BTreeSet<String> = [nic.to_owned()].into();
    wait::until(&format!("addresses on {nic} only"), || {
        let standing = standing(&bed.lab.host)?;
        Ok(home().iter().all(|address| standing.get(address) == Some(&only)))
    })
}

fn order(bed: &Bed, what: &str) -> Result<()> {
    let output = bed.daemon.client(&[what, "eth0"])?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn descriptors(daemon: &Daemon) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", daemon.pid())).context("descriptors")?.count())
}

fn resident_kib(daemon: &Daemon) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).context("status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("a number")
}

#[test]
fn two_hundred_failovers_leak_nothing() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let mut first = None;
    for round in 0..FAILOVERS {
        order(&bed, "offline")?;
        wait_only_on(&bed, "eth1")?;
        order(&bed, "online")?;
        wait_only_on(&bed, "eth0")?;
        if round + 1 == WARM_UP {
            bed.daemon.wait_healthy()?;
            let events = bed.daemon.events()?.len();
            first = Some((descriptors(&bed.daemon)?, resident_kib(&bed.daemon)?, events));
        }
    }
    bed.daemon.wait_healthy()?;
    bed.wait_unchanged_since(&before)?;
    let (fds, resident, events) = first.context("there were more than those")?;
    wait::until("no more descriptors than before", || Ok(descriptors(&bed.daemon)? <= fds))?;
    let now = resident_kib(&bed.daemon)?;
    let events = (bed.daemon.events()?.len() - events) as u64;
    assert!(
        now <= resident + GROWTH_KIB + events,
        "{resident} KiB after {WARM_UP}, {now} KiB after {FAILOVERS}, {events} events"
    );

    traffic.wait_flow()?;
    let Traffic { ping, udp, tcp } = traffic;
    tcp.finish()?;
    for (what, flow) in [("ping", ping), ("UDP", udp)] {
        let seen = flow.finish()?;
        assert!(
            seen.lost * LOST_OF <= seen.sent,
            "{what}: {seen:?} over {FAILOVERS} failovers and failbacks"
        );
    }
    Ok(())
}

/// Deletes and flushes, and perhaps adds again, wherever it finds something, until told to stop.
fn work_against(host: &Netns, stop: &AtomicBool, adds: bool) -> usize {
    let [v4, v6] = home();
    let mut done = 0;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (here, there) = if n % 2 == 0 { ("eth0", "eth1") } else { ("eth1", "eth0") };
        let work = match n % 5 {
            0 => format!("address del {v4} dev {here}"),
            1 | 3 if !adds => continue,
            1 => format!("address add {v4} brd + dev {there}"),
            2 => format!("-6 address flush dev {here} scope global"),
            3 => format!("address add {v6} dev {there} nodad"),
            _ => format!("-4 address flush dev {here}"),
        };
        // It is not always there to be deleted, or is there already.
        done += usize::from(host.ip(&work).is_ok());
        thread::sleep(Duration::from_millis(7));
    }
    done
}

#[test]
fn whoever_deletes_and_flushes_meanwhile_does_not_win() -> Result<()> {
    contest(false)
}

#[test]
fn whoever_adds_again_meanwhile_does_not_win() -> Result<()> {
    contest(true)
}

fn contest(adds: bool) -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let started = Instant::now();
    let stop = AtomicBool::new(false);
    let damage = thread::scope(|scope| {
        let adversary = scope.spawn(|| work_against(&bed.lab.host, &stop, adds));
        let failovers = || {
            for _ in 0..CONTESTED {
                for what in ["offline", "online"] {
                    order(&bed, what)?;
                    thread::sleep(Duration::from_millis(100));
                }
            }
            Ok(())
        };
        let result: Result<()> = failovers();
        stop.store(true, Ordering::Relaxed);
        let damage = adversary.join().map_err(|_| anyhow!("the adversary panicked"));
        result.and(damage)
    })?;
    let contested = started.elapsed();
    assert!(damage > CONTESTED, "{damage} changes");
    bed.daemon.wait_healthy()?;
    // What somebody adds again himself comes behind its equals, and may bring a route: by his will as far as can be known.
    let mut difference = String::new();
    let same = wait::until("addresses and routes as before", || {
        difference = before.difference(&Snapshot::take(&bed.lab.host)?);
        let nothing_is_missing = !difference.lines().any(|line| line.starts_with("- "));
        Ok(difference.is_empty() || adds && nothing_is_missing)
    });
    same.with_context(|| format!("{difference}\n{}", bed.daemon.log_tail()))?;
    traffic.wait_flow()?;
    traffic.tcp.finish()?;

    // At most one look a second beside those that belong to the failovers, and then peace.
    let log = || fs::read_to_string(bed.daemon.files().log()).context("the log");
    let answers = log()?.matches("put back").count();
    assert!(answers >= 1, "who changed something is told of");
    let looks = started.elapsed().as_secs() as usize + 2;
    assert!(answers <= looks, "{answers} answers in {contested:?} and after");
    Ok(())
}
