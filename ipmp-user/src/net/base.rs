//! The home state of the members: what each interface has when it hosts itself.
//!
//! It is learned by comparing the kernel with what we left there. What appeared since belongs to the interface it
//! appeared on; what disappeared while its link stood was removed by somebody and is forgotten; what disappeared
//! together with the link (administratively down deletes routes) is kept and restored.

mod compare;
mod former;
mod lifetimes;
mod order;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use ipmp_common::engine::{action::PlacedAddress, ids::MemberId, time::Timestamp};

use self::compare::Comparison;
use super::{
    Renames,
    address::Address,
    apply::News,
    broadcast,
    inventory::Inventory,
    nexthop::Nexthop,
    plan::{MemberLink, Wanted, nexthops, placement::Placement, up_link},
    renamed,
    route::{Route, RouteKey},
};

/// A data address as it was on its home interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Name of the home interface.
    pub home: String,
    /// The address with all its attributes.
    pub address: Address,
    /// When its lifetimes were what the attributes say.
    pub as_of: Timestamp,
}

/// Homes and originals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Numbers of the interfaces that `routes` names.
    pub(crate) names: BTreeMap<u32, String>,
    pub(crate) addresses: BTreeMap<IpAddr, Original>,
    /// Addresses of each home interface in kernel order.
    pub(crate) order: BTreeMap<String, Vec<IpAddr>>,
    /// Those that nobody had made when they first came home.
    pub(crate) made: BTreeSet<IpAddr>,
    /// Every list in which a member appears, complete.
    pub(crate) routes: BTreeMap<RouteKey, Vec<Route>>,
    /// Nexthop objects by a member, and groups with one of them, as they are at home.
    pub(crate) nexthops: BTreeMap<u32, Nexthop>,
    /// The order of broadcast entries for each subnet in which a member has one.
    pub(crate) broadcasts: BTreeMap<RouteKey, Vec<Route>>,
    /// Where each data address was put last.
    pub(crate) placement: BTreeMap<IpAddr, String>,
    /// Members that were unusable then.
    pub(crate) unusable: BTreeSet<String>,
    /// Members that were known as failed then, also where all were.
    pub(crate) failed: BTreeSet<String>,
    /// `carrier_down_count` of each member when the kernel was compared last.
    pub(crate) carrier_downs: BTreeMap<String, u32>,
    /// The members that were read from a file which a daemon left, perhaps in the middle of a move: until a placement that
    /// names them has been carried out without errors, what a move can leave behind on them is not taken for an
    /// administrator's, and what is known of them is kept.
    pub(crate) inherited: BTreeSet<String>,
    /// What others did since the last comparison.
    pub(crate) news: News,
}

impl Base {
    /// A data address as it was at home.
    pub fn original(&self, ip: IpAddr) -> Option<&Original> {
        self.addresses.get(&ip)
    }

    /// The data addresses whose home is this interface, in kernel order.
    pub fn at_home(&self, name: &str) -> Vec<IpNet> {
        let order = self.order.get(name).into_iter().flatten();
        // What only stood there when the order was learned is at home elsewhere.
        let homed = order.filter_map(|ip| self.addresses.get(ip)).filter(|known| known.home == name);
        homed.map(|known| known.address.net()).collect()
    }

    /// Each data address and its home.
    pub fn homes(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.addresses.iter().map(|(ip, original)| (*ip, original.home.as_str()))
    }

