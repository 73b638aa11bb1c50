//! The daemon's one loop.
//!
//! ```text
//! wake ─▶ sample the clock ─▶ gather facts ─▶ Judge ─▶ drain actions ─▶ send the turn's probes ─▶ sleep
//!           (once)             netlink, then ring buffer, then carrier poll, then stamps of open probes:
//!                              the newest truth last, and everything before any deadline is judged
//! ```
//!
//! Nothing else in this process changes state. Addresses and routes are moved by a thread of their own
//! (`net::apply`), so that a busy kernel lock never keeps probes from leaving; carriers are polled by another, which
//! wakes the loop only when one changed (`kernel::carrier`), and the kernel's tables are read anew by one (`net::monitor`),
//! because there may be a hundred thousand routes. Clients are served by another (`control`), so that none of them can delay a verdict.

mod actions;
mod admin;
mod attach;
mod claim;
pub mod clock;
mod counted;
mod culprit;
mod detach;
mod detached;
mod draw;
mod duplicates;
mod follow;
mod foresight;
mod gather;
mod identity;
mod kept;
mod left_alone;
mod members;
mod offline;
mod outbound;
mod pci;
mod reassert;
mod reload;
mod serve;
mod settle;
mod settling;
mod start;
mod targets;
mod ungrouped;
mod watch;

pub(crate) use self::claim::others_serve;
pub(crate) use self::pci::is_function as is_pci_function;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    os::fd::RawFd,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use ipmp_common::{
    abi,
    engine::{
        action::Placement,
        event::Event,
        ids::{GroupId, SessionId},
        time::Timestamp,
    },
};
use sd_notify::NotifyState;
use tokio::{io::unix::AsyncFd, signal::unix::Signal, sync::Notify};

use self::{
    admin::Admin, clock::Alarm, counted::Counted, culprit::Culprits, draw::Draw, members::MemberIo,
    reassert::Reassert, reload::Loaded,
};
use crate::{
    announce::Announcer,
    config::FileConfig,
    control::{self, ControlHandle},
    journal::{Journal, Names},
    kernel::{Kernel, Sysfs},
    net::{apply, base::Base, inventory::Inventory, monitor::Monitor, resolve::Resolver, sysctl::Sysctl},
    probe::Sender,
    recorder::Recorded,
};

/// What the command line and the configuration file gave.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The validated configuration.
    pub config: FileConfig,
    /// Its text.
    pub config_text: Vec<u8>,
    /// Where it came from: read again on SIGHUP.
    pub config_path: PathBuf,
    /// Holds the control socket and the state file.
    pub runtime_dir: PathBuf,
    /// The bpffs directory under which the ABI version's sub-directory holds programs, links and maps.
    pub pin_dir: PathBuf,
    /// Where carrier changes are counted, if that can be had: opened before privileges are given up.
    pub sysfs: Option<Sysfs>,
    /// Where to record what the engine is told and asks for, if anywhere.
    pub record: Option<PathBuf>,
}

/// Everything the loop owns.
struct Daemon {
    engine: Recorded,
    members: Vec<MemberIo>,
    kernel: Kernel,
    monitor: Monitor,
    inventory: Inventory,
    resolver: Resolver,
    sender: Sender,
    applier: apply::Handle,
    announcer: Announcer,
    sysctl: Sysctl,
    journal: Arc<Journal>,
    names: Names,
    control: ControlHandle,
    draw: Draw,
    /// Homes of data addresses as the state file knew them at start.
    base: Base,
    placements: BTreeMap<GroupId, Placement>,
    targets: targets::Targets,
    /// Interfaces in no group may have appeared, and are to be watched.
    newcomers: bool,
    sessions: BTreeMap<SessionId, SessionIo>,
    /// More is ready to be read than one turn takes.
    unread: bool,
    reassert: Reassert,
    culprits: Culprits,
    counted: Counted,
    left_alone: left_alone::LeftAlone,
    watch: watch::Watch,
    claims: claim::Claims,
    admin: Admin,
    /// The interfaces that each group's outbound flows are spread over.
    outbound: BTreeMap<GroupId, BTreeSet<u32>>,
    foresight: foresight::Foresight,
}

/// What the daemon remembers of a probe session.
struct SessionIo {
    /// As the kernel has it.
    armed: abi::Session,
    /// Probes in a row that the kernel took and the egress program did not see.
    unseen_departures: u32,
}

