//! Whether interfaces may be detached, and why not.

use ipmp_common::engine::{event::Command, ids::MemberId, snapshot::ShownState};
use rtnetlink::packet_route::link::LinkFlags;

use super::{
    super::{Daemon, clock, pci, serve::refused},
    Leaving,
};
use crate::control::protocol::{Detach, Refusal, RefusalCode};

impl Daemon {
    /// The interfaces meant, if they may be detached.
    pub(super) fn leaving(&self, wanted: &Detach) -> Result<Vec<Leaving>, Refusal> {
        self.admin.idle("detach")?;
        let named = match &wanted.device {
            Some(device) => pci::interfaces_of(self.inventory.links.values(), device, pci::function),
            None => wanted.interfaces.iter().map(|name| self.meant(name)).collect(),
        };
        if named.is_empty() {
            let what = wanted.device.as_deref().unwrap_or("nothing named");
            let text = format!(
                "{what}: has no interface: bus-info of `ethtool -i IFACE` is the device that one is on"
            );
            return Err(Refusal::new(RefusalCode::NotFound, text));
        }
        let mut leaving = Vec::new();
        for name in &named {
            leaving.push(self.leaving_one(name, wanted.force)?);
        }
        let members: Vec<MemberId> = leaving.iter().filter_map(|one| one.member).collect();
        let force = wanted.force;
        for one in &leaving {
            let Some(member) = one.member else { continue };
            // Each alone gives the reason; all together decide.
            let alone = Command::Detach { members: vec![member], force };
            let all = Command::Detach { members: members.clone(), force };
            if let Err(refusal) = self.engine.check(&alone).and_then(|()| self.engine.check(&all)) {
                return Err(refused(&named.join(", "), refusal));
            }
        }
        Ok(leaving)
    }

    fn leaving_one(&self, name: &str, force: bool) -> Result<Leaving, Refusal> {
        let Some(link) = self.inventory.link_by_name(name) else {
            let text = format!("{name}: there is no such interface: `ip link` shows those there are");
            return Err(Refusal::new(RefusalCode::NotFound, text));
        };
        if link.flags.contains(LinkFlags::Loopback) {
            let text = format!("{name}: is the loopback interface, without which the host does not work");
            return Err(Refusal::new(RefusalCode::Refused, text));
        }
        let member = self.members.iter().find(|member| member.config.name == name);
        if member.is_some() && self.admin.detached.holds(link) {
            let text =
                format!("{name}: is detached already: it may be removed, or `ipmp attach {name}` undoes it");
            return Err(Refusal::new(RefusalCode::Refused, text));
        }
        if member.is_some_and(|member| member.ifindex.is_none()) {
            let text = format!("{name}: cannot be detached: {}", self.why_absent(name));
            return Err(Refusal::new(RefusalCode::Refused, text));
        }
        if member.is_none() && !force {
            let text = format!(
                "{name}: is in no IPMP group, so nothing could take over its addresses: use --force to detach it anyway"
            );
            return Err(Refusal::new(RefusalCode::Refused, text));
        }
        let id = member.map(|member| member.id);
        Ok(Leaving {
            member: id,
            name: name.to_owned(),
            ifindex: link.ifindex,
            was_offline: id.is_some_and(|id| self.state_of(id) == Some(ShownState::Offline)),
            bare: false,
            set_down: false,
        })
    }

    fn state_of(&self, id: MemberId) -> Option<ShownState> {
        let snapshot = self.engine.snapshot(clock::now());
        let mut members = snapshot.groups.into_iter().flat_map(|group| group.members);
        members.find(|member| member.member == id).map(|member| member.state)
    }

    /// The answer to `--check`.
    pub(super) fn foretell(&self, leaving: &[Leaving]) -> String {
        let members = leaving.iter().filter_map(|one| one.member).collect();
        let (how, fate) = match self.engine.check(&Command::Detach { members, force: false }) {
            Ok(()) => ("can be detached", "would move"),
            Err(_) => ("can be detached by force", "would be on no interface until one can take them"),
        };
        let lines: Vec<String> = leaving
            .iter()
            .map(|one| {
                let name = &one.name;
                match one.member.map(|member| self.data_on(member).len()) {
                    Some(0) => format!("{name}: {how}; it carries no data address"),
                    Some(1) => format!("{name}: {how}; 1 data address {fate}"),
                    Some(count) => format!("{name}: {how}; {count} data addresses {fate}"),
                    None => format!("{name}: can be detached by force; its addresses would be lost with it"),
                }
            })
            .collect();
        lines.join("\n")
    }

    /// The data addresses that are placed on a member.
    fn data_on(&self, member: MemberId) -> Vec<ipnet::IpNet> {
        let placed = self.placements.values().flat_map(|placement| &placement.data);
        placed.filter(|placed| placed.on == member).map(|placed| placed.address).collect()
    }
}
