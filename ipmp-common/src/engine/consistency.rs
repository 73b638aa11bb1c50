//! What members of a group must not have in common (hardware and test addresses), and what they should
//! (families, link type, MTU). Section 5.7 of the behaviour, and requirement A51.

use alloc::{format, string::String, vec::Vec};
use core::net::IpAddr;

use super::{
    core_loop::Engine,
    event::Hardware,
    ids::{Family, GroupId, MemberId},
    member::{Member, slot},
    reason::{Kind, Reason},
    time::Timestamp,
};

/// What one member is, and how that fits its group.
#[derive(Debug, Default)]
pub(super) struct Identity {
    hardware: Option<Hardware>,
    /// When the hardware address became this one.
    mac_since: Timestamp,
    /// Held offline because of its hardware address, not by the administrator.
    duplicate_mac: bool,
    /// By family: an earlier member has the same test address.
    shared_source: [bool; 2],
    /// How it does not fit, as far as it was told.
    misfit: Option<Reason>,
}

impl Identity {
    /// Offline because of its hardware address.
    pub(super) const fn held(&self) -> bool {
        self.duplicate_mac
    }

    /// Whether another member probes from its test address already.
    pub(super) const fn shares_source(&self, family: Family) -> bool {
        self.shared_source[slot(family)]
    }

    pub(super) const fn shares_any_source(&self) -> bool {
        self.shared_source[0] || self.shared_source[1]
    }

    /// Whether it can carry a family, as far as is known.
    pub(super) fn carries(&self, family: Family) -> bool {
        self.hardware.is_none_or(|hardware| hardware.carries(family))
    }

    fn mac(&self) -> Option<[u8; 6]> {
        self.hardware.and_then(|hardware| hardware.mac)
    }
}

