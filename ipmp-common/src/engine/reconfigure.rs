//! Another configuration, taken in while everything runs.
//!
//! Groups and interfaces are known by their names; those that stay keep their numbers and all that is known of them.
//! What was served goes on being served: an address whose home leaves the group stays where it stands. Only an address
//! that was listed and is listed no longer is taken away.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::net::IpAddr;

use ipnet::IpNet;

use super::{
    action::{Action, PlacedAddress},
    config::{Config, DataAddresses, GroupConfig, InterfaceConfig},
    core_loop::Engine,
    group::Group,
    ids::{GroupId, MemberId},
    member::Member,
    reason::{Kind, Reason, Record},
    rng::Rng,
    time::{Nanos, Timestamp},
    timer::TimerKey,
};

/// One group as the engine numbers it.
#[derive(Clone, Copy, Debug)]
pub struct Roster<'e> {
    /// Its number.
    pub group: GroupId,
    /// What is in force.
    pub config: &'e GroupConfig,
    /// The members' numbers, in the order of `config.interfaces`.
    pub members: &'e [MemberId],
}

/// The numbers in use before a reconfiguration. None of them passes to somebody else within it: what the engine says of
/// whoever left is to name whoever left, and its caller is to see that whoever came is somebody new.
#[derive(Debug)]
struct Numbers {
    groups: BTreeSet<GroupId>,
    members: BTreeSet<MemberId>,
}

impl Engine {
    fn numbers(&self) -> Numbers {
        Numbers {
            groups: self.order.iter().copied().collect(),
            members: self.groups.iter().flat_map(|group| &group.members).copied().collect(),
        }
    }

