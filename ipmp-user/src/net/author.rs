//! Who asked for a change, as far as the kernel's notification tells.

use std::collections::BTreeSet;

use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    link::LinkFlags,
    route::{RouteAttribute, RouteProtocol},
};

/// Remembered at once; more different ones than that are no help.
const MAX_AUTHORS: usize = 64;

/// What a notification tells of who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Author {
    /// The netlink port of the request (`nlmsg_pid`); 0: the kernel did it by itself, or was asked by ioctl(2), or does not
    /// say, as for IPv6 addresses (`inet6_fill_ifaddr` in net/ipv6/addrconf.c).
    pub port: u32,
    /// The interface concerned; none for a route by way of several.
    pub ifindex: Option<u32>,
    /// Of a new route: who it says has made it (`RTPROT_*`).
    pub protocol: Option<u8>,
    /// The interface is administratively down.
    pub down: bool,
}

impl Author {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is no change of addresses, routes or links")]
    fn of(port: u32, message: &RouteNetlinkMessage) -> Option<Self> {
        let author = |ifindex| Self { port, ifindex, protocol: None, down: false };
        match message {
            RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
                Some(author(Some(message.header.index)))
            }
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                let oif = |attribute: &RouteAttribute| {
                    if let RouteAttribute::Oif(ifindex) = attribute { Some(*ifindex) } else { None }
                };
                let new = matches!(message, RouteNetlinkMessage::NewRoute(_));
                let protocol = new.then(|| protocol(route.header.protocol));
                Some(Self { protocol, ..author(route.attributes.iter().find_map(oif)) })
            }
            RouteNetlinkMessage::NewLink(message) => {
                let down = !message.header.flags.contains(LinkFlags::Up);
                down.then(|| Self { down, ..author(Some(message.header.index)) })
            }
            _ => None,
        }
    }
}

/// As a number: the list of names grows.
fn protocol(protocol: RouteProtocol) -> u8 {
    protocol.into()
}

/// Those seen since they were asked for last.
#[derive(Debug, Default)]
pub(super) struct Authors(BTreeSet<Author>);

impl Authors {
    pub(super) fn note(&mut self, port: u32, message: Option<&RouteNetlinkMessage>) {
        if self.0.len() < MAX_AUTHORS {
            self.0.extend(message.and_then(|message| Author::of(port, message)));
        }
    }

    pub(super) fn take(&mut self) -> BTreeSet<Author> {
        std::mem::take(&mut self.0)
    }
}
