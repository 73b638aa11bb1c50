//! Which routes are spread, over which members, and with which source address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{Family, GroupId, MemberId},
};
use ipnet::IpNet;
use rtnetlink::packet_route::link::LinkFlags;

use super::{rules::main_priority, table};
use crate::net::{
    base::Base,
    inventory::{Inventory, Link},
    plan::{MemberLink, Wanted, placement::Placement, up_link},
    route::{Hop, Route, RouteKey},
    rule::TABLE_MAIN,
};

/// Routes that are spread. Each costs another; a host with more routes than this is a router with a full table.
const MAX_SPREAD: usize = 1024;

/// Why a route is not spread.
const NO_SOURCE: &str = "no data address is its source";

/// What routes share that can use one group of nexthop objects. On-link ways come first: gateways are reached by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The IPMP group.
    pub group: GroupId,
    /// The family of gateway and destination.
    pub v6: bool,
    /// None: the destinations are on link.
    pub gateway: Option<IpAddr>,
    /// The data subnet in which the gateway or the destination is; none for an IPv6 link-local gateway.
    pub subnet: Option<IpNet>,
    /// IPv6: the interface that the route of others names at home. Its place in the group decides on the source.
    pub home: u32,
}

/// How a way is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// The interfaces that flows are spread over. For IPv6 the one that the route of others leaves by is the first.
    pub members: Vec<u32>,
    /// What goes this way.
    pub companions: Vec<Companion>,
}

/// A route of ours to the destination of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    base: Route,
    source: Option<IpAddr>,
}

impl Companion {
    /// What it competes under.
    pub fn key(&self) -> RouteKey {
        let key = self.base.key();
        RouteKey { table: table(&key.dst), ..key }
    }

    /// It, by a group of nexthop objects.
    pub fn by(&self, group: u32) -> Option<Route> {
        self.base.companion(self.key().table, group, self.source)
    }
}

/// All ways, and what is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Those to be had.
    pub ways: BTreeMap<Way, Use>,
    /// The members of the groups whose flows are spread, by name.
    pub bound: BTreeSet<String>,
    /// Routes that leave by a member only as they say themselves, with the reason, as text for people.
    pub unspread: BTreeSet<String>,
}

/// What a route becomes.
struct Spread {
    way: Way,
    members: Vec<u32>,
    source: Option<IpAddr>,
}

/// From the routes of others as they shall be, and the active members.
pub fn ways(inventory: &Inventory, base: &Base, wanted: &Wanted) -> Ways {
    let mut ways = Ways::default();
    if wanted.outbound.is_empty() {
        return ways;
    }
    let planner = Planner {
        inventory,
        base,
        wanted,
        placement: Placement::new(base, wanted),
        obstacles: Obstacles::of(inventory),
    };
    let mut count = 0;
    for key in planner.in_force() {
        let Some((route, placed)) = planner.first(&key) else { continue };
        let spread = match planner.spread(route, &placed) {
            Ok(Some(_)) if count == MAX_SPREAD => {
                ways.unspread.insert(format!("more than {MAX_SPREAD} routes: the rest is not spread"));
                break;
            }
            Ok(Some(spread)) => spread,
            Ok(None) => continue,
            Err(why) => {
                ways.unspread.insert(format!("{placed}: {why}"));
                continue;
            }
        };
        count += 1;
        let of_group = wanted.members.iter().filter(|member| member.group == spread.way.group);
        let names =
            of_group.filter_map(|member| inventory.link(member.ifindex)).map(|link| link.name.clone());
        ways.bound.extend(names);
        let entry = ways.ways.entry(spread.way).or_default();
        entry.members = spread.members;
        entry.companions.push(Companion { base: route.clone(), source: spread.source });
    }
    ways
}

/// What rules by the length of a prefix cannot do justice to.
#[derive(Default)]
struct Obstacles {
    /// Destinations that `main` has more than once, by source or type of service: length and metric do not tell these apart.
    chosen_otherwise: BTreeSet<IpNet>,
    /// From these lookups go on to the rules behind `main`, where ours must not be taken for such.
    thrown: Vec<IpNet>,
    /// Tables in which somebody else has routes.
    used: BTreeSet<u32>,
}

