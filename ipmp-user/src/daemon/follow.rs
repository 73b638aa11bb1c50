//! Hardware that has another name than before: whatever goes by names follows, and nothing else happens.

use ipmp_common::engine::{event::Event, time::Timestamp};

use super::{Daemon, identity::Identities, reload::Source};
use crate::net::{Renames, apply::Work};

impl Daemon {
    /// Looks whether tied hardware has another name now.
    pub(super) fn follow_names(&mut self, now: Timestamp) {
        if !self.admin.identities.any() {
            return;
        }
        let mut identities = self.admin.identities.clone();
        let file = &self.admin.source.file;
        let renames = identities.follow(&self.inventory, &file.engine);
        if renames.is_empty() {
            self.admin.identities = identities;
            return;
        }
        let config = identities.read(&file.engine);
        if let Err(error) = self.claims.add(&config) {
            tracing::error!("an interface has another name, and is not taken: {error:#}");
            return;
        }
        self.claims.keep(&config);
        self.rename(now, identities, renames);
        if !self.admin.source.file.daemon.track_interfaces_only_with_groups {
            let Source { text, file } = &self.admin.source;
            let same = Source { text: text.clone(), file: file.clone() };
            if let Err(refusal) = self.change_config(now, same) {
                tracing::warn!("{}", refusal.text);
            }
        }
    }

    /// Goes over to other names. A member that has an interface by its former name is not renamed: other hardware is meant.
    pub(super) fn rename(&mut self, now: Timestamp, identities: Identities, mut renames: Renames) {
        self.admin.identities = identities;
        self.admin.identities.save();
        let stays = |name: &String| {
            let mut has = self.members.iter().filter(|member| member.config.name == *name);
            has.any(|member| {
                member.ifindex.and_then(|i| self.inventory.link(i)).is_some_and(|link| link.name == *name)
            })
        };
        renames.retain(|former, _| !stays(former));
        if renames.is_empty() {
            return;
        }
        for member in &mut self.members {
            if let Some(name) = renames.get(&member.config.name) {
                self.engine.handle(now, Event::Renamed { member: member.id, name: name.clone() });
                member.config.name.clone_from(name);
            }
        }
        self.name_all();
        self.base.rename(&renames);
        self.admin.detached.rename(&renames);
        self.rename_offline(&renames);
        if let Err(error) = self.sysctl.rename(&renames) {
            tracing::warn!(%error, "settings of a renamed interface may not be put back");
        }
        self.step(Work::Rename(renames));
    }

    /// An interface as the administrator calls it: by its name, or by that of its section if nothing else has it.
    pub(super) fn meant(&self, name: &str) -> String {
        let known = self.inventory.link_by_name(name).is_some()
            || self.members.iter().any(|member| member.config.name == name);
        if known { name.to_owned() } else { self.admin.identities.present(name).to_owned() }
    }
}
