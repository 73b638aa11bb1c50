//! Policy rules (`ip rule`): which routing table is looked up for which packets, and in which order.

use ipmp_common::engine::ids::Family;
use rtnetlink::{
    packet_core::Nla,
    packet_route::{
        AddressFamily,
        rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
    },
};

use super::spread::PROTO_IPMP;

/// `RT_TABLE_MAIN`.
pub const TABLE_MAIN: u32 = 254;
/// What the kernel shows of a rule that suppresses nothing (`fib_nl_fill_rule` in `net/core/fib_rules.c`).
const NOTHING: u32 = u32::MAX;

/// A rule, in a canonical form that can be compared with what the kernel says and sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    message: RuleMessage,
}

/// What a rule of ours does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then<'a> {
    /// With packets to this prefix: on with the rules from this priority.
    PassTo(ipnet::Ipv4Net, u32),
    /// With packets of sockets bound to this interface: on with the rules from this priority.
    PassBound(&'a str, u32),
    /// Look up `main`, and take what it finds if its prefix is longer than this.
    Longer(u8),
    /// Look up this table.
    Lookup(u32),
}

impl Rule {
    /// None: it is of another family than the two.
    pub fn from_message(mut message: RuleMessage) -> Option<Self> {
        if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
            return None;
        }
        // Of the table the header has eight bits only; the other flags are findings of the moment.
        message.header.table = 0;
        message.header.flags &= RuleFlags::Invert;
        message.attributes.retain(|attribute| {
            !matches!(
                attribute,
                RuleAttribute::SuppressPrefixLen(NOTHING)
                    | RuleAttribute::SuppressIfGroup(NOTHING)
                    | RuleAttribute::Table(0)
            )
        });
        message.attributes.sort_by_key(Nla::kind);
        Some(Self { message })
    }

    /// One of ours, for packets that this host itself sends (`iif lo`).
    pub fn ours(family: Family, priority: u32, then: &Then<'_>) -> Self {
        let mut message = RuleMessage::default();
        message.header.family = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let mut attributes = vec![
            RuleAttribute::Priority(priority),
            RuleAttribute::Protocol(PROTO_IPMP.into()),
            RuleAttribute::Iifname("lo".to_owned()),
        ];
        match then {
            Then::PassTo(prefix, target) => {
                message.header.dst_len = prefix.prefix_len();
                attributes.push(RuleAttribute::Destination(prefix.addr().into()));
                attributes.push(RuleAttribute::Goto(*target));
            }
            Then::PassBound(interface, target) => {
                attributes.push(RuleAttribute::Oifname((*interface).to_owned()));
                attributes.push(RuleAttribute::Goto(*target));
            }
            Then::Longer(length) => {
                attributes.push(RuleAttribute::Table(TABLE_MAIN));
                attributes.push(RuleAttribute::SuppressPrefixLen(u32::from(*length)));
            }
            Then::Lookup(table) => attributes.push(RuleAttribute::Table(*table)),
        }
        attributes.sort_by_key(Nla::kind);
        let passes = matches!(then, Then::PassTo(..) | Then::PassBound(..));
        message.header.action = if passes { RuleAction::Goto } else { RuleAction::ToTable };
        message.attributes = attributes;
        Self { message }
    }

    /// The same for what comes in by another interface, as the work of this protocol.
    #[must_use]
    pub fn copy_for(&self, iif: &str, protocol: u8) -> Self {
        let mut copy = self.clone();
        let attributes = &mut copy.message.attributes;
        attributes.retain(|a| !matches!(a, RuleAttribute::Iifname(_) | RuleAttribute::Protocol(_)));
        attributes.push(RuleAttribute::Iifname(iif.to_owned()));
        attributes.push(RuleAttribute::Protocol(protocol.into()));
        attributes.sort_by_key(Nla::kind);
        copy
    }

    /// The message that adds it, or deletes the first that is like it.
    pub fn request(&self) -> RuleMessage {
        self.message.clone()
    }

    /// Its family.
    pub fn family(&self) -> Family {
        if self.message.header.family == AddressFamily::Inet6 { Family::V6 } else { Family::V4 }
    }

    /// Whether we made it to spread flows.
    pub fn is_ours(&self) -> bool {
        self.is_by(PROTO_IPMP)
    }

    /// Whether it is the work of this protocol.
    pub fn is_by(&self, protocol: u8) -> bool {
        self.message.attributes.contains(&RuleAttribute::Protocol(protocol.into()))
    }

    /// Whether it selects all but what it names ("not").
    pub fn is_inverted(&self) -> bool {
        self.message.header.flags.contains(RuleFlags::Invert)
    }

    /// The interface by which packets come in that it selects.
    pub fn iif(&self) -> Option<&str> {
        self.message.attributes.iter().find_map(|attribute| {
            if let RuleAttribute::Iifname(name) = attribute { Some(name.as_str()) } else { None }
        })
    }

    /// Its place: smaller comes first. Of those with the same, the one that was added first.
    pub fn priority(&self) -> u32 {
        let priority = |a: &RuleAttribute| if let RuleAttribute::Priority(n) = a { Some(*n) } else { None };
        self.message.attributes.iter().find_map(priority).unwrap_or(0)
    }

    /// The interface that it asks a socket to be bound to.
    pub fn bound_to(&self) -> Option<&str> {
        self.message.attributes.iter().find_map(|attribute| {
            if let RuleAttribute::Oifname(name) = attribute { Some(name.as_str()) } else { None }
        })
    }

    /// Whether it sends all packets to the table `main`, as the kernel's own does.
    pub fn is_main(&self) -> bool {
        let header = &self.message.header;
        let plain = |attribute: &RuleAttribute| {
            matches!(
                attribute,
                RuleAttribute::Priority(_) | RuleAttribute::Protocol(_) | RuleAttribute::Table(TABLE_MAIN)
            )
        };
        header.action == RuleAction::ToTable
            && (header.src_len, header.dst_len, header.tos) == (0, 0, 0)
            && !self.is_inverted()
            && self.message.attributes.contains(&RuleAttribute::Table(TABLE_MAIN))
            && self.message.attributes.iter().all(plain)
            && !self.is_ours()
    }
}

impl std::fmt::Display for Rule {
    /// As `ip rule` would print its essentials.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}:", self.family(), self.priority())?;
        for attribute in &self.message.attributes {
            match attribute {
                RuleAttribute::Destination(ip) => write!(f, " to {ip}/{}", self.message.header.dst_len)?,
                RuleAttribute::Iifname(name) => write!(f, " iif {name}")?,
                RuleAttribute::Oifname(name) => write!(f, " oif {name}")?,
                RuleAttribute::Goto(target) => write!(f, " goto {target}")?,
                RuleAttribute::Table(table) => write!(f, " lookup {table}")?,
                RuleAttribute::SuppressPrefixLen(length) => write!(f, " suppress_prefixlength {length}")?,
                _ => {}
            }
        }
        Ok(())
    }
}
