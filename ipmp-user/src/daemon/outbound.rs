//! Outbound load spreading, as far as the loop has to do with it.

use std::collections::BTreeSet;

use ipmp_common::engine::ids::GroupId;

use super::Daemon;

impl Daemon {
    /// Makes the kernel tell flows apart by their ports while flows of any group are to be spread.
    pub(super) fn set_hash_policy(&mut self) {
        let groups = &self.admin.source.file.engine.groups;
        match self.sysctl.set_hash_policy(groups.iter().any(|group| group.outbound_spreading)) {
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
    }
}
