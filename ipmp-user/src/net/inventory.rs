//! What the kernel has: links, addresses, routes, neighbours.

use std::{collections::BTreeMap, net::IpAddr};

use ipmp_common::engine::{ids::Family, time::Timestamp};
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State},
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::{RouteMessage, RouteProtocol},
};

mod questions;
mod search;

pub use self::search::RouterSearch;
use super::{
    NetError,
    address::Address,
    apply::monotonic,
    monitor::Change,
    nexthop::{self, Nexthop},
    resolve::NDA_PROTO_IPMP,
    route::{Route, RouteKey, TABLE_LOCAL},
    rule::Rule,
    socket::{Socket, Table},
    spread::{Ours, PROTO_IPMP},
};

/// Routes searched for those of an interface that went: some tenths of a millisecond.
const MAX_SEARCHED: usize = 2000;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// `IFF_*`.
    pub flags: LinkFlags,
    /// RFC 2863 operational state.
    pub operstate: Option<State>,
    /// Hardware address, if it is an Ethernet-like one.
    pub mac: Option<[u8; 6]>,
    /// The one it was made with (`IFLA_PERM_ADDRESS`, kernel 5.6); a virtual device has none.
    pub permanent_mac: Option<[u8; 6]>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// `veth`, `bond`, …; none for a physical device.
    pub kind: Option<String>,
    /// `ARPHRD_*`.
    pub link_type: u16,
    /// The interface underneath (or the peer, for veth).
    pub iflink: Option<u32>,
    /// How often the carrier was lost (`IFLA_CARRIER_DOWN_COUNT`, kernel 4.16): flaps that netlink merged show here.
    pub carrier_down_count: Option<u32>,
    /// What it is a port of: a bridge, a bond, a VRF.
    pub master: Option<u32>,
}

impl Link {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
    fn from_message(message: &LinkMessage) -> Self {
        let mut link = Self {
            ifindex: message.header.index,
            name: String::new(),
            flags: message.header.flags,
            operstate: None,
            mac: None,
            permanent_mac: None,
            mtu: 0,
            kind: None,
            link_type: u16::from(message.header.link_layer_type),
            iflink: None,
            carrier_down_count: None,
            master: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::OperState(state) => link.operstate = Some(*state),
                LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
                LinkAttribute::PermAddress(mac) => link.permanent_mac = mac.as_slice().try_into().ok(),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Link(iflink) => link.iflink = Some(*iflink),
                LinkAttribute::CarrierDownCount(count) => link.carrier_down_count = Some(*count),
                LinkAttribute::Controller(master) => link.master = Some(*master),
                LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind),
                _ => {}
            }
        }
        link
    }

    /// Administratively up.
    pub const fn admin_up(&self) -> bool {
        self.flags.contains(LinkFlags::Up)
    }

    /// Whether it carries traffic: carrier present and operational state not below up (DORMANT, as before 802.1X
    /// has finished, is not up). None where the driver cannot tell (state "unknown" without a carrier flag).
    pub fn up(&self) -> Option<bool> {
        if !self.admin_up() {
            return Some(false);
        }
        match self.operstate {
            None | Some(State::Unknown) => self.flags.contains(LinkFlags::LowerUp).then_some(true),
            Some(State::Up) => Some(true),
            Some(_) => Some(false),
        }
    }
}

fn kind(info: &LinkInfo) -> Option<String> {
    if let LinkInfo::Kind(kind) = info { Some(InfoKind::to_string(kind)) } else { None }
}

/// A neighbour's hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The last one known, kept although resolution has failed since.
    pub mac: Option<[u8; 6]>,
    /// Its state now (`NUD_*`); `None` = the kernel has no entry.
    pub state: NeighbourState,
    /// Whether it told us that it is a router (`NTF_ROUTER`, IPv6).
    pub router: bool,
    /// Whether somebody keeps the entry up: a managed or externally learned one (`NTF_EXT_MANAGED`, `NTF_EXT_LEARNED`).
    pub kept: bool,
    /// Whether that is the kernel, at our request.
    pub ours: bool,
}