impl Obstacles {
    fn of(inventory: &Inventory) -> Self {
        let mut obstacles = Self::default();
        for (key, list) in &inventory.routes {
            obstacles.used.insert(key.table);
            if key.table != TABLE_MAIN {
                continue;
            }
            if key.src.is_some() || key.tos != 0 {
                obstacles.chosen_otherwise.insert(key.dst.trunc());
            }
            if list.iter().any(Route::is_throw) {
                obstacles.thrown.push(key.dst);
            }
        }
        obstacles
    }

    fn in_the_way_of(&self, dst: &IpNet) -> Result<(), &'static str> {
        if self.chosen_otherwise.contains(&dst.trunc()) {
            return Err("routes to its destination are chosen by source or type of service, too");
        }
        if self.thrown.iter().any(|net| dst.contains(net)) {
            return Err("a route of type throw lies within");
        }
        if self.used.contains(&table(dst)) {
            return Err("somebody else uses the table that ours would be in");
        }
        Ok(())
    }
}

struct Planner<'a> {
    inventory: &'a Inventory,
    base: &'a Base,
    wanted: &'a Wanted,
    placement: Placement<'a>,
    obstacles: Obstacles,
}

impl Planner<'_> {
    /// For each destination the list of the lowest metric, whoever made it, if a member is in it.
    fn in_force(&self) -> Vec<RouteKey> {
        let destinations: BTreeSet<RouteKey> =
            self.base.keys().map(|key| RouteKey { priority: 0, ..key }).collect();
        let lowest = |key: RouteKey| {
            let all = || key..=RouteKey { priority: u32::MAX, ..key };
            let now = self.inventory.routes.range(all()).map(|(key, _)| *key).next();
            let known = self.base.routes.range(all()).map(|(key, _)| *key).next();
            now.into_iter().chain(known).min()
        };
        destinations.into_iter().filter_map(lowest).collect()
    }

    /// The route of a list that the kernel uses, as it is at home and where it shall be.
    fn first(&self, key: &RouteKey) -> Option<(&Route, Route)> {
        let placed = self.base.routes(key).iter().map(|route| (route, self.placement.place(route)));
        placed.min_by_key(|(_, placed)| self.placement.demotes(placed))
    }

    /// How a route is spread. None: it is not ours to spread, or there is nothing to be spread. Else why not.
    fn spread(&self, route: &Route, placed: &Route) -> Result<Option<Spread>, &'static str> {
        let key = route.key();
        let leader = placed.resolved_hops().iter().find_map(|hop| self.outbound(hop.oif));
        let (Some(leader), Some(home)) = (leader, route.resolved_hops().into_iter().next()) else {
            return Ok(None);
        };
        let of_group = |member: &&MemberLink| member.group == leader.group;
        let alone = self.wanted.members.iter().filter(of_group).count() < 2;
        if route.is_left_alone() || alone {
            return Ok(None);
        }
        if let Some(why) = route.unspreadable() {
            return Err(why);
        }
        if key.table != TABLE_MAIN {
            return Err("it is in another table than main");
        }
        self.obstacles.in_the_way_of(&key.dst)?;
        main_priority(&self.inventory.ours.rules, route.family())?;
        let group = leader.group;
        let subnet = self.subnet(group, route, &home)?;
        let source = self.source(leader, route, &home)?;
        let v6 = route.family() == Family::V6;
        let mut members = self.members(group, v6, subnet);
        let Some(place) = members.iter().position(|ifindex| *ifindex == leader.ifindex) else {
            return Err("the interface that it leaves by has no address to ask neighbours with");
        };
        if v6 {
            members.get_mut(..=place).unwrap_or_default().rotate_right(1);
        }
        // The kernel takes no nexthop object by an interface without carrier.
        let carries = |link: &Link| link.flags.contains(LinkFlags::LowerUp);
        members.retain(|ifindex| self.inventory.link(*ifindex).is_some_and(carries));
        let way = Way { group, v6, gateway: home.gateway, subnet, home: if v6 { home.oif } else { 0 } };
        Ok(Some(Spread { way, members, source }))
    }

    /// The member by this interface, if outbound flows are to use it.
    fn outbound(&self, ifindex: u32) -> Option<MemberLink> {
        let member = self.wanted.members.iter().find(|member| member.ifindex == ifindex)?;
        self.wanted.outbound.contains(&member.member).then_some(*member)
    }

    /// The data addresses that a group serves.
    fn data(&self, group: GroupId) -> impl Iterator<Item = &PlacedAddress> {
        let is_in = move |member: MemberId| {
            self.wanted.members.iter().any(|link| link.member == member && link.group == group)
        };
        self.wanted.data.iter().filter(move |placed| is_in(placed.on))
    }

    fn is_data(&self, group: GroupId, ip: IpAddr) -> bool {
        self.data(group).any(|placed| placed.address.addr() == ip)
    }

    /// The data subnet that a route leads into first.
    fn subnet(&self, group: GroupId, route: &Route, home: &Hop) -> Result<Option<IpNet>, &'static str> {
        let dst = route.key().dst;
        let nets = || self.data(group).map(|placed| placed.address.trunc());
        let narrowest = |ip: IpAddr| nets().filter(|net| net.contains(&ip)).max_by_key(IpNet::prefix_len);
        match home.gateway {
            Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Ok(None),
            Some(ip) => narrowest(ip).map(Some).ok_or("its gateway is in no data subnet"),
            None => {
                let by_source = || route.prefsrc().filter(|ip| self.is_data(group, *ip)).map(|_| dst.trunc());
                let found = narrowest(dst.addr()).filter(|net| net.contains(&dst)).or_else(by_source);
                found.map(Some).ok_or("its destination is no data subnet")
            }
        }
    }

    /// The source address to name. IPv4: what the kernel would choose by the interface that the route names at home
    /// (`inet_select_addr` in net/ipv4/devinet.c). IPv6: an administrator's choice, else the kernel's.
    fn source(&self, leader: MemberLink, route: &Route, home: &Hop) -> Result<Option<IpAddr>, &'static str> {
        if let Some(ip) = route.prefsrc() {
            return if self.is_data(leader.group, ip) {
                Ok(Some(ip))
            } else {
                Err("its source is no data address")
            };
        }
        if route.family() == Family::V6 {
            let mut there = self.wanted.data.iter().filter(|placed| placed.on == leader.member);
            return there.any(|placed| placed.address.addr().is_ipv6()).then_some(None).ok_or(NO_SOURCE);
        }
        let name = self.base.names.get(&home.oif).ok_or(NO_SOURCE)?;
        let mut own = self.base.at_home(name);
        own.retain(|net| net.addr().is_ipv4() && self.is_data(leader.group, net.addr()));
        let towards = home.gateway.unwrap_or_else(|| route.key().dst.addr());
        let near = own.iter().find(|net| net.contains(&towards));
        near.or_else(|| own.first()).map(|net| Some(net.addr())).ok_or(NO_SOURCE)
    }

    /// The members that can reach neighbours in a subnet. An ARP request names an address of the interface that it leaves
    /// by; where there is none the kernel names another's, which then seems to have moved. IPv6 asks with the link-local
    /// address.
    fn members(&self, group: GroupId, v6: bool, subnet: Option<IpNet>) -> Vec<u32> {
        let reaches = |member: &MemberLink| {
            let data = self.wanted.data.iter().filter(|placed| placed.on == member.member);
            let test = self.wanted.test.iter().filter(|(owner, _)| *owner == member.member);
            let mut own = data.map(|placed| placed.address.addr()).chain(test.map(|(_, ip)| *ip));
            if v6 {
                let mut there = self.inventory.addresses(member.ifindex).iter();
                return there.any(|address| address.is_link_local_v6() && address.is_usable());
            }
            subnet.is_some_and(|subnet| own.any(|ip| subnet.contains(&ip)))
        };
        let links = self.wanted.outbound.iter().filter_map(|member| {
            self.wanted.members.iter().find(|link| link.member == *member && link.group == group)
        });
        let up = |member: &&MemberLink| up_link(self.inventory, Some(member.ifindex)).is_some();
        links.filter(up).filter(|member| reaches(member)).map(|member| member.ifindex).collect()
    }
}
