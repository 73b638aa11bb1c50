//! Outbound load spreading, as far as the loop has to do with it.

use std::collections::BTreeSet;

use ipmp_common::engine::ids::GroupId;

use super::Daemon;
use crate::net::spread;

impl Daemon {
    /// Makes the kernel tell flows apart by their ports while flows of any group are spread.
    pub(super) fn set_hash_policy(&mut self) {
        match self.sysctl.set_hash_policy(!self.outbound.is_empty()) {
            Ok(changed) if changed.is_empty() => {}
            Ok(changed) => tracing::info!("flows that are spread: {}", changed.join(", ")),
            Err(error) => tracing::warn!(%error, "flows between two hosts are not told apart"),
        }
    }

    /// Takes note of where a group's outbound flows go now.
    pub(super) fn note_outbound(&mut self, group: GroupId, outbound: BTreeSet<u32>) {
        let before = self.outbound.get(&group).cloned().unwrap_or_default();
        if before == outbound {
            return;
        }
        let name = |ifindex: &u32| {
            Some(self.members.iter().find(|m| m.ifindex == Some(*ifindex))?.config.name.clone())
        };
        let interfaces: Vec<String> = outbound.iter().filter_map(name).collect();
        let group_name = self.names.group(group);
        if outbound.is_empty() {
            tracing::info!(group = group_name, "outbound flows leave as the routes of others say");
            self.outbound.remove(&group);
        } else {
            tracing::info!(
                group = group_name,
                interfaces = interfaces.join(", "),
                "outbound flows are spread"
            );
            self.outbound.insert(group, outbound);
        }
        self.set_hash_policy();
    }

    /// What the daemon before this one set, if nothing is to be spread now.
    pub(super) fn restore_hash_policy(&mut self) {
        if !self.admin.source.file.engine.groups.iter().any(|group| group.outbound_spreading) {
            self.set_hash_policy();
        }
    }
}

/// Ends spreading over these interfaces. Without a daemon nobody would see to it that what somebody does to routes counts.
pub(super) fn end_spreading(members: &BTreeSet<String>) {
    if let Err(error) = spread::leftovers::remove(Some(members)) {
        tracing::warn!(%error, "outbound flows are still spread; `ipmpd --release` ends that");
    }
}
