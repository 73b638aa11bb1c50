//! Start-up: adopt what is there, take responsibility only for what is ready.

use std::{collections::BTreeMap, os::fd::AsRawFd as _, path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail};
use ipmp_common::engine::{event::Event, time::Timestamp};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{SignalKind, signal},
};

use super::{
    Daemon, DaemonOptions, Sources,
    admin::Admin,
    claim::Claims,
    clock::{self, Alarm},
    counted::Counted,
    culprit::Culprits,
    draw::{self, Draw},
    identity::Identities,
    members,
    reassert::Reassert,
    targets::Targets,
    ungrouped,
};
use crate::{
    announce::Announcer,
    control,
    journal::{Journal, Names},
    kernel::{self, Kernel, KernelOptions},
    net::{
        apply, base::Base, counters, leftovers, monitor::Monitor, resolve::Resolver, spread,
        state::StateFile, sysctl::Sysctl,
    },
    probe::Sender,
    recorder::Recorded,
};

impl Daemon {
    /// Opens everything; the order matters where it is said.
    pub(super) fn start(options: &DaemonOptions) -> Result<Self> {
        std::fs::create_dir_all(&options.runtime_dir).with_context(|| {
            format!("runtime directory: {}: cannot be made", options.runtime_dir.display())
        })?;
        let tied = Identities::load(&options.runtime_dir, &options.config);
        let mut config = tied.read(&options.config.engine);
        config.seed = draw::random().context("cannot draw random numbers")?;
        let journal = Journal::new();
        // First of all: a second daemon must not touch anything of the first.
        let control = control::spawn(
            &options.runtime_dir,
            options.config.daemon.control_group.as_deref(),
            Arc::clone(&journal),
        )?;
        let mut claims = Claims::default();
        claims.add(&config)?;
        let base = known_homes(&options.runtime_dir);
        let priority = options.config.daemon.real_time_priority;
        let kernel = open_kernel(options, priority);
        if let Some(dir) = kernel.pins_taken() {
            bail!("another ipmpd runs: {}: stop it, or give this one its own --pin-dir", dir.display());
        }
        // Before the priority of this thread is raised, which new threads would not inherit anyway.
        let applier = apply::spawn(&options.runtime_dir, move || tell_priority("applier", priority))
            .context("addresses and routes cannot be managed")?;
        let (monitor, inventory) = Monitor::open().context("the kernel's tables cannot be read")?;
        ungrouped::complete(&mut config, &options.config.daemon, &inventory);
        let mut daemon = Self {
            admin: Admin::new(options, &inventory, tied),
            members: members::from_config(&config),
            names: Names::of(&config),
            engine: Recorded::new(config, options.record.as_deref())
                .context("--record: the file cannot be written")?,
            kernel,
            monitor,
            inventory,
            resolver: Resolver::open().context("hardware addresses cannot be asked for")?,
            sender: Sender::open().context("no socket to send probes from; CAP_NET_RAW is needed")?,
            applier,
            announcer: Announcer::open().context("no socket to announce addresses from")?,
            sysctl: Sysctl::new(&options.runtime_dir),
            journal,
            control,
            draw: Draw::new()?,
            base,
            placements: BTreeMap::new(),
            targets: Targets::default(),
            newcomers: false,
            sessions: BTreeMap::new(),
            unread: false,
            reassert: Reassert::default(),
            counted: Counted::new(counters::start().context("no way to read counters")?),
            foresight: super::foresight::Foresight::default(),
            culprits: Culprits::start().context("no thread that finds out who changes addresses")?,
            left_alone: super::left_alone::LeftAlone::default(),
            watch: super::watch::Watch::default(),
            claims,
            outbound: BTreeMap::new(),
        };
        lock_memory();
        tell_priority("loop", priority);
        daemon.adopt()?;
        Ok(daemon)
    }

    /// Takes in the members that are there, one after the other.
    fn adopt(&mut self) -> Result<()> {
        for complaint in self.kernel.complaints() {
            tracing::warn!("{complaint}");
        }
        self.follow_names(clock::now());
        self.restore_others();
        self.restore_hash_policy();
        self.attach_and_settle().context("the kernel's tables cannot be read")?;
        let now = clock::now();
        self.sync_links(now, None);
        self.kernel.forget_others();
        self.sync_sources(now);
        self.tell_duplicates(now);
        self.targets.changed();
        self.gather(now);
        self.await_missing(now);
        self.take_offline_again(now);
        self.admin.started = true;
        self.engine.handle(now, Event::Judge);
        self.act(now);
        Ok(())
    }