/// Runs until a signal ends the daemon. Addresses stay where they are, and what is pinned stays pinned; outbound flows leave
/// as routes say.
pub fn run(options: &DaemonOptions) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let mut daemon = Daemon::start(options)?;
        daemon.run().await?;
        let members = daemon.members.iter().map(|member| member.config.name.clone()).collect();
        // What was carried out is written down.
        daemon.applier.stop();
        outbound::end_spreading(&members);
        Ok(ExitCode::SUCCESS)
    })
}

/// What the loop waits on.
struct Sources {
    alarm: AsyncFd<Alarm>,
    netlink: AsyncFd<RawFd>,
    ring: Option<AsyncFd<RawFd>>,
    /// Rung when the kernel's tables were read anew, when a carrier changed, when it is known who changed something,
    /// and when counters were read.
    bells: [Arc<Notify>; 4],
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Why the loop woke. Facts are gathered afterwards, all of them, whatever woke it.
enum Wake {
    Facts,
    Outcome(apply::Outcome),
    Taken(apply::Taken),
    Request(control::Request),
    Loaded(Box<Loaded>),
    Reload,
    Stop,
}

impl Daemon {
    async fn run(&mut self) -> Result<()> {
        let mut sources = self.sources()?;
        tracing::info!("ipmpd is ready");
        // Without systemd there is nobody to tell, which is no error (sd_notify(3)).
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        loop {
            let now = clock::now();
            self.gather(now);
            self.reassert(now);
            self.sysctl.remember_again();
            self.engine.handle(now, Event::Judge);
            self.act(now);
            self.go_on_detaching();
            self.take_refused_steps(now);
            self.send_probes(now);
            self.watch_overdue(now);
            self.foresee(now);
            sources.alarm.get_mut().set(self.next_wake())?;
            match self.wait(&mut sources).await? {
                Wake::Facts => {}
                Wake::Outcome(outcome) => self.take_outcome(clock::now(), outcome),
                Wake::Request(request) => self.serve(clock::now(), request),
                Wake::Taken(taken) => self.take_step(clock::now(), &taken),
                Wake::Loaded(loaded) => self.take_loaded(clock::now(), *loaded),
                Wake::Reload => self.reload(None),
                Wake::Stop => {
                    let _ = sd_notify::notify(&[NotifyState::Stopping]);
                    return Ok(());
                }
            }
        }
    }

    fn next_wake(&self) -> Option<Timestamp> {
        if self.unread || !self.admin.refused.is_empty() {
            return Some(Timestamp(0));
        }
        let ours = [
            self.reassert.due(),
            self.targets.due(),
            self.culprits.due(),
            self.settled_at(),
            self.counted.due(),
            self.foresight.due(),
        ];
        self.engine.poll_timeout().into_iter().chain(ours.into_iter().flatten()).min()
    }

    async fn wait(&mut self, sources: &mut Sources) -> Result<Wake> {
        let Sources {
            alarm,
            netlink,
            ring,
            bells: [tables, carriers, names, counters],
            terminate,
            interrupt,
            hangup,
        } = sources;
        Ok(tokio::select! {
            // Facts first: what waits behind them is never urgent.
            biased;
            ready = alarm.readable_mut() => {
                let mut guard = ready.context("the timer failed")?;
                guard.get_inner_mut().acknowledge();
                guard.clear_ready();
                Wake::Facts
            }
            ready = netlink.readable() => {
                ready.context("the netlink socket failed")?.clear_ready();
                Wake::Facts
            }
            ready = readable(ring.as_ref()) => {
                ready.context("the ring buffer failed")?.clear_ready();
                Wake::Facts
            }
            () = carriers.notified() => Wake::Facts,
            () = tables.notified() => Wake::Facts,
            () = names.notified() => Wake::Facts,
            () = counters.notified() => Wake::Facts,
            Some(outcome) = self.applier.outcomes.recv() => Wake::Outcome(outcome),
            Some(taken) = self.applier.taken.recv() => Wake::Taken(taken),
            Some(loaded) = self.admin.loader.loaded.recv() => Wake::Loaded(Box::new(loaded)),
            Some(request) = self.control.requests.recv() => Wake::Request(request),
            _ = terminate.recv() => Wake::Stop,
            _ = interrupt.recv() => Wake::Stop,
            _ = hangup.recv() => Wake::Reload,
        })
    }
}

/// Readiness of a source that may not exist.
async fn readable(
    source: Option<&AsyncFd<RawFd>>,
) -> std::io::Result<tokio::io::unix::AsyncFdReadyGuard<'_, RawFd>> {
    match source {
        Some(source) => source.readable().await,
        None => pending().await,
    }
}