impl Neighbour {
    /// Whether the kernel holds the hardware address to be good, or good until shown otherwise.
    pub const fn is_valid(&self) -> bool {
        matches!(
            self.state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Noarp
                | NeighbourState::Permanent
        )
    }
}

/// The kernel's view, in ordered maps.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// When it was read: what is left of the lives of addresses is as of then.
    pub(crate) read_at: Timestamp,
    pub(crate) links: BTreeMap<u32, Link>,
    pub(crate) addresses: BTreeMap<u32, Vec<Address>>,
    pub(crate) routes: BTreeMap<RouteKey, Vec<Route>>,
    /// Broadcast entries of the local table, apart from the routes: nobody but the kernel makes or moves them.
    pub(crate) broadcasts: BTreeMap<RouteKey, Vec<Route>>,
    pub(crate) neighbours: BTreeMap<(u32, IpAddr), Neighbour>,
    /// Nexthop objects that can be moved, as of the last dump.
    pub(crate) nexthops: BTreeMap<u32, Nexthop>,
    /// What we made to spread outbound flows, which is not among the routes and objects of others.
    pub(crate) ours: Ours,
    /// Routes may have gone without a word, and there are too many to look for them: they are to be read anew.
    pub(crate) doubtful: bool,
}

impl Inventory {
    /// Reads everything that a monitor keeps: all but nexthop objects.
    pub fn dump(socket: &mut Socket) -> Result<Self, NetError> {
        let mut fresh = Self::dump_tables(socket, &[Table::Links, Table::Addresses, Table::Neighbours])?;
        fresh.reload_routes(socket)?;
        Ok(fresh)
    }

    /// Reads what placing addresses needs: links, addresses, routes, nexthop objects and rules.
    pub fn dump_without_neighbours(socket: &mut Socket) -> Result<Self, NetError> {
        let mut fresh = Self::dump_tables(socket, &[Table::Links, Table::Addresses])?;
        fresh.reload_routes(socket)?;
        let nexthops =
            socket.dump_nexthops(|payload| Some((nexthop::id_of(payload)?, Nexthop::from_bytes(payload))))?;
        fresh.ours.taken = nexthops.iter().map(|(id, _)| *id).collect();
        fresh.nexthops = nexthops.into_iter().filter_map(|(id, nexthop)| Some((id, nexthop?))).collect();
        fresh.ours.nexthops =
            fresh.nexthops.extract_if(.., |_, nexthop| nexthop.protocol() == PROTO_IPMP).collect();
        fresh.ours.rules = rules(socket)?;
        Ok(fresh)
    }

    /// Reads these tables; for routes see [`Self::reload_routes`].
    pub fn dump_tables(socket: &mut Socket, tables: &[Table]) -> Result<Self, NetError> {
        let mut fresh = Self { read_at: monotonic(), ..Self::default() };
        for table in tables {
            for message in socket.dump(*table)? {
                fresh.take_dumped(message);
            }
        }
        Ok(fresh)
    }

    /// Reads the routes anew; their order within a key is the kernel's.
    pub fn reload_routes(&mut self, socket: &mut Socket) -> Result<(), NetError> {
        let mut messages = socket.dump(Table::Routes(Family::V4))?;
        messages.extend(socket.dump(Table::Routes(Family::V6))?);
        self.routes.clear();
        self.broadcasts.clear();
        self.ours.routes.clear();
        for message in messages {
            self.update(message);
        }
        Ok(())
    }