    /// The interfaces that were members.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(String::as_str)
    }

    /// A data address that is ours no longer.
    pub fn forget(&mut self, ip: IpAddr) {
        self.addresses.remove(&ip);
        self.made.remove(&ip);
        self.placement.remove(&ip);
        for order in self.order.values_mut() {
            order.retain(|known| *known != ip);
        }
    }

    /// Interfaces that have other names now: what is known of the one is known of the other.
    pub fn rename(&mut self, renames: &Renames) {
        let new = |name: &String| renamed(renames, name);
        self.names.values_mut().for_each(|name| *name = new(name));
        self.addresses.values_mut().for_each(|original| original.home = new(&original.home));
        self.placement.values_mut().for_each(|name| *name = new(name));
        rename_keys(&mut self.order, renames);
        rename_keys(&mut self.carrier_downs, renames);
        for names in [&mut self.unusable, &mut self.failed, &mut self.inherited] {
            *names = names.iter().map(new).collect();
        }
    }

    /// Each data address's position on its home interface.
    pub fn positions(&self) -> BTreeMap<IpAddr, usize> {
        let at_home = |ip: &IpAddr, home: &String| self.addresses.get(ip).is_some_and(|o| o.home == *home);
        let lists =
            self.order.iter().flat_map(|(home, order)| order.iter().enumerate().map(move |at| (home, at)));
        lists.filter(|(home, (_, ip))| at_home(ip, home)).map(|(_, (at, ip))| (*ip, at)).collect()
    }

    /// The original list of a key.
    pub fn routes(&self, key: &RouteKey) -> &[Route] {
        self.routes.get(key).map_or(&[], Vec::as_slice)
    }

    /// Keys of all lists.
    pub fn keys(&self) -> impl Iterator<Item = RouteKey> + '_ {
        self.routes.keys().copied()
    }

    /// All of them.
    pub fn all_routes(&self) -> impl Iterator<Item = &Route> + '_ {
        self.routes.values().flatten()
    }

    /// The number under which `routes` knows an interface.
    pub fn ifindex_of(&self, name: &str) -> Option<u32> {
        self.names.iter().find(|(_, known)| *known == name).map(|(ifindex, _)| *ifindex)
    }

    /// Takes in what changed in the kernel since we last looked. `present` holds the identities of the routes we left
    /// there; it is empty after a start, when nothing can be said to have been removed.
    pub fn learn(&mut self, inventory: &Inventory, wanted: &Wanted, present: &BTreeSet<Vec<u8>>) {
        self.rebind(inventory, wanted);
        let wanted = &self.complete(inventory, wanted).wanted.into_owned();
        let before = self.previous(inventory, wanted);
        self.learn_addresses(inventory, &before);
        let mut broadcasts = std::mem::take(&mut self.broadcasts);
        broadcast::learn(&mut broadcasts, inventory, &before, self);
        self.broadcasts = broadcasts;
        let stable = self.stable(inventory, &before);
        self.learn_nexthops(inventory, &before, present, &stable);
        let placement = Placement::new(self, &before);
        let turns = self.turns(wanted);
        let comparison = Comparison { base: self, placement: &placement, present, stable: &stable, turns };
        let ours = inventory.routes.iter().filter(|(_, list)| list.iter().any(|r| placement.moves(r)));
        let keys: BTreeSet<RouteKey> = ours.map(|(key, _)| *key).chain(self.keys()).collect();
        let learn = |key: RouteKey| {
            let kernel = inventory.routes.get(&key).map_or(&[][..], Vec::as_slice);
            (key, comparison.merge(self.routes(&key), kernel))
        };
        let mut learned: BTreeMap<RouteKey, Vec<Route>> = keys.into_iter().map(learn).collect();
        learned.retain(|_, list| list.iter().any(|route| placement.moves(route)));
        self.routes = learned;
        self.note_carriers(inventory, wanted);
    }

    /// As for routes: what differs from what we left is somebody's wish, what went with a link is kept.
    fn learn_nexthops(
        &mut self,
        inventory: &Inventory,
        before: &Wanted,
        present: &BTreeSet<Vec<u8>>,
        stable: &BTreeSet<u32>,
    ) {
        let known = self.nexthops.clone();
        let placement = Placement::new(self, before);
        let is_ours = |oif| placement.is_member(oif);
        let steady = |nexthop: &Nexthop| {
            let parts = nexthop.members().into_iter().filter_map(|id| known.get(&id)).chain([nexthop]);
            parts
                .flat_map(|part| part.oif().into_iter().chain(placement.place_nexthop(part).oif()))
                .all(|oif| stable.contains(&oif) || !is_ours(oif))
        };
        let mut learned = BTreeMap::new();
        for (id, nexthop) in &known {
            let placed = placement.place_nexthop(nexthop);
            let there = inventory.nexthops.get(id);
            let left_over = |there: &Nexthop| {
                there.oif().is_some_and(|oif| is_ours(oif) && self.is_inherited(oif))
                    && there.oif().map(|oif| nexthop.by(oif)).as_ref() == Some(there)
            };
            let kept = match there {
                Some(there) if *there == placed || there == nexthop || left_over(there) => nexthop,
                Some(_) if nexthop.oif().is_none() && !steady(nexthop) => nexthop,
                Some(there) => there,
                None if present.contains(&presence(*id)) && steady(nexthop) => continue,
                None => nexthop,
            };
            learned.insert(*id, kept.clone());
        }
        let ours: Vec<(u32, Nexthop)> = nexthops::of_members(&inventory.nexthops, is_ours)
            .filter(|(id, _)| !known.contains_key(id))
            .map(|(id, nexthop)| (id, nexthop.clone()))
            .collect();
        learned.extend(ours);
        self.nexthops = learned;
    }

    /// Notes where everything was put. What was not, for want of an interface that takes it, is where it was put before.
    pub fn note_placement(
        &mut self,
        inventory: &Inventory,
        wanted: &Wanted,
        failed: &BTreeSet<(u32, IpAddr)>,
    ) {
        let strays = self.strays(inventory, wanted);
        let is_blocked = |placed: &PlacedAddress| {
            let ip = placed.address.addr();
            let on = wanted.ifindex(placed.on);
            strays.range((ip, 0)..=(ip, u32::MAX)).next().is_some()
                && !wanted.withdrawn.contains(&placed.home)
                && (up_link(inventory, on).is_none() || on.is_some_and(|on| failed.contains(&(on, ip))))
        };
        let name = |member: MemberId| {
            let link = wanted.ifindex(member).and_then(|ifindex| inventory.link(ifindex));
            link.map(|link| link.name.clone())
        };
        for placed in wanted.data.iter().filter(|placed| !is_blocked(placed)) {
            if let Some(on) = name(placed.on) {
                self.placement.insert(placed.address.addr(), on);
            }
        }
        for MemberLink { member, .. } in &wanted.members {
            if let Some(name) = name(*member) {
                note(&mut self.failed, &name, wanted.failed.contains(member));
                note(&mut self.unusable, &name, wanted.unusable.contains(member));
            }
        }
    }

    /// The placement in which the kernel is now.
    fn previous(&self, inventory: &Inventory, wanted: &Wanted) -> Wanted {
        let mut before = wanted.clone();
        for (placed, on) in before.data.iter_mut().zip(self.found(inventory, wanted)) {
            placed.on = on;
        }
        let by_name = |name: &String| member_by_name(inventory, wanted, name);
        before.unusable = self.unusable.iter().filter_map(by_name).collect();
        before
    }

    /// Each data address where it is found, else where it was put last.
    fn found(&self, inventory: &Inventory, wanted: &Wanted) -> Vec<MemberId> {
        let hosts = inventory.hosts();
        let found = |placed: &PlacedAddress| {
            let ip = placed.address.addr();
            let noted = self.placement.get(&ip).and_then(|name| member_by_name(inventory, wanted, name));
            let hosts = |m: &MemberId| wanted.ifindex(*m).is_some_and(|i| hosts.contains(&(ip, i)));
            let anywhere = || wanted.members.iter().map(|m| m.member).find(hosts);
            noted.filter(hosts).or_else(anywhere).or(noted).unwrap_or(placed.home)
        };
        wanted.data.iter().map(found).collect()
    }

    /// Whether what an unfinished move leaves is to be expected on an interface.
    pub(crate) fn is_inherited(&self, ifindex: u32) -> bool {
        self.names.get(&ifindex).is_some_and(|name| self.inherited.contains(name))
    }

    /// A placement was carried out.
    pub(crate) fn claim(&mut self, inventory: &Inventory, wanted: &Wanted) {
        for link in wanted.members.iter().filter_map(|member| inventory.link(member.ifindex)) {
            self.inherited.remove(&link.name);
        }
    }

    fn learn_addresses(&mut self, inventory: &Inventory, before: &Wanted) {
        self.learn_lifetimes(inventory, before);
        for MemberLink { member, ifindex, .. } in &before.members {
            let Some(link) = inventory.link(*ifindex) else {
                continue;
            };
            let there: BTreeMap<IpAddr, &Address> =
                inventory.addresses(*ifindex).iter().map(|address| (address.ip(), address)).collect();
            let homed = || before.data.iter().filter(|p| p.home == *member);
            let mut complete = true;
            for placed in homed() {
                let ip = placed.address.addr();
                let there = there.get(&ip).filter(|a| !inventory.is_renewed(a) && placed.on == *member);
                match there.copied() {
                    Some(address) => self.learn_address(&link.name, address, inventory.read_at),
                    None => complete &= self.original(ip).is_some_and(|o| o.is_over(inventory.read_at)),
                }
            }
            if complete {
                let order = inventory.addresses(*ifindex).iter().map(Address::ip).collect();
                self.order.insert(link.name.clone(), order);
            }
        }
        self.bury(inventory.read_at);
    }

    /// Members whose link stood since the last comparison, and that lost no address.
    fn stable(&self, inventory: &Inventory, wanted: &Wanted) -> BTreeSet<u32> {
        let stood = |ifindex: &u32| {
            inventory.link(*ifindex).is_some_and(|link| {
                link.admin_up()
                    && self.carrier_downs.get(&link.name).copied() == link.carrier_down_count
                    && !self.news.robbed.contains(ifindex)
                    && !self.news.lost
            })
        };
        wanted.members.iter().map(|m| m.ifindex).filter(stood).collect()
    }

    fn note_carriers(&mut self, inventory: &Inventory, wanted: &Wanted) {
        for MemberLink { ifindex, .. } in &wanted.members {
            let Some(link) = inventory.link(*ifindex) else {
                continue;
            };
            // While it is down nothing is compared, so that the loss is still seen when it is up again.
            if let (Some(count), Some(_)) = (link.carrier_down_count, up_link(inventory, Some(*ifindex))) {
                self.carrier_downs.insert(link.name.clone(), count);
            }
        }
    }

    /// An interface that came back under another number: its originals take the new one.
    fn rebind(&mut self, inventory: &Inventory, wanted: &Wanted) {
        let unclaimed = self.unclaimed(inventory, wanted).into_iter();
        let unclaimed = unclaimed.filter_map(|name| inventory.link_by_name(name)).map(|link| link.ifindex);
        let members = wanted.members.iter().map(|member| member.ifindex);
        for ifindex in &members.chain(unclaimed).collect::<Vec<u32>>() {
            let Some(link) = inventory.link(*ifindex) else {
                continue;
            };
            if let Some(old) = self.ifindex_of(&link.name).filter(|old| old != ifindex) {
                self.names.remove(&old);
                for list in self.routes.values_mut().chain(self.broadcasts.values_mut()) {
                    for route in list {
                        *route = route.rerouted(|hop| if hop.oif == old { *ifindex } else { hop.oif });
                    }
                }
                for nexthop in self.nexthops.values_mut().filter(|nexthop| nexthop.oif() == Some(old)) {
                    *nexthop = nexthop.by(*ifindex);
                }
                for original in self.addresses.values_mut().filter(|o| o.home == link.name) {
                    original.address = original.address.clone().rebound(*ifindex);
                }
            }
            self.names.insert(*ifindex, link.name.clone());
        }
    }
}

/// What stands for a nexthop object among the identities of routes, which begin with their family.
pub(super) fn presence(nexthop: u32) -> Vec<u8> {
    [&[0_u8][..], &nexthop.to_ne_bytes()].concat()
}

/// What is known by the present name already is newer.
fn rename_keys<V>(map: &mut BTreeMap<String, V>, renames: &Renames) {
    let (former, present): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(map).into_iter().partition(|(name, _)| renames.contains_key(name));
    map.extend(former.into_iter().map(|(name, value)| (renamed(renames, &name), value)));
    map.extend(present);
}

fn member_by_name(inventory: &Inventory, wanted: &Wanted, name: &str) -> Option<MemberId> {
    let ifindex = inventory.link_by_name(name)?.ifindex;
    wanted.members.iter().find(|link| link.ifindex == ifindex).map(|link| link.member)
}

fn note(names: &mut BTreeSet<String>, name: &str, holds: bool) {
    if holds {
        names.insert(name.to_owned());
    } else {
        names.remove(name);
    }
}

#[cfg(test)]
mod tests;
