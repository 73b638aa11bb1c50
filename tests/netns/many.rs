//! Many addresses: they are announced first and added then, because the kernel takes its time for them.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    address_log::{AddressLog, standing},
    config::Config,
    daemon::Daemon,
    ping::Pinger,
    skip,
    snapshot::Snapshot,
    sudden_death::{Fate, SuddenDeath},
    topology::{Lab, PREFIX6, Shape, data},
    wait,
};

use crate::{Bed, FDT_MS};

/// As many as goal 8 of the performance goals speaks of.
const THOUSAND: usize = 1000;
/// More than what goes with the routes in one exchange.
const SOME: usize = 150;
/// Of the many, each so manieth is asked for.
const SAMPLE: usize = 50;
/// A second look at each of these is enough: the state may be saved once more, which shifts the steps.
const ATTEMPTS: usize = 5;
/// More steps than any move has.
const NEVER: usize = 100_000;
/// `RTM_NEWADDR` (linux/rtnetlink.h), as a step.
const ADDITION: &str = "netlink message of type 20";

/// Breaks or mends the way of a NIC.
type Fault = fn(&Lab, usize) -> Result<u64>;

/// Each has a solicited-node group of its own (RFC 4291 section 2.7.1).
fn address(n: usize) -> String {
    format!("2001:db8:10::1:{:x}", n + 1)
}

/// A lab whose first NIC has so many more IPv6 addresses, which are the daemon's to move.
fn bed(count: usize) -> Result<Option<Bed>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let lab = Lab::new(&Shape::default())?;
    let more: Vec<String> = (0..count).map(|n| format!("{}/{PREFIX6}", address(n))).collect();
    let lines: Vec<String> = more.iter().map(|net| format!("address add {net} dev eth0 nodad\n")).collect();
    lab.host.batch(&lines.concat())?;
    let mut config = Config::active_standby(FDT_MS);
    config.members[0].data.extend(more);
    let daemon = Daemon::start(&lab.host, &config)?;
    let bed = Bed { daemon, lab };
    bed.daemon.wait_healthy()?;
    Ok(Some(bed))
}

/// How many of them an interface has.
fn count_on(bed: &Bed, nic: &str) -> Result<usize> {
    let text = bed.lab.host.ip(&format!("-6 -o address show dev {nic} scope global -tentative"))?;
    Ok(text.matches("2001:db8:10::1:").count())
}

fn wait_all_on(bed: &Bed, count: usize, nic: &str, other: &str) -> Result<()> {
    wait::until(&format!("all {count} on {nic}"), || {
        Ok(count_on(bed, nic)? == count && count_on(bed, other)? == 0)
    })
    .with_context(|| bed.daemon.log_tail())
}

/// A neighbour that knows nothing of them finds them.
fn answer(bed: &Bed, count: usize) -> Result<()> {
    let peer = bed.lab.peer();
    peer.ip("-6 neighbour flush dev eth0")?;
    for n in (0..count).step_by(SAMPLE).chain([count - 1]) {
        let target = address(n).parse().context("an address")?;
        let ping = Pinger::start(peer, target, Duration::from_millis(20))?;
        wait::until(&format!("{target} answers"), || Ok(ping.answered() > 0))?;
        ping.finish()?;
    }
    Ok(())
}

#[test]
fn a_thousand_ipv6_addresses_move_answer_and_come_back() -> Result<()> {
    let Some(bed) = bed(THOUSAND)? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let ping = Pinger::start(bed.lab.peer(), address(0).parse()?, Duration::from_millis(5))?;
    let ways: [(Fault, Fault); 2] = [(Lab::pull, Lab::plug), (Lab::cut, Lab::mend)];
    for (breaks, mends) in ways {
        breaks(&bed.lab, 0)?;
        wait_all_on(&bed, THOUSAND, "eth1", "eth0")?;
        answer(&bed, THOUSAND)?;
        let answered = ping.answered();
        wait::until("the ping goes on", || Ok(ping.answered() > answered + 20))?;
        mends(&bed.lab, 0)?;
        bed.daemon.wait_healthy()?;
        wait_all_on(&bed, THOUSAND, "eth0", "eth1")?;
        answer(&bed, THOUSAND)?;
        bed.wait_unchanged_since(&before)?;
    }
    ping.finish().map(drop)
}

/// Fails over with a daemon that dies before step `step`; what became of it.
fn die_at(bed: &Bed, step: usize) -> Result<Fate> {
    let death = SuddenDeath::at(bed.daemon.pid(), "ipmp-apply", step)?;
    bed.lab.pull(0)?;
    wait::until("the daemon dies, or has moved all", || {
        Ok(death.is_over() || (count_on(bed, "eth1")? == SOME && count_on(bed, "eth0")? == 0))
    })?;
    death.fate()
}

/// Where an address stands does not matter to those who know the way, so a daemon that dies before it has added any of those
/// it announced takes none of the traffic along.
#[test]
fn traffic_flows_to_many_addresses_before_they_are_added() -> Result<()> {
    let Some(mut bed) = bed(SOME)? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let moved = format!("{}/{PREFIX6}", data(0, true));
    let ping = Pinger::start(bed.lab.peer(), data(0, true), Duration::from_millis(5))?;
    let Fate::Survived(steps) = die_at(&bed, NEVER)? else {
        anyhow::bail!("a move of {NEVER} steps");
    };
    let first = steps.iter().position(|step| step == ADDITION).context("no addition")?;
    let sends = libc::SYS_sendmmsg;
    ensure!(steps[..first].contains(&format!("system call {sends}")), "not announced before: {steps:?}");
    for _ in 0..ATTEMPTS {
        bed.lab.plug(0)?;
        bed.daemon.wait_healthy()?;
        wait_all_on(&bed, SOME, "eth0", "eth1")?;
        bed.wait_unchanged_since(&before)?;
        let log = AddressLog::start(&bed.lab.host)?;
        let fate = die_at(&bed, first)?;
        if fate != Fate::Killed(ADDITION.to_owned()) {
            if matches!(fate, Fate::Killed(_)) {
                bed.daemon.wait_exit()?;
                bed.daemon.start_again(&bed.lab.host)?;
            }
            drop(log);
            wait_all_on(&bed, SOME, "eth1", "eth0")?;
            continue;
        }
        bed.daemon.wait_exit()?;
        let only_eth0: BTreeSet<String> = ["eth0".to_owned()].into();
        ensure!(standing(&bed.lab.host)?.get(&moved) == Some(&only_eth0), "it stands elsewhere already");
        let answered = ping.answered();
        wait::until("the ping goes on by eth1", || Ok(ping.answered() > answered + 20))?;
        bed.daemon.start_again(&bed.lab.host)?;
        wait_all_on(&bed, SOME, "eth1", "eth0")?;
        log.ensure_never_nowhere(&[moved])?;
        bed.lab.plug(0)?;
        bed.daemon.wait_healthy()?;
        wait_all_on(&bed, SOME, "eth0", "eth1")?;
        bed.wait_unchanged_since(&before)?;
        return ping.finish().map(drop);
    }
    anyhow::bail!("the daemon never died before the first addition in {ATTEMPTS} attempts")
}