    /// An interface that is no member any more gets back the settings it had, and loses the test addresses we gave it.
    fn restore_others(&mut self) {
        let members = || self.members.iter().filter(|member| !member.ungrouped).map(|member| &member.config);
        let is_member = |name: &str| members().any(|member| member.name == name);
        // Another daemon of this namespace may serve the rest.
        let ours = leftovers::recorded(Some(&self.base), &self.sysctl);
        for name in ours.iter().filter(|name| !is_member(name)) {
            if kernel::detach_clsact(name) {
                tracing::info!(interface = name, "no member any more: egress filter removed");
            }
        }
        match self.sysctl.restore_others(is_member) {
            Ok(restored) if restored.put_back.is_empty() => {}
            Ok(restored) => {
                let interfaces = restored.put_back.join(" ");
                tracing::info!(interfaces, "no members any more: settings restored");
            }
            Err(error) => tracing::warn!(%error, "settings of former members could not be restored"),
        }
        let former = ours.iter().filter(|name| !is_member(name)).cloned().collect();
        if let Err(error) = spread::leftovers::remove(Some(&former)) {
            tracing::warn!(%error, "routes that spread flows over former members could not be removed");
        }
        let wanted = members().flat_map(|m| m.test.iter().map(|ip| (m.name.clone(), *ip))).collect();
        match leftovers::remove_test_addresses(&wanted, Some(&ours)) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                tracing::info!(addresses = removed.join(", "), "test addresses of former members removed");
            }
            Err(error) => tracing::warn!(%error, "test addresses of former members could not be removed"),
        }
    }

    /// What is not there yet may still come: drivers load, cards are scanned.
    fn await_missing(&mut self, now: Timestamp) {
        let until = now + self.admin.source.file.daemon.boot_wait;
        for member in &self.members {
            let left = self
                .inventory
                .link_by_name(&member.config.name)
                .is_some_and(|l| self.admin.detached.holds(l));
            if member.ifindex.is_none() && !left && until > now {
                self.engine.handle(now, Event::InterfaceAwaited { member: member.id, until });
            }
        }
    }

    /// What the loop will wait on.
    pub(super) fn sources(&self) -> Result<Sources> {
        let ring =
            self.kernel.ring_fd().map(|fd| readable(fd.as_raw_fd()).context("cannot wait for kernel events"));
        Ok(Sources {
            alarm: readable(Alarm::new()?).context("cannot wait for the timer")?,
            netlink: readable(self.monitor.as_raw_fd()).context("cannot wait for netlink")?,
            ring: ring.transpose()?,
            bells: [
                self.monitor.bell(),
                self.kernel.bell(),
                self.culprits.bell(),
                self.counted.counters.bell(),
            ],
            terminate: signal(SignalKind::terminate()).context("cannot catch SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot catch SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("cannot catch SIGHUP")?,
        })
    }
}

fn open_kernel(options: &DaemonOptions, priority: u8) -> Kernel {
    let sysfs = options.sysfs.clone();
    Kernel::open(&KernelOptions { priority, sysfs, ..KernelOptions::new(&options.pin_dir) })
}

/// Homes as the state file has them.
fn known_homes(runtime_dir: &Path) -> Base {
    StateFile::new(runtime_dir).load().unwrap_or_else(|error| {
        tracing::warn!(%error, "the state file is set aside; homes are taken from the configuration");
        Base::default()
    })
}

/// Registers a descriptor with the event loop.
fn readable<T: std::os::fd::AsRawFd>(inner: T) -> std::io::Result<AsyncFd<T>> {
    // SAFETY: every descriptor registered here is owned by the daemon, which closes none of them before the
    // loop, and with it this registration, has ended.
    Ok(unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }?)
}

fn lock_memory() {
    if let Err(error) = clock::lock_memory() {
        tracing::info!(%error, "memory is not locked: under memory pressure the daemon may be late, never wrong");
    }
}

fn tell_priority(which: &str, priority: u8) {
    match clock::raise_priority(priority) {
        Ok(()) => tracing::debug!(which, priority, "real-time priority"),
        Err(error) => tracing::info!(
            which,
            %error,
            "no real-time priority (CAP_SYS_NICE): under load the daemon may be late, never wrong"
        ),
    }
}
