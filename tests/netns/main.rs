//! End to end: the real kernel, the real daemon, outages seen from the far side. Each test has a lab of its own.

mod admin;
mod attach;
mod clients;
mod conflict;
mod contract;
mod counted;
mod crash;
mod damping;
mod detach;
mod diagnosis;
mod disk;
mod endurance;
mod failover;
mod foreign;
mod foreseen;
mod former;
mod group;
mod identity;
mod kinds;
mod late;
mod leases;
mod lifetimes;
mod manager;
mod many;
mod missing;
mod multicast;
mod netem;
mod nexthops;
mod orders;
mod overrun;
mod privilege;
mod release;
mod reload;
mod restart;
mod settle;
mod solaris;
mod spread;
mod stall;
mod targets;
mod undo;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, address_on, interface},
    ping::Pinger,
    skip,
    snapshot::Snapshot,
    tcp::Session,
    topology::{Lab, Shape, data},
    wait,
};

/// Wide enough for a loaded machine, narrow enough for a quick test.
const FDT_MS: u64 = 200;

/// A lab whose host runs the daemon. The daemon goes before the lab.
struct Bed {
    daemon: Daemon,
    lab: Lab,
}

impl Bed {
    /// A healthy group in a fresh lab; `None` where network tests cannot run, which has been said then.
    fn healthy(config: &Config) -> Result<Option<Self>> {
        let bed = Self::start(config)?;
        if let Some(bed) = &bed {
            bed.daemon.wait_healthy()?;
        }
        Ok(bed)
    }

    /// The same without waiting for health. The lab gives addresses to those NICs that are home to some.
    fn start(config: &Config) -> Result<Option<Self>> {
        if !skip::can_run() {
            return Ok(None);
        }
        let lab = Lab::new(&Shape {
            data_members: config.members.iter().filter(|member| !member.data.is_empty()).count(),
            ..Shape::default()
        })?;
        let daemon = Daemon::start(&lab.host, config)?;
        Ok(Some(Self { daemon, lab }))
    }

    fn wait_address_on(&self, address: &str, nic: &str) -> Result<()> {
        self.daemon
            .wait_for(&format!("{address} on {nic}"), |status| address_on(status, address) == Some(nic))
            .map(drop)
    }

    fn wait_state(&self, nic: &str, state: &str) -> Result<()> {
        self.daemon
            .wait_for(&format!("{nic} {state}"), |status| interface(status, nic)["state"] == state)
            .map(drop)
    }

    /// How often something happened since a moment.
    fn count(&self, kind: &str, since_ns: u64) -> Result<usize> {
        let events = self.daemon.events_since(since_ns)?;
        Ok(events.iter().filter(|event| event["kind"] == kind).count())
    }

    /// Waits until the daemon's log has a line with this text.
    fn wait_log(&self, text: &str) -> Result<()> {
        wait::until(&format!("the log line {text:?}"), || Ok(self.daemon.log_tail().contains(text)))
            .with_context(|| self.daemon.log_tail())
    }

    /// Addresses and routes in order, without what is the kernel's own and tells which interface came up last, and without
    /// numbers and hardware addresses of devices, which may be new ones.
    fn places(&self) -> Result<Vec<String>> {
        let mut lines: Vec<String> = Vec::new();
        for what in
            ["-o -4 address show", "-o -6 address show scope global", "-4 route show", "-6 route show"]
        {
            let text = self.lab.host.ip(what)?;
            let words = |line: &str| {
                line.split_whitespace().skip_while(|word| word.ends_with(':')).collect::<Vec<_>>().join(" ")
            };
            lines.extend(text.lines().filter(|line| !line.contains("fe80::/64")).map(words));
        }
        Ok(lines)
    }

    /// Waits until that is what it was.
    fn wait_places(&self, before: &[String]) -> Result<()> {
        let mut now = Vec::new();
        let same = wait::until("addresses and routes as before", || {
            now = self.places()?;
            Ok(now == before)
        });
        if let Err(error) = same {
            bail!("{error:#}; before {before:#?}, now {now:#?}\n{}", self.daemon.log_tail());
        }
        Ok(())
    }

    /// Waits until addresses and routes are what they were, order included. Objects that spread flows may get other numbers.
    fn wait_unchanged_since(&self, before: &Snapshot) -> Result<()> {
        let before = before.clone().of_others();
        let mut difference = String::new();
        let same = wait::until("addresses and routes as before", || {
            difference = before.difference(&Snapshot::take(&self.lab.host)?);
            Ok(difference.is_empty())
        });
        if let Err(error) = same {
            bail!("{error:#}; the difference:\n{difference}\n{}", self.daemon.log_tail());
        }
        Ok(())
    }
}

/// A neighbour's ping, a UDP flow and an established connection to a data address of the first NIC.
struct Traffic {
    ping: Pinger,
    udp: Pinger,
    tcp: Session,
}

impl Traffic {
    fn start(lab: &Lab, ipv6: bool) -> Result<Self> {
        let address = data(0, ipv6);
        let traffic = Self {
            ping: Pinger::start(lab.peer(), address, Duration::from_millis(2))?,
            udp: Pinger::over_udp(&lab.host, lab.peer(), address, Duration::from_millis(2))?,
            tcp: Session::start(&lab.host, lab.peer(), address, Duration::from_millis(10))?,
        };
        traffic.wait_flow()?;
        Ok(traffic)
    }

    /// Waits until all go on from where they are now.
    fn wait_flow(&self) -> Result<()> {
        let (pings, udp, messages) = (self.ping.answered(), self.udp.answered(), self.tcp.answered());
        wait::until("ping, UDP and TCP go on", || {
            let go_on = self.ping.answered() >= pings + 50 && self.udp.answered() >= udp + 50;
            Ok(go_on && self.tcp.answered() >= messages + 10)
        })
    }
}
