//! From what the kernel has of ours to what it shall have.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipmp_common::engine::ids::Family;

use super::{Change, Ours, Use, Way, Ways, rules};
use crate::net::{
    nexthop::Nexthop,
    route::{Route, RouteKey},
    rule::Rule,
};

/// Where free numbers are looked for: above those that people and kernels give, which begin with 1.
const FIRST_ID: u32 = u32::from_be_bytes(*b"IPMP");

/// The groups of nexthop objects that ways use already: that of the first route of ours that goes such a way.
pub fn claims(ours: &Ours, ways: &Ways) -> BTreeMap<Way, u32> {
    let mut claims = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    for (way, used) in &ways.ways {
        let routes = used.companions.iter().filter_map(|companion| ours.routes.get(&companion.key()));
        let groups = routes.filter_map(Route::nexthop_id);
        let known = |id: &u32| ours.nexthops.get(id).is_some_and(|object| object.oif().is_none());
        let found = groups.filter(known).find(|id| !claimed.contains(id));
        if let Some(id) = found {
            claimed.insert(id);
            claims.insert(*way, id);
        }
    }
    claims
}

/// What must not wait for addresses: groups lose the members that are wanted no longer, in one message each. One that would
/// lose all gets those that are wanted.
pub fn narrowing(ours: &Ours, ways: &Ways) -> Vec<Change> {
    let mut builder = Builder::new(ours);
    for (way, group) in claims(ours, ways) {
        let Some(used) = ways.ways.get(&way) else { continue };
        let there = ours.interfaces(group);
        let kept: Vec<u32> = used.members.iter().copied().filter(|member| there.contains(member)).collect();
        if kept.len() == there.len() {
            continue;
        }
        let members = if kept.is_empty() { used.members.clone() } else { kept };
        builder.group(&way, &members, Some(group), true);
    }
    builder.changes
}

/// Everything.
pub fn all(ours: &Ours, ways: &Ways, resilient: bool) -> Vec<Change> {
    let mut builder = Builder::new(ours);
    let claims = claims(ours, ways);
    let mut wanted: BTreeSet<RouteKey> = BTreeSet::new();
    for (way, used) in &ways.ways {
        let claim = claims.get(way).copied();
        // What has been spread stays so with one member: the next change is one message again.
        if used.members.len() < 2 && (claim.is_none() || used.members.is_empty()) {
            continue;
        }
        let group = builder.group(way, &used.members, claim, resilient);
        wanted.extend(builder.routes(used, group));
    }
    builder.rules(&wanted, &ways.bound);
    builder.drop_others(&wanted);
    builder.changes
}

struct Builder<'a> {
    ours: &'a Ours,
    changes: Vec<Change>,
    singles: BTreeMap<(bool, u32, Option<IpAddr>), u32>,
    taken: BTreeSet<u32>,
    used: BTreeSet<u32>,
}

impl<'a> Builder<'a> {
    fn new(ours: &'a Ours) -> Self {
        let single = |(id, object): (&u32, &Nexthop)| {
            let (oif, gateway) = (object.oif()?, object.gateway());
            // One that is otherwise somebody altered.
            let sound = *object == Nexthop::single(*id, object.is_v6(), oif, gateway);
            sound.then_some(((object.is_v6(), oif, gateway), *id))
        };
        Self {
            ours,
            changes: Vec::new(),
            singles: ours.nexthops.iter().filter_map(single).collect(),
            taken: ours.taken.clone(),
            used: BTreeSet::new(),
        }
    }

    /// Sees to a group with these members; returns its number.
    fn group(&mut self, way: &Way, members: &[u32], claim: Option<u32>, resilient: bool) -> u32 {
        let singles: Vec<u32> = members.iter().map(|oif| self.single(way, *oif)).collect();
        let there = claim.and_then(|id| self.ours.nexthops.get(&id));
        let id = claim.unwrap_or_else(|| self.free());
        // The kind of a group stays.
        let group = Nexthop::group(id, &singles, there.map_or(resilient, Nexthop::is_resilient));
        match there {
            Some(there) if *there == group => {}
            Some(_) => self.changes.push(Change::Alter(group)),
            None => self.changes.push(Change::Make(group)),
        }
        self.used.insert(id);
        id
    }

    fn single(&mut self, way: &Way, oif: u32) -> u32 {
        let content = (way.v6, oif, way.gateway);
        let id = self.singles.get(&content).copied().unwrap_or_else(|| {
            let id = self.free();
            self.changes.push(Change::Make(Nexthop::single(id, way.v6, oif, way.gateway)));
            self.singles.insert(content, id);
            id
        });
        self.used.insert(id);
        id
    }

    fn free(&mut self) -> u32 {
        let id = (FIRST_ID..=u32::MAX).find(|id| !self.taken.contains(id)).unwrap_or(FIRST_ID);
        self.taken.insert(id);
        id
    }

    /// Sees to the routes by a group; returns what they compete under.
    fn routes(&mut self, used: &Use, group: u32) -> Vec<RouteKey> {
        let mut keys = Vec::with_capacity(used.companions.len());
        for companion in &used.companions {
            let (Some(route), key) = (companion.by(group), companion.key()) else { continue };
            keys.push(key);
            match self.ours.routes.get(&key) {
                Some(there) if *there == route => {}
                Some(_) => self.changes.push(Change::Replace(route)),
                None => self.changes.push(Change::Add(route)),
            }
        }
        keys
    }

    /// Sees to the rules by which packets come to the routes.
    fn rules(&mut self, wanted: &BTreeSet<RouteKey>, bound: &BTreeSet<String>) {
        let others = &self.ours.others;
        // Which interfaces another daemon's groups have is not known, but that they were seen to.
        let theirs = self.ours.rules.iter().filter(|rule| rule.is_ours() && !others.is_empty());
        let bound: BTreeSet<String> = bound
            .iter()
            .map(String::as_str)
            .chain(theirs.filter_map(Rule::bound_to))
            .map(str::to_owned)
            .collect();
        let own = wanted.iter().map(|key| (Family::of(key.dst.addr()), key.dst.prefix_len()));
        let lengths: BTreeSet<(Family, u8)> = own.chain(others.iter().copied()).collect();
        for family in Family::ALL {
            let lengths = lengths.iter().filter(|(of, _)| *of == family).map(|(_, length)| *length).collect();
            self.changes.extend(rules::changes(&self.ours.rules, family, &lengths, &bound));
        }
    }

    /// Routes first, then the groups that they go by, then the objects of those.
    fn drop_others(&mut self, wanted: &BTreeSet<RouteKey>) {
        let routes = self.ours.routes.iter().filter(|(key, _)| !wanted.contains(key));
        self.changes.extend(routes.map(|(_, route)| Change::Delete(route.clone())));
        let others = || self.ours.nexthops.iter().filter(|(id, _)| !self.used.contains(id));
        let groups = others().filter(|(_, object)| object.oif().is_none());
        let singles = others().filter(|(_, object)| object.oif().is_some());
        let dropped: Vec<Change> = groups.chain(singles).map(|(id, _)| Change::Drop(*id)).collect();
        self.changes.extend(dropped);
    }
}