    /// The groups in force, in the order of the configuration.
    pub fn roster(&self) -> impl Iterator<Item = Roster<'_>> {
        self.order.iter().filter_map(|id| self.group(*id)).map(|group| Roster {
            group: group.id,
            config: &group.config,
            members: &group.members,
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        Config { seed: self.seed, groups: self.roster().map(|group| group.config.clone()).collect() }
    }

    pub(super) fn reconfigure(&mut self, now: Timestamp, wanted: Vec<GroupConfig>) {
        if self.roster().map(|group| group.config).eq(&wanted) {
            return;
        }
        let (own_before, taken) = (self.own_addresses(), self.numbers());
        let configured: BTreeSet<IpNet> =
            wanted.iter().flat_map(|group| &group.interfaces).flat_map(listed).copied().collect();
        let known = |engine: &Self, name: &str| {
            engine.roster().find(|group| group.config.name == name).map(|group| group.group)
        };
        let named: BTreeSet<GroupId> = wanted.iter().filter_map(|group| known(self, &group.name)).collect();
        let gone: Vec<GroupId> = self.order.iter().copied().filter(|id| !named.contains(id)).collect();
        for id in gone {
            self.remove_group(now, id);
        }
        let same =
            |engine: &Self, id, config: &GroupConfig| engine.group(id).is_some_and(|g| g.config == *config);
        // Whoever leaves a group goes before anybody joins: a member may change its group.
        for config in &wanted {
            if let Some(id) = known(self, &config.name).filter(|id| !same(self, *id, config)) {
                self.part(now, id, config, &configured);
            }
        }
        let (mut order, mut changed) = (Vec::with_capacity(wanted.len()), BTreeSet::new());
        for config in wanted {
            let id = match known(self, &config.name) {
                Some(id) if same(self, id, &config) => {
                    order.push(id);
                    continue;
                }
                Some(id) => {
                    self.change_group(now, id, config, &taken);
                    id
                }
                None => self.add_group(now, config, &taken),
            };
            order.push(id);
            changed.insert(id);
        }
        self.order = order;
        self.rebuild_changed(now, changed, &own_before);
    }

    /// Probing of the groups that changed, and of those whose targets became addresses of our own, or are none any more.
    fn rebuild_changed(&mut self, now: Timestamp, mut changed: BTreeSet<GroupId>, before: &BTreeSet<IpAddr>) {
        let own = self.own_addresses();
        let others: BTreeSet<IpAddr> = before.symmetric_difference(&own).copied().collect();
        let concerned = self.order.iter().filter_map(|id| self.group(*id)).filter(|group| {
            let found = group.discovered.iter().chain(&group.hosts).flatten();
            group.config.targets.iter().chain(found).any(|target| others.contains(target))
        });
        changed.extend(concerned.map(|group| group.id));
        let members: Vec<MemberId> =
            changed.iter().flat_map(|id| self.members_of(*id)).map(|member| member.id).collect();
        for id in members {
            self.rebuild_sessions(now, id);
        }
    }

    /// Nothing is taken off the interfaces of a group that goes: its addresses stay where they stand.
    fn remove_group(&mut self, now: Timestamp, id: GroupId) {
        let Some(group) = self.group_mut(id) else { return };
        group.addresses.clear();
        let members = core::mem::take(&mut group.members);
        for member in members {
            self.retire(now, member);
        }
        self.timers.cancel(TimerKey::Discover(id));
        self.timers.cancel(TimerKey::Announce(id));
        if let Some(group) = self.group_mut(id) {
            let config = GroupConfig { interfaces: Vec::new(), ..group.config.clone() };
            *group = Group { epoch: group.epoch, ..Group::new(id, config) };
        }
        self.order.retain(|known| *known != id);
        self.publish(now, Kind::Reconfigured, Some(id), None, Reason::GroupRemoved);
    }

    /// Its number is free from now on.
    fn retire(&mut self, now: Timestamp, id: MemberId) {
        self.interface_gone(now, id);
        self.cancel_waits(id);
        self.timers.cancel(TimerKey::Awaited(id));
        if let Some(member) = self.member_mut(id) {
            let group = member.group;
            let nobody = InterfaceConfig {
                name: core::mem::take(&mut member.config.name),
                standby: false,
                data: DataAddresses::Listed(Vec::new()),
                test: Vec::new(),
            };
            *member = Member::new(id, group, nobody);
        }
    }

    /// Lets go of members and addresses that a group has no longer.
    fn part(&mut self, now: Timestamp, id: GroupId, config: &GroupConfig, configured: &BTreeSet<IpNet>) {
        let stays = |engine: &Self, member: MemberId| {
            let name = engine.member(member).map(|member| member.config.name.as_str());
            config.interfaces.iter().find(|interface| Some(interface.name.as_str()) == name)
        };
        let Some(group) = self.group(id) else { return };
        let mut kept = Vec::new();
        let mut released = Vec::new();
        let mut rehomed = Vec::new();
        let own: BTreeSet<&IpNet> = config.interfaces.iter().flat_map(listed).collect();
        let before: BTreeSet<&IpNet> = group.config.interfaces.iter().flat_map(listed).collect();
        for placed in &group.addresses {
            let own = own.contains(&placed.address);
            let was = self.member(placed.home).map(|home| &home.config);
            let was_listed = before.contains(&placed.address);
            match stays(self, placed.home) {
                _ if own => kept.push(*placed),
                _ if configured.contains(&placed.address) => {}
                Some(home) if was_listed && home.data != DataAddresses::Adopt => {
                    released.push(placed.address);
                }
                // Found on it when that was asked for; what is listed now is all there shall be to it.
                Some(home)
                    if home.data != DataAddresses::Adopt
                        && was.is_some_and(|was| was.data == DataAddresses::Adopt) => {}
                Some(_) => kept.push(*placed),
                None if placed.on != placed.home && stays(self, placed.on).is_some() => {
                    rehomed.push((placed.address, placed.on, placed.home));
                    kept.push(PlacedAddress { home: placed.on, ..*placed });
                }
                None => {}
            }
        }
        let leaving: Vec<MemberId> =
            group.members.iter().copied().filter(|member| stays(self, *member).is_none()).collect();
        if let Some(group) = self.group_mut(id) {
            group.addresses = kept;
            group.released.extend(released);
            group.members.retain(|member| !leaving.contains(member));
            group.announcing.retain(|entry| !leaving.contains(&entry.member));
            let left: BTreeSet<IpNet> = group.addresses.iter().map(|placed| placed.address).collect();
            group.moves.retain(|entry| left.contains(&entry.address.address));
        }
        for (address, on, from) in rehomed {
            self.publish_with(Record {
                group: Some(id),
                member: Some(on),
                address: Some(address),
                ..Record::new(now, Kind::Reconfigured, Reason::Rehomed { from })
            });
        }
        for member in leaving {
            self.retire(now, member);
        }
    }

    fn add_group(&mut self, now: Timestamp, config: GroupConfig, taken: &Numbers) -> GroupId {
        let used: BTreeSet<GroupId> = &self.numbers().groups | &taken.groups;
        let mut numbers = (0..=used.len() as u32).map(GroupId);
        let free = numbers.find(|id| !used.contains(id)).unwrap_or(GroupId(0));
        let epoch = self.group(free).map_or(0, |group| group.epoch);
        let empty = GroupConfig { interfaces: Vec::new(), ..config.clone() };
        let group = Group { epoch, ..Group::new(free, empty) };
        if let Some(place) = self.groups.get_mut(free.0 as usize) {
            *place = group;
        } else {
            self.groups.push(group);
        }
        self.order.push(free);
        self.change_group(now, free, config, taken);
        free
    }

    /// Brings a group in line with its new configuration; those who leave have left.
    fn change_group(&mut self, now: Timestamp, id: GroupId, config: GroupConfig, taken: &Numbers) {
        let Some(before) = self.group(id).map(|group| group.config.clone()) else { return };
        let members: Vec<MemberId> =
            config.interfaces.iter().map(|interface| self.join(id, interface, taken)).collect();
        let Some(group) = self.group_mut(id) else { return };
        let addresses = wanted_addresses(&group.addresses, &members, &config);
        let known: BTreeSet<IpNet> = group.addresses.iter().map(|placed| placed.address).collect();
        if !addresses.iter().all(|placed| known.contains(&placed.address)) {
            // As if all came back: the neighbours are to know the new ones.
            group.returned = Some(group.epoch + 1);
        }
        group.addresses = addresses;
        group.members.clone_from(&members);
        group.config = config;
        group.dirty = true;
        let reason = Reason::Reconfigured {
            members: group.members.len() as u32,
            addresses: group.addresses.len() as u32,
        };
        self.settings_changed(now, id, &before);
        self.publish(now, Kind::Reconfigured, Some(id), None, reason);
    }

    /// The member of that name, with its new configuration; made if it is new.
    fn join(&mut self, group: GroupId, config: &InterfaceConfig, taken: &Numbers) -> MemberId {
        let known = self.members_of(group).find(|member| member.config.name == config.name).map(|m| m.id);
        if let Some(id) = known {
            if let Some(member) = self.member_mut(id) {
                member.config = config.clone();
            }
            return id;
        }
        let used = self.numbers().members;
        // Its own number of earlier, else one that nobody had until now.
        let own = self.members.iter().find(|m| m.config.name == config.name && !used.contains(&m.id));
        let used = &used | &taken.members;
        let mut numbers = (0..=used.len() as u32).map(MemberId);
        let free = own.map(|member| member.id).or_else(|| numbers.find(|id| !used.contains(id)));
        let id = free.unwrap_or(MemberId(0));
        let member = Member::new(id, group, config.clone());
        if let Some(place) = self.members.get_mut(id.0 as usize) {
            *place = member;
        } else {
            self.members.push(member);
            self.rngs.push(Rng::new(self.seed, u64::from(id.0)));
        }
        // Now, so that the next one gets another number.
        if let Some(group) = self.group_mut(group) {
            group.members.push(id);
        }
        id
    }

    /// The same hardware under another name: all that is known of it stays.
    pub(super) fn renamed(&mut self, now: Timestamp, id: MemberId, name: String) {
        let Some(group) = self.member(id).map(|member| member.group) else { return };
        let Some(config) = self.group_mut(group).and_then(|group| {
            let at = group.members.iter().position(|member| *member == id)?;
            group.config.interfaces.get_mut(at)
        }) else {
            return;
        };
        let former = core::mem::replace(&mut config.name, name.clone());
        if let Some(member) = self.member_mut(id) {
            member.config.name = name;
        }
        self.publish(now, Kind::Renamed, Some(group), Some(id), Reason::Renamed { former });
    }

    /// What the keys of a group bring about at once; all others are read when they are needed.
    fn settings_changed(&mut self, now: Timestamp, id: GroupId, before: &GroupConfig) {
        let Some(group) = self.group(id) else { return };
        let (config, members) = (group.config.clone(), group.members.clone());
        if config.failure_detection_time != before.failure_detection_time {
            self.detection_time_configured(now, id);
        }
        // Configured targets are trusted, found ones only once they answer.
        let other_kind = config.targets.is_empty() != before.targets.is_empty();
        for member in &members {
            if other_kind {
                self.forget_probing(now, *member);
            }
            if config.suspicion != before.suspicion {
                self.set_suspicion(*member, config.suspicion);
            }
            if config.quiet_period < before.quiet_period {
                self.shorten_quiet_period(*member, config.quiet_period);
            }
            self.damping_configured(*member, &before.damping);
        }
    }

    fn set_suspicion(&mut self, id: MemberId, on: bool) {
        let Some(member) = self.member_mut(id) else { return };
        for detector in &mut member.detectors {
            *detector = detector.take().map(|detector| detector.with_suspicion(on));
        }
    }

    /// A longer one is for interfaces that appear from now on.
    fn shorten_quiet_period(&mut self, id: MemberId, quiet_period: Nanos) {
        let Some(member) = self.member_mut(id) else { return };
        let until = member.link_changed_at + quiet_period;
        for detector in member.detectors.iter_mut().flatten() {
            detector.quiet_until = detector.quiet_until.min(until);
        }
    }

    /// Addresses that are configured no longer go once the group's others are asked for.
    pub(super) fn settle_released(&mut self, id: GroupId) {
        let Some(group) = self.group_mut(id) else { return };
        let addresses = core::mem::take(&mut group.released);
        if !addresses.is_empty() {
            self.actions.push_back(Action::Release { group: id, addresses });
        }
    }
}

fn listed(config: &InterfaceConfig) -> impl Iterator<Item = &IpNet> {
    let list: &[IpNet] = match &config.data {
        DataAddresses::Adopt => &[],
        DataAddresses::Listed(list) => list,
    };
    list.iter()
}

/// Every address in the order of the configuration, each where it stands now.
fn wanted_addresses(old: &[PlacedAddress], members: &[MemberId], config: &GroupConfig) -> Vec<PlacedAddress> {
    let mut wanted: Vec<PlacedAddress> = Vec::new();
    let places: BTreeMap<IpNet, MemberId> = old.iter().map(|placed| (placed.address, placed.on)).collect();
    let all: BTreeSet<IpNet> = config.interfaces.iter().flat_map(listed).copied().collect();
    for (home, interface) in members.iter().zip(&config.interfaces) {
        for address in listed(interface) {
            let on = places.get(address).copied().unwrap_or(*home);
            wanted.push(PlacedAddress { address: *address, home: *home, on });
        }
        let others = old.iter().filter(|placed| placed.home == *home && !all.contains(&placed.address));
        wanted.extend(others.copied());
    }
    wanted
}
