//! Routes that spread the traffic of another one.

use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteProtocol, RouteScope};

use super::Route;
use crate::net::spread::PROTO_IPMP;

/// `RT_TABLE_COMPAT`: the table's number has more than eight bits (`RTA_TABLE`).
const TABLE_COMPAT: u8 = 252;

impl Route {
    /// What keeps it from being said of a route by a nexthop object as well; none if all of it can.
    pub fn unspreadable(&self) -> Option<&'static str> {
        let plain = |attribute: &&RouteAttribute| {
            matches!(
                attribute,
                RouteAttribute::Table(_)
                    | RouteAttribute::Destination(_)
                    | RouteAttribute::Priority(_)
                    | RouteAttribute::Oif(_)
                    | RouteAttribute::Gateway(_)
                    | RouteAttribute::PrefSource(_)
                    | RouteAttribute::Metrics(_)
                    | RouteAttribute::Preference(_)
            )
        };
        let other = self.message.attributes.iter().find(|attribute| !plain(attribute))?;
        Some(if matches!(other, RouteAttribute::MultiPath(_)) {
            "it has several hops"
        } else if matches!(other, RouteAttribute::NhId(_)) {
            "it refers to a nexthop object"
        } else {
            "it has attributes that a route by a nexthop object cannot have"
        })
    }

    /// A route of ours to the same destination in another table, by a nexthop object; what else it says stays.
    ///
    /// Its scope is that of a route over a gateway also where it has none, so that gateways go on being looked for by the
    /// routes of others (`fib_check_nh_v4_gw` in `net/ipv4/fib_semantics.c`).
    #[must_use]
    pub fn companion(&self, table: u32, nexthop: u32, source: Option<IpAddr>) -> Option<Self> {
        let mut message = self.message.clone();
        message.header.table = TABLE_COMPAT;
        message.header.protocol = RouteProtocol::from(PROTO_IPMP);
        message.header.scope = RouteScope::Universe;
        message.header.flags = RouteFlags::empty();
        message.attributes.retain(|attribute| {
            matches!(
                attribute,
                RouteAttribute::Destination(_)
                    | RouteAttribute::Priority(_)
                    | RouteAttribute::Metrics(_)
                    | RouteAttribute::Preference(_)
            )
        });
        message.attributes.push(RouteAttribute::Table(table));
        message.attributes.push(RouteAttribute::NhId(nexthop));
        message.attributes.extend(source.map(|ip| RouteAttribute::PrefSource(RouteAddress::from(ip))));
        Self::canonical(message)
    }
}
