//! Interfaces that an administrator took offline stay so when the daemon is started anew, as they did under Solaris, where
//! the kernel kept `IFF_OFFLINE`. The list is kept in the runtime directory: a reboot ends it.

use std::{collections::BTreeSet, path::Path};

use ipmp_common::engine::{
    event::{Command, Event},
    time::Timestamp,
};

use super::{Daemon, kept};
use crate::net::{Renames, renamed};

const FILE: &str = "offline.json";

/// Names, as an earlier run left them.
pub(super) fn load(runtime_dir: &Path) -> BTreeSet<String> {
    kept::load(&runtime_dir.join(FILE))
}

impl Daemon {
    /// Takes up what stood when the earlier run ended, before anything is judged.
    pub(super) fn take_offline_again(&mut self, now: Timestamp) {
        let listed = |name: &String| self.admin.offline.contains(name);
        let there = self.members.iter().filter(|m| m.ifindex.is_some() && listed(&m.config.name));
        let orders: Vec<Command> =
            there.map(|member| Command::Offline { member: member.id, force: true }).collect();
        for order in orders {
            self.engine.handle(now, Event::Command(order));
        }
    }

    /// Interfaces that have other names now.
    pub(super) fn rename_offline(&mut self, renames: &Renames) {
        self.admin.offline = self.admin.offline.iter().map(|name| renamed(renames, name)).collect();
        kept::save(&self.admin.runtime_dir.join(FILE), &self.admin.offline);
    }

    /// After an order: writes the list if it is another one now.
    pub(super) fn keep_offline(&mut self) {
        let offline: BTreeSet<_> = self.engine.ordered_offline().collect();
        let members = self.members.iter().filter(|member| offline.contains(&member.id));
        let names: BTreeSet<String> = members.map(|member| member.config.name.clone()).collect();
        if names == self.admin.offline {
            return;
        }
        kept::save(&self.admin.runtime_dir.join(FILE), &names);
        self.admin.offline = names;
    }
}