    /// Takes in a notification of a route that took another's place; it does not say whose. True if that is known
    /// nevertheless, because there was only one; else the routes must be read anew.
    pub fn replace_route(&mut self, message: RouteMessage) -> bool {
        let routes = Route::from_message(message.clone());
        if routes.iter().any(is_ours) {
            self.new_route(message);
            return true;
        }
        let Some(key) = routes.first().map(Route::key).filter(|key| key.table != TABLE_LOCAL) else {
            return false;
        };
        match self.routes.get_mut(&key) {
            Some(list) if list.len() == 1 => {
                *list = routes;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes in one message of a dump into an empty inventory: no address comes twice, so none is looked for.
    fn take_dumped(&mut self, message: RouteNetlinkMessage) {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            if let Some(address) = Address::from_message(message) {
                self.addresses.entry(address.ifindex()).or_default().push(address);
            }
        } else {
            self.update(message);
        }
    }

    /// Takes in one message of a dump or a notification.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
    pub fn update(&mut self, message: RouteNetlinkMessage) -> Option<Change> {
        match message {
            // A bridge tells of its ports in the same group (br_ifinfo_notify in net/bridge/br_netlink.c): a port that
            // leaves it is not gone.
            RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message)
                if message.header.interface_family == AddressFamily::Bridge =>
            {
                None
            }
            RouteNetlinkMessage::NewLink(message) => Some(self.new_link(&message)),
            RouteNetlinkMessage::DelLink(message) => self.del_link(&message),
            RouteNetlinkMessage::NewAddress(message) => {
                let address = Address::from_message(message)?;
                let ifindex = address.ifindex();
                let list = self.addresses.entry(ifindex).or_default();
                match list.iter_mut().find(|a| a.net() == address.net()) {
                    Some(known) if *known == address => return None,
                    Some(known) => *known = address,
                    None => list.push(address),
                }
                Some(Change::Address { ifindex })
            }
            RouteNetlinkMessage::DelAddress(message) => {
                let address = Address::from_message(message)?;
                let list = self.addresses.get_mut(&address.ifindex())?;
                list.retain(|a| a.net() != address.net());
                Some(Change::Address { ifindex: address.ifindex() })
            }
            RouteNetlinkMessage::NewRoute(message) => self.new_route(message),
            RouteNetlinkMessage::DelRoute(message) => self.del_route(message),
            RouteNetlinkMessage::NewNeighbour(message) => self.neighbour_message(&message, false),
            RouteNetlinkMessage::DelNeighbour(message) => self.neighbour_message(&message, true),
            _ => None,
        }
    }

    fn new_link(&mut self, message: &LinkMessage) -> Change {
        let link = Link::from_message(message);
        let change =
            Change::Link { ifindex: link.ifindex, name: link.name.clone(), up: link.up(), gone: false };
        if !link.admin_up() && self.links.get(&link.ifindex).is_some_and(Link::admin_up) {
            self.drop_routes_of(link.ifindex);
        }
        self.links.insert(link.ifindex, link);
        change
    }

    fn del_link(&mut self, message: &LinkMessage) -> Option<Change> {
        let ifindex = message.header.index;
        let link = self.links.remove(&ifindex)?;
        self.addresses.remove(&ifindex);
        self.neighbours.retain(|(on, _), _| *on != ifindex);
        self.drop_routes_of(ifindex);
        Some(Change::Link { ifindex, name: link.name, up: Some(false), gone: true })
    }

    /// The kernel does not announce each route that goes with an interface, or when it is set down (IPv4).
    fn drop_routes_of(&mut self, ifindex: u32) {
        if self.routes.len() > MAX_SEARCHED {
            self.doubtful = true;
            return;
        }
        for routes in [&mut self.routes, &mut self.broadcasts] {
            routes.retain(|_, list| {
                list.retain(|route| !route.uses(ifindex));
                !list.is_empty()
            });
        }
    }

    fn new_route(&mut self, message: RouteMessage) -> Option<Change> {
        let mut changed = false;
        for route in Route::from_message(message) {
            let broadcast = route.is_broadcast();
            if is_ours(&route) {
                changed |= self.ours.routes.insert(route.key(), route.clone()).as_ref() != Some(&route);
                continue;
            }
            if route.key().table == TABLE_LOCAL && !broadcast {
                continue;
            }
            let route = if self.came_with_an_address(&route) { route.without_end() } else { route };
            let list = self.routes_like(&route).entry(route.key()).or_default();
            if !list.contains(&route) {
                list.push(route);
                changed |= !broadcast;
            }
        }
        changed.then_some(Change::Route)
    }

    fn del_route(&mut self, message: RouteMessage) -> Option<Change> {
        let mut changed = false;
        for route in Route::from_message(message) {
            if is_ours(&route) {
                changed |= self.ours.routes.remove(&route.key()).is_some();
                continue;
            }
            let routes = self.routes_like(&route);
            if let Some(list) = routes.get_mut(&route.key()) {
                let before = list.len();
                list.retain(|r| *r != route);
                let removed = list.len() != before;
                if list.is_empty() {
                    routes.remove(&route.key());
                }
                changed |= removed && !route.is_broadcast();
            }
        }
        changed.then_some(Change::Route)
    }

    fn routes_like(&mut self, route: &Route) -> &mut BTreeMap<RouteKey, Vec<Route>> {
        if route.is_broadcast() { &mut self.broadcasts } else { &mut self.routes }
    }

    fn neighbour_message(&mut self, message: &NeighbourMessage, deleted: bool) -> Option<Change> {
        let ifindex = message.header.ifindex;
        let ip = message.attributes.iter().find_map(neighbour_ip)?;
        let known = self.neighbours.get(&(ifindex, ip)).copied();
        let named = message.attributes.iter().find_map(|a| {
            if let NeighbourAttribute::LinkLayerAddress(mac) = a {
                mac.as_slice().try_into().ok()
            } else {
                None
            }
        });
        let state = if deleted { NeighbourState::None } else { message.header.state };
        // An entry that failed or is being resolved anew carries no address, or a stale one of zeros.
        let mac = named.filter(|mac| *mac != [0; 6]).or_else(|| known.and_then(|k| k.mac));
        let router = message.header.flags.contains(NeighbourFlags::Router);
        let managed = message.attributes.iter().any(
            |a| matches!(a, NeighbourAttribute::ExtFlags(flags) if flags.contains(NeighbourExtFlags::Managed)),
        );
        let kept = managed || message.header.flags.contains(NeighbourFlags::ExtLearned);
        let mark = NeighbourAttribute::Protocol(RouteProtocol::from(NDA_PROTO_IPMP));
        let ours = managed && message.attributes.contains(&mark);
        let neighbour = Neighbour { mac, state, router, kept, ours };
        self.neighbours.insert((ifindex, ip), neighbour);
        let moved = known.and_then(|known| known.mac).is_some_and(|former| Some(former) != mac);
        (known != Some(neighbour)).then_some(Change::Neighbour { ifindex, ip, moved })
    }
}

/// All policy rules, each family's in their order. A kernel without policy routing, or without the family, has none.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "nothing but rules comes in answer to the question for them"
)]
fn rules(socket: &mut Socket) -> Result<Vec<Rule>, NetError> {
    let rule = |message| match message {
        RouteNetlinkMessage::NewRule(message) => Rule::from_message(message),
        _ => None,
    };
    let mut rules = Vec::new();
    for family in Family::ALL {
        match socket.dump(Table::Rules(family)) {
            Ok(messages) => rules.extend(messages.into_iter().filter_map(rule)),
            Err(NetError::Refused { errno: libc::EOPNOTSUPP | libc::EAFNOSUPPORT, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rules)
}

/// Whether we made a route, to spread outbound flows.
fn is_ours(route: &Route) -> bool {
    route.protocol() == RouteProtocol::from(PROTO_IPMP)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
pub(super) fn neighbour_ip(attribute: &NeighbourAttribute) -> Option<IpAddr> {
    match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
