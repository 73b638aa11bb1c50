//! What demo and bench play on: a lab, the release daemon, and a neighbour that watches.

use std::{env, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::Config,
    daemon::Daemon,
    ping::{PingReport, Pinger},
    tcp::{Session, TcpReport},
    topology::{Lab, Shape, data},
    wait::{self, now_ns},
};
use serde_json::Value;

use crate::{build, privilege, setup, shell};

/// The failure detection time of demo and bench: the least that in.mpathd takes.
pub(crate) const FDT: Duration = Duration::from_millis(100);
/// The NIC whose cable and path are broken.
pub(crate) const HOME: &str = "eth0";
/// The NIC that takes over.
pub(crate) const OTHER: &str = "eth1";
/// How often a message goes over the connection.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(5);

/// What is done to the first NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The cable is pulled.
    Pull,
    /// The cable is plugged in.
    Plug,
    /// The path is cut behind a port that keeps its carrier.
    Cut,
    /// The path is mended.
    Mend,
}

impl Act {
    /// Whether this takes the NIC away, as opposed to giving it back.
    pub(crate) fn breaks(self) -> bool {
        match self {
            Self::Pull | Self::Cut => true,
            Self::Plug | Self::Mend => false,
        }
    }
}

/// One act and all that followed from it.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) act: Act,
    /// The moment of the act (`CLOCK_MONOTONIC`, nanoseconds).
    pub(crate) at_ns: u64,
    /// Until when the neighbour was watched.
    pub(crate) until_ns: u64,
    /// The event that judged the NIC.
    pub(crate) verdict: Value,
    /// One event for each address that moved.
    pub(crate) moves: Vec<Value>,
    /// What the neighbour's pings saw, IPv4 and IPv6.
    pub(crate) pings: [PingReport; 2],
    /// What the connection did.
    pub(crate) tcp: TcpReport,
}

impl Scene {
    /// The latest time under this name in the events of the moved addresses.
    pub(crate) fn moved_ns(&self, name: &str) -> Result<u64> {
        self.moves
            .iter()
            .map(|event| time(event, name))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .max()
            .context("no address moved")
    }
}

/// A time in an event.
pub(crate) fn time(event: &Value, name: &str) -> Result<u64> {
    event[name].as_u64().with_context(|| format!("the event has no {name}: {event}"))
}

/// The neighbour's pings and its connection; dropped before the daemon and the lab.
struct Neighbour {
    pings: [Pinger; 2],
    tcp: Session,
}

/// A running stage; cleans up when dropped.
pub(crate) struct Stage {
    neighbour: Neighbour,
    daemon: Daemon,
    lab: Lab,
    bin_dir: PathBuf,
    ping_interval: Duration,
}

/// What demo and bench begin with: set up, build, become root, and make interrupts end in a clean-up.
///
/// Returns the directory of the binaries.
pub(crate) fn prepare(why: &str, built: bool, arguments: &[&str]) -> Result<PathBuf> {
    let bin_dir = if built {
        env::var_os("IPMP_BIN_DIR").map_or_else(|| shell::target_dir("release"), PathBuf::from)
    } else {
        setup::run(setup::For::Running)?;
        build::binaries("release")?
    };
    privilege::become_root(why, &bin_dir, arguments)?;
    ctrlc::set_handler(wait::interrupt).context("handling SIGINT and SIGTERM")?;
    Ok(bin_dir)
}

impl Stage {
    /// Builds the lab, starts the daemon and the traffic; the neighbour pings each address once an interval.
    pub(crate) fn open(bin_dir: PathBuf, ping_interval: Duration) -> Result<Self> {
        let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
        let daemon = start_daemon(&lab, &bin_dir)?;
        let neighbour = Neighbour {
            pings: pings(&lab, ping_interval)?,
            tcp: Session::start(&lab.host, lab.peer(), data(0, false), MESSAGE_INTERVAL)?,
        };
        let stage = Self { neighbour, daemon, lab, bin_dir, ping_interval };
        stage.wait_flow()?;
        Ok(stage)
    }

