//! A daemon that dies at any moment leaves every address somewhere, and its successor sets things right.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    address_log::{AddressLog, standing},
    config::Config,
    daemon::address_on,
    snapshot::Snapshot,
    sudden_death::{Fate, SuddenDeath},
    topology::{PREFIX4, PREFIX6, data},
    wait,
};
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// The thread that changes addresses and routes.
const APPLIER: &str = "ipmp-apply";
/// More steps than any move here has: the test must come to an end of its own.
const MANY: usize = 200;
/// Now and then the state is saved once more before a move, which shifts the steps of that round, so that some are
/// passed over: then all is done again, so often.
const PASSES: usize = 6;
/// `RTM_NEWADDR`, `RTM_DELADDR`, `RTM_NEWROUTE`, `RTM_DELROUTE` (linux/rtnetlink.h): what a move surely consists of.
const CERTAIN: [u16; 4] = [20, 21, 24, 25];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Away,
    Back,
}

impl Move {
    const fn destination(self) -> &'static str {
        match self {
            Self::Away => "eth1",
            Self::Back => "eth0",
        }
    }
}

fn addresses() -> [String; 2] {
    [format!("{}/{PREFIX4}", data(0, false)), format!("{}/{PREFIX6}", data(0, true))]
}

/// Whether a daemon has carried the move out entirely: writing down where the addresses are is its last step.
pub(crate) fn is_noted(bed: &Bed, on: &str) -> bool {
    let file = bed.daemon.files().runtime().join("state.json");
    let state: Option<Value> = fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let place = |ip: String| state.as_ref().and_then(|state| state["placement"][ip].as_str()) == Some(on);
    place(data(0, false).to_string()) && place(data(0, true).to_string())
}

fn wait_settled(bed: &Bed, on: &str) -> Result<()> {
    bed.daemon.wait_for(&format!("the addresses on {on}"), |status| {
        [false, true].iter().all(|ipv6| address_on(status, &data(0, *ipv6).to_string()) == Some(on))
    })?;
    wait::until("the applier has noted it", || Ok(is_noted(bed, on)))?;
    let on: BTreeSet<String> = [on.to_owned()].into();
    let standing = standing(&bed.lab.host)?;
    for address in addresses() {
        ensure!(standing.get(&address) == Some(&on), "{address} is on {:?}", standing.get(&address));
    }
    Ok(())
}

/// Moves the addresses, with a daemon that dies before step `step` of it, and its successor. What became of the first.
fn die_at(bed: &mut Bed, which: Move, step: usize) -> Result<Fate> {
    let log = AddressLog::start(&bed.lab.host)?;
    let death = SuddenDeath::at(bed.daemon.pid(), APPLIER, step)?;
    match which {
        Move::Away => bed.lab.pull(0)?,
        Move::Back => bed.lab.plug(0)?,
    };
    wait::until("the daemon dies, or has done everything", || {
        Ok(death.is_over() || is_noted(bed, which.destination()))
    })?;
    let fate = death.fate()?;
    if matches!(fate, Fate::Killed(_)) {
        bed.daemon.wait_exit()?;
        log.ensure_never_nowhere(&addresses()).with_context(|| format!("died {which:?} at {fate:?}"))?;
        bed.daemon.start_again(&bed.lab.host)?;
    }
    wait_settled(bed, which.destination()).with_context(|| format!("after {fate:?}"))?;
    log.ensure_never_nowhere(&addresses()).with_context(|| format!("died {which:?} at {fate:?}"))?;
    Ok(fate)
}

/// Kills a daemon before each step of a move in turn.
fn dies_at_every_step(which: Move) -> Result<()> {
    let Some(mut bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    wait::until("the start is noted", || Ok(is_noted(&bed, "eth0")))?;
    let mut deaths = Vec::new();
    let mut missing = CERTAIN.map(|kind| format!("netlink message of type {kind}")).to_vec();
    let (mut step, mut passes) = (0, 0);
    while step < MANY && passes < PASSES {
        if which == Move::Back {
            bed.lab.pull(0)?;
            wait_settled(&bed, "eth1")?;
        }
        let fate = die_at(&mut bed, which, step)?;
        if which == Move::Away {
            bed.lab.plug(0)?;
        }
        bed.daemon.wait_healthy()?;
        wait_settled(&bed, "eth0")?;
        bed.wait_unchanged_since(&before).with_context(|| format!("after {which:?}, {fate:?}"))?;
        match fate {
            Fate::Killed(at) => {
                deaths.push(at);
                step += 1;
            }
            Fate::Survived(_) => {
                missing.retain(|kind| !deaths.contains(kind));
                if missing.is_empty() {
                    return Ok(());
                }
                (step, passes) = (0, passes + 1);
            }
        }
    }
    anyhow::bail!("not a move, or one of more than {MANY} steps: {missing:?} never came among {deaths:#?}")
}

#[test]
fn a_daemon_may_die_at_every_step_of_a_failover() -> Result<()> {
    dies_at_every_step(Move::Away)
}

#[test]
fn a_daemon_may_die_at_every_step_of_a_failback() -> Result<()> {
    dies_at_every_step(Move::Back)
}