fn words(mac: [u8; 6]) -> String {
    let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

impl Engine {
    pub(super) fn hardware_news(&mut self, now: Timestamp, id: MemberId, hardware: Hardware) {
        let Some(member) = self.member_mut(id).filter(|member| member.ifindex.is_some()) else { return };
        if member.identity.hardware == Some(hardware) {
            return;
        }
        let known = member.identity.mac();
        if known != hardware.mac {
            member.identity.mac_since = now;
        }
        member.identity.hardware = Some(hardware);
        if known.is_some() && known != hardware.mac {
            self.announce_where_it_stands(now, id);
        }
        self.mark_dirty(id);
    }

    pub(super) fn check_hardware(&mut self, now: Timestamp, group: GroupId) {
        // Those in no group need nothing in common, and a VLAN may have the address of what it is on.
        if !self.is_anonymous(group) {
            self.check_macs(now, group);
            self.check_fit(now, group);
        }
    }

    /// The sibling in use that has this member's hardware address.
    pub(super) fn owner_of_mac(&self, member: &Member) -> Option<MemberId> {
        let mac = member.identity.mac().filter(|_| !self.is_anonymous(member.group))?;
        let owns = |sibling: &&Member| !sibling.is_offline() && sibling.identity.mac() == Some(mac);
        self.siblings(member.id).find(owns).map(|sibling| sibling.id)
    }

    /// Of members with the same hardware address one is in use: who has it longest, one that works before one
    /// that failed. in.mpathd takes the newcomer offline whatever the other's state.
    fn check_macs(&mut self, now: Timestamp, group: GroupId) {
        let bound_by_mac = |member: &&Member| !member.is_offline() || member.identity.held();
        let mut candidates: Vec<&Member> = self.members_of(group).filter(bound_by_mac).collect();
        candidates
            .sort_by_key(|member| (member.identity.held(), !member.functioning(), member.identity.mac_since));
        let mut owners: Vec<([u8; 6], MemberId)> = Vec::new();
        let mut changes = Vec::new();
        for member in candidates {
            let Some(mac) = member.identity.mac() else { continue };
            let owner = owners.iter().find(|(owned, _)| *owned == mac).map(|(_, owner)| *owner);
            if owner.is_none() {
                owners.push((mac, member.id));
            }
            if owner.is_some() != member.identity.held() {
                changes.push((member.id, mac, owner));
            }
        }
        for (id, mac, owner) in changes {
            match owner {
                Some(other) => self.hold(now, id, Reason::DuplicateMac { mac: words(mac), other }),
                None => self.release(now, id, Reason::UniqueMac { mac: words(mac) }),
            }
        }
    }

    fn hold(&mut self, now: Timestamp, id: MemberId, reason: Reason) {
        let Some(member) = self.member_mut(id) else { return };
        member.identity.duplicate_mac = true;
        member.inactive = false;
        member.recalled = false;
        member.aside = Some((reason.clone(), now));
        let group = member.group;
        self.end_failback_delay(id);
        self.suspend_probing(id);
        self.publish(now, Kind::Offline, Some(group), Some(id), reason);
    }

    /// As if the administrator had brought it online: it serves again even without failback.
    fn release(&mut self, now: Timestamp, id: MemberId, reason: Reason) {
        let Some(member) = self.member_mut(id) else { return };
        member.identity.duplicate_mac = false;
        member.recalled = true;
        member.inactive = member.config.standby && !member.failed;
        member.serves_again(now, reason.clone());
        let group = member.group;
        self.resume_probing(now, id);
        self.publish(now, Kind::Online, Some(group), Some(id), reason);
    }

    /// Tells a member that does not fit, once for each way of not fitting, and when it fits again.
    fn check_fit(&mut self, now: Timestamp, group: GroupId) {
        let model = self.members_of(group).find_map(|member| member.identity.hardware);
        let uses = |family: &Family| self.uses(group, *family);
        let found: Vec<(MemberId, Option<Reason>)> = self
            .members_of(group)
            .filter_map(|member| Some((member, member.identity.hardware?)))
            .map(|(member, hardware)| (member, misfit(hardware, model.unwrap_or(hardware), uses)))
            .filter(|(member, misfit)| member.identity.misfit != *misfit)
            .map(|(member, misfit)| (member.id, misfit))
            .collect();
        for (id, misfit) in found {
            if let Some(member) = self.member_mut(id) {
                member.identity.misfit.clone_from(&misfit);
            }
            let (kind, reason) = match misfit {
                Some(reason) => (Kind::Inconsistent, reason),
                None => (Kind::Consistent, Reason::FitsGroup),
            };
            self.publish(now, kind, Some(group), Some(id), reason);
        }
    }

    /// Whether any of the group's addresses belongs to a family.
    fn uses(&self, id: GroupId, family: Family) -> bool {
        let mut data = self.group(id).into_iter().flat_map(|group| &group.addresses);
        data.any(|placed| Family::of(placed.address.addr()) == family)
            || self
                .members_of(id)
                .flat_map(|member| &member.config.test)
                .any(|test| Family::of(*test) == family)
    }

    /// Compares a member's new test address with those of the members before it, which keep theirs.
    pub(super) fn note_shared_source(&mut self, now: Timestamp, id: MemberId, family: Family) {
        let Some(member) = self.member(id) else { return };
        let address = member.sources[slot(family)];
        let same = |sibling: &Member| sibling.id < id && sibling.sources[slot(family)] == address;
        let shared = address.is_some() && self.siblings(id).any(same);
        let group = member.group;
        let Some(member) = self.member_mut(id) else { return };
        let before = core::mem::replace(&mut member.identity.shared_source[slot(family)], shared);
        if let Some(address) = address.filter(|_| before != shared) {
            let reason = if shared {
                Reason::DuplicateTestAddress { address }
            } else {
                Reason::UniqueTestAddress { address }
            };
            self.publish(now, Kind::Probing, Some(group), Some(id), reason);
        }
    }

    /// A member's test addresses changed: those behind it that had, or now have, the same one are looked at anew.
    pub(super) fn sources_given_up(&mut self, now: Timestamp, id: MemberId, given_up: [Option<IpAddr>; 2]) {
        let Some(member) = self.member(id) else { return };
        let own = member.sources;
        for family in Family::ALL {
            let concerned = [given_up[slot(family)], own[slot(family)]];
            let behind: Vec<MemberId> = self
                .siblings(id)
                .filter(|sibling| sibling.id > id)
                .filter(|sibling| {
                    let source = sibling.sources[slot(family)];
                    source.is_some() && concerned.contains(&source)
                })
                .map(|sibling| sibling.id)
                .collect();
            for sibling in behind {
                self.note_shared_source(now, sibling, family);
                self.rebuild_sessions(now, sibling);
            }
        }
    }
}

/// The gravest way in which a member does not fit.
fn misfit(hardware: Hardware, model: Hardware, uses: impl Fn(&Family) -> bool) -> Option<Reason> {
    let lacks = |family: &Family| !hardware.carries(*family) && uses(family);
    if let Some(family) = Family::ALL.into_iter().find(lacks) {
        return Some(Reason::FamilyMissing { family });
    }
    if hardware.link_type != model.link_type {
        let (link_type, expected) = (hardware.link_type, model.link_type);
        return Some(Reason::LinkTypeDiffers { link_type, expected });
    }
    (hardware.mtu != model.mtu).then_some(Reason::MtuDiffers { mtu: hardware.mtu, expected: model.mtu })
}