    /// The daemon.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// A fresh daemon instead of the old one, which has not seen any link flap, and pings that begin anew, so that what is
    /// kept of them does not grow; the connection goes on.
    pub(crate) fn renew(self) -> Result<Self> {
        let Self { mut neighbour, daemon, lab, bin_dir, ping_interval } = self;
        drop(daemon);
        let daemon = start_daemon(&lab, &bin_dir)?;
        neighbour.pings = pings(&lab, ping_interval)?;
        let stage = Self { neighbour, daemon, lab, bin_dir, ping_interval };
        stage.wait_flow()?;
        Ok(stage)
    }

    /// Does something to the first NIC and watches until the addresses are where they belong and traffic flows.
    pub(crate) fn play(&self, act: Act) -> Result<Scene> {
        let at_ns = match act {
            Act::Pull => self.lab.pull(0),
            Act::Plug => self.lab.plug(0),
            Act::Cut => self.lab.cut(0),
            Act::Mend => self.lab.mend(0),
        }?;
        let (kind, to) = if act.breaks() { ("failed", OTHER) } else { ("repaired", HOME) };
        let verdict = self.daemon.wait_event(&format!("{HOME} {kind}"), at_ns, |event| {
            event["kind"] == kind && event["interface"] == HOME
        })?;
        let moves = [data(0, false), data(0, true)]
            .iter()
            .map(|address| {
                let prefix = format!("{address}/");
                self.daemon.wait_event(&format!("{address} moved to {to}"), at_ns, |event| {
                    event["kind"] == "moved"
                        && event["interface"] == to
                        && event["announced_ns"].is_u64()
                        && event["address"].as_str().is_some_and(|moved| moved.starts_with(&prefix))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        if !act.breaks() {
            self.daemon.wait_healthy()?;
        }
        self.wait_flow()?;
        let until_ns = now_ns();
        // What is on its way now is not lost.
        self.wait_flow()?;
        Ok(Scene {
            act,
            at_ns,
            until_ns,
            verdict,
            moves,
            pings: self.neighbour.pings.each_ref().map(|ping| ping.report(at_ns, until_ns)),
            tcp: self.neighbour.tcp.report(at_ns, until_ns),
        })
    }

    /// Ends the traffic in good order.
    ///
    /// # Errors
    /// When the connection did not survive, or a message was lost.
    pub(crate) fn close(self) -> Result<([PingReport; 2], TcpReport)> {
        let Neighbour { pings: [ipv4, ipv6], tcp } = self.neighbour;
        let carried = tcp.finish()?;
        Ok(([ipv4.finish()?, ipv6.finish()?], carried))
    }

    fn wait_flow(&self) -> Result<()> {
        let answered = || {
            let [ipv4, ipv6] = &self.neighbour.pings;
            [ipv4.answered(), ipv6.answered(), self.neighbour.tcp.answered() as usize]
        };
        let before = answered();
        wait::until("the neighbour's pings and messages go on", || {
            let now = answered();
            Ok(now.iter().zip(before).all(|(now, before)| *now >= before + 40))
        })
    }
}

fn pings(lab: &Lab, interval: Duration) -> Result<[Pinger; 2]> {
    let ping = |ipv6| Pinger::start(lab.peer(), data(0, ipv6), interval);
    Ok([ping(false)?, ping(true)?])
}

fn start_daemon(lab: &Lab, bin_dir: &std::path::Path) -> Result<Daemon> {
    let config = Config::active_active(FDT.as_millis() as u64);
    let daemon = Daemon::start_from(&lab.host, &config.to_string(), bin_dir.to_path_buf())?;
    daemon.wait_healthy()?;
    Ok(daemon)
}

/// Turns a failure after an interrupt into the exit status that shells expect of one (128 + SIGINT).
pub(crate) fn end(result: Result<()>) -> Result<()> {
    if result.is_err() && wait::interrupted() {
        eprintln!("interrupted: the lab is removed");
        std::process::exit(130);
    }
    result
}
