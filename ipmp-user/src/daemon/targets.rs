//! Whom to probe, as far as routes and neighbours tell.

use std::{collections::BTreeSet, net::IpAddr};

use ipmp_common::engine::{
    event::Event,
    ids::{Family, GroupId},
    time::{Nanos, Timestamp},
};

use super::Daemon;
use crate::net::inventory::RouterSearch;

/// Two searches begin at least so far apart: a routing daemon, or a link with thousands of hosts, changes something all the
/// time.
const INTERVAL: Nanos = Nanos::from_millis(100);
/// Routes looked at in one turn: a tenth of a millisecond or two.
const ROUTES: usize = 500;

/// The search for targets.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// What was found may be so no longer.
    stale: bool,
    /// No search begins before.
    not_before: Timestamp,
    search: Option<RouterSearch<GroupId>>,
}

impl Targets {
    /// Routes, neighbours, addresses or members changed.
    pub(super) const fn changed(&mut self) {
        self.stale = true;
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.search.is_some() {
            return Some(Timestamp(0));
        }
        self.stale.then_some(self.not_before)
    }
}

impl Daemon {
    /// Routers and host routes through any member are targets of all members of its group; without any, the hosts
    /// that any of them has as a neighbour.
    pub(super) fn discover_targets(&mut self, now: Timestamp) {
        if self.targets.due().is_none_or(|due| due > now) {
            return;
        }
        let search = self.targets.search.take();
        let mut search = search.unwrap_or_else(|| {
            self.targets.stale = false;
            self.targets.not_before = now + INTERVAL;
            let present = self.members.iter().filter_map(|member| Some((member.ifindex?, member.group)));
            RouterSearch::new(&self.inventory, present.collect())
        });
        if search.go_on(&self.inventory, ROUTES) {
            self.targets.search = Some(search);
            return;
        }
        let mut found = search.found();
        let groups: BTreeSet<GroupId> =
            self.members.iter().filter(|member| !member.is_nobody()).map(|member| member.group).collect();
        for group in groups {
            for family in Family::ALL {
                let targets = found.remove(&(group, family)).unwrap_or_default();
                self.engine.handle(now, Event::Targets { group, family, targets });
            }
            let ifindexes: Vec<u32> = self.ifindexes(group).collect();
            for family in Family::ALL {
                if self.engine.probes_hosts(group, family) {
                    let hosts = self.inventory.neighbouring_hosts(&ifindexes, family);
                    self.engine.handle(now, Event::Hosts { group, family, hosts });
                }
            }
        }
    }

    /// Whether a neighbour matters: where routers are known, or targets are configured, none does.
    pub(super) fn is_possible_target(&self, ifindex: u32, ip: IpAddr) -> bool {
        let member = self.members.iter().find(|member| member.ifindex == Some(ifindex));
        member.is_some_and(|member| self.engine.probes_hosts(member.group, Family::of(ip)))
    }
}
