//! Nexthop objects (`ip nexthop`, kernel 5.3 and later): many routes refer to one by its number, and move with it.
//!
//! The netlink crate does not know their messages: `struct nhmsg` and attributes, include/uapi/linux/nexthop.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::spread::PROTO_IPMP;

/// `RTM_NEWNEXTHOP`, `RTM_DELNEXTHOP`, `RTM_GETNEXTHOP`, `RTM_NEWNEXTHOPBUCKET`: include/uapi/linux/rtnetlink.h.
pub const NEW_NEXTHOP: u16 = 104;
pub(crate) const DEL_NEXTHOP: u16 = 105;
pub(crate) const GET_NEXTHOP: u16 = 106;
pub(crate) const NEW_BUCKET: u16 = 116;
/// Length of `struct nhmsg`: family, scope, protocol, reserved, flags (32 bits).
pub(crate) const HEADER: usize = 8;
/// `RTNH_F_ONLINK`: the one flag that is a wish; the others are findings of the moment.
const ONLINK: u32 = 4;

// NHA_…
const ID: u16 = 1;
const GROUP: u16 = 2;
const GROUP_TYPE: u16 = 3;
const OIF: u16 = 5;
const GATEWAY: u16 = 6;
const ENCAP_TYPE: u16 = 7;
const ENCAP: u16 = 8;
const RES_GROUP: u16 = 12;
// NHA_RES_GROUP_…
const BUCKETS: u16 = 1;
const IDLE_TIMER: u16 = 2;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NEXTHOP_GRP_TYPE_RES`, kernel 5.13 and later.
const RESILIENT: [u8; 2] = 1_u16.to_ne_bytes();
/// What describes an object of the kinds that are moved; the rest is left out of requests.
const DESCRIBING: [u16; 7] = [ID, GROUP, GROUP_TYPE, OIF, GATEWAY, ENCAP_TYPE, ENCAP];
/// `NLA_TYPE_MASK`.
const TYPE_MASK: u16 = 0x3fff;
/// Length of `struct nexthop_grp`, which begins with the number of a member.
const GROUP_ENTRY: usize = 8;

/// One object, in a canonical form that can be compared and sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nexthop {
    bytes: Vec<u8>,
}

impl Nexthop {
    /// From the payload of a message of the kernel, or from [`Self::to_bytes`]; none if it is of a kind that is not moved:
    /// blackholes, forwarding database entries, resilient groups unless they are ours.
    pub fn from_bytes(payload: &[u8]) -> Option<Self> {
        let (header, rest) = payload.split_at_checked(HEADER)?;
        let mut bytes = header.to_vec();
        // A scope in a request is refused (rtm_to_nh_config in net/ipv4/nexthop.c).
        *bytes.get_mut(1)? = 0;
        let flags = u32::from_ne_bytes(header.get(4..)?.try_into().ok()?) & ONLINK;
        bytes.get_mut(4..)?.copy_from_slice(&flags.to_ne_bytes());
        let mut attributes: Vec<(u16, &[u8])> =
            Attributes(rest).filter(|(kind, _)| DESCRIBING.contains(kind)).collect();
        attributes.sort_unstable();
        for (kind, value) in attributes {
            if kind == GROUP_TYPE && value != [0, 0] && bytes.get(2) != Some(&PROTO_IPMP) {
                return None;
            }
            attribute(&mut bytes, kind, value);
        }
        let nexthop = Self { bytes };
        (nexthop.id().is_some() && (nexthop.oif().is_some() || !nexthop.members().is_empty()))
            .then_some(nexthop)
    }

    /// One of ours: by an interface, over a gateway or to whoever is on link.
    pub fn single(id: u32, v6: bool, oif: u32, gateway: Option<IpAddr>) -> Self {
        let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
        // An IPv4 gateway need not be reachable by an address of the interface. For IPv6 the flag asks for more: the
        // first route to the gateway must leave by this interface (ip6_route_check_nh_onlink in net/ipv6/route.c).
        let onlink = if gateway.is_some() && !v6 { ONLINK } else { 0 };
        let mut bytes = vec![family as u8, 0, PROTO_IPMP, 0];
        bytes.extend(onlink.to_ne_bytes());
        attribute(&mut bytes, ID, &id.to_ne_bytes());
        attribute(&mut bytes, OIF, &oif.to_ne_bytes());
        match gateway {
            Some(IpAddr::V4(ip)) => attribute(&mut bytes, GATEWAY, &ip.octets()),
            Some(IpAddr::V6(ip)) => attribute(&mut bytes, GATEWAY, &ip.octets()),
            None => {}
        }
        Self { bytes }
    }

    /// A group of ours: flows are spread over these objects evenly.
    pub fn group(id: u32, members: &[u32], resilient: bool) -> Self {
        let mut bytes = vec![libc::AF_UNSPEC as u8, 0, PROTO_IPMP, 0, 0, 0, 0, 0];
        attribute(&mut bytes, ID, &id.to_ne_bytes());
        let entries: Vec<u8> =
            members.iter().flat_map(|member| [member.to_ne_bytes(), [0; GROUP_ENTRY / 2]].concat()).collect();
        attribute(&mut bytes, GROUP, &entries);
        attribute(&mut bytes, GROUP_TYPE, &if resilient { RESILIENT } else { [0; 2] });
        Self { bytes }
    }

    /// The payload of a request that makes it for the first time. A resilient group is told how many buckets it has, and
    /// after how many hundredths of a second (`USER_HZ`) one without traffic may change its object.
    pub fn creation(&self, buckets: u16, idle_cs: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if self.is_resilient() {
            let mut nested = Vec::new();
            attribute(&mut nested, BUCKETS, &buckets.to_ne_bytes());
            attribute(&mut nested, IDLE_TIMER, &idle_cs.to_ne_bytes());
            attribute(&mut bytes, RES_GROUP | NESTED, &nested);
        }
        bytes
    }

    /// The payload of a request that deletes the object of this number.
    pub(crate) fn deletion(id: u32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        attribute(&mut bytes, ID, &id.to_ne_bytes());
        bytes
    }

    /// Whether it is a group whose flows stay where they are as long as that works.
    pub fn is_resilient(&self) -> bool {
        self.value(GROUP_TYPE) == Some(&RESILIENT)
    }

    /// Who made it, in the numbers of routes' protocols.
    pub fn protocol(&self) -> u8 {
        self.bytes.get(2).copied().unwrap_or_default()
    }

    /// The payload of a request that makes it so.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its number; there is always one.
    pub fn id(&self) -> Option<u32> {
        self.word(ID)
    }

    /// Its interface; none if it is a group.
    pub fn oif(&self) -> Option<u32> {
        self.word(OIF)
    }

    /// Its gateway, if it is not on link itself.
    pub fn gateway(&self) -> Option<IpAddr> {
        let value = self.value(GATEWAY)?;
        let v4 = || value.try_into().ok().map(|octets: [u8; 4]| IpAddr::V4(Ipv4Addr::from(octets)));
        let v6 = || value.try_into().ok().map(|octets: [u8; 16]| IpAddr::V6(Ipv6Addr::from(octets)));
        v4().or_else(v6)
    }

    /// Whether its gateway is taken to be on link although no route says so.
    pub fn is_onlink(&self) -> bool {
        self.bytes.get(4..HEADER).is_some_and(|flags| *flags == ONLINK.to_ne_bytes())
    }

    /// Whether it is for IPv6.
    pub fn is_v6(&self) -> bool {
        self.bytes.first().is_some_and(|family| i32::from(*family) == libc::AF_INET6)
    }

    /// The numbers of a group's members.
    pub fn members(&self) -> Vec<u32> {
        let entries = self.value(GROUP).unwrap_or_default().chunks_exact(GROUP_ENTRY);
        entries.filter_map(|entry| Some(u32::from_ne_bytes(entry.get(..4)?.try_into().ok()?))).collect()
    }

    /// The same by another interface.
    #[must_use]
    pub fn by(&self, oif: u32) -> Self {
        let mut moved = self.clone();
        let mut at = HEADER;
        for (kind, value) in Attributes(self.bytes.get(HEADER..).unwrap_or_default()) {
            if kind == OIF
                && let Some(place) = moved.bytes.get_mut(at + 4..at + 8)
            {
                place.copy_from_slice(&oif.to_ne_bytes());
            }
            at += (value.len() + 4).next_multiple_of(4);
        }
        moved
    }

    fn value(&self, wanted: u16) -> Option<&[u8]> {
        let mut attributes = Attributes(self.bytes.get(HEADER..)?);
        attributes.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    fn word(&self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value(kind)?.try_into().ok()?))
    }
}

/// The number in a message of the kernel about any kind of object.
pub(crate) fn id_of(payload: &[u8]) -> Option<u32> {
    let value = Attributes(payload.get(HEADER..)?).find(|(kind, _)| *kind == ID)?.1;
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// `struct nlattr` and value; ends at the first that is cut short.
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let half = |at: usize| Some(u16::from_ne_bytes(self.0.get(at..at + 2)?.try_into().ok()?));
        let length = usize::from(half(0)?);
        let kind = half(2)? & TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl std::fmt::Display for Nexthop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "id {}", self.id().unwrap_or_default())?;
        if let Some(gateway) = self.gateway() {
            write!(f, " via {gateway}")?;
        }
        self.oif().map_or(Ok(()), |oif| write!(f, " ifindex {oif}"))
    }
}

#[cfg(test)]
mod tests;
