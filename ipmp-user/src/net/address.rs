//! One address of one interface, kept as the kernel's own message so that re-creating it loses nothing.

use std::net::{IpAddr, Ipv4Addr};

use ipmp_common::engine::ids::Family;
use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute},
};

mod lifetimes;

pub use self::lifetimes::Lifetimes;

/// `IFA_PROTO` of the test addresses we create (kernel 5.18 and later show it; older ones ignore it).
/// Values above 3 are free for user space: `include/uapi/linux/if_addr.h`.
pub const IFA_PROTO_IPMP: u8 = super::MARK;
/// `IFNAMSIZ` less the terminating zero: the longest label.
const LABEL_MAX: usize = 15;
/// Flags that a request may carry; the others are the kernel's findings (`inet_rtm_newaddr`,
/// `inet6_rtm_newaddr`).
const REQUEST_FLAGS: AddressFlags = AddressFlags::Nodad
    .union(AddressFlags::Homeaddress)
    .union(AddressFlags::Managetempaddr)
    .union(AddressFlags::Noprefixroute)
    .union(AddressFlags::Mcautojoin);

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    message: AddressMessage,
    ip: IpAddr,
}

impl Address {
    /// Takes a decoded message; none if it names no address.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
    pub fn from_message(message: AddressMessage) -> Option<Self> {
        // IFA_LOCAL is the address itself, IFA_ADDRESS the peer of a point-to-point link; IPv6 leaves
        // IFA_LOCAL out when both are the same.
        let mut local = None;
        let mut address = None;
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                _ => {}
            }
        }
        let ip = local.or(address)?;
        Some(Self { message, ip })
    }

    /// A new permanent address as `ip address add NET broadcast + dev …` would make it.
    pub fn new(ifindex: u32, net: IpNet) -> Self {
        let mut message = AddressMessage::default();
        message.header.family = family(net.addr());
        message.header.prefix_len = net.prefix_len();
        message.header.index = ifindex;
        message.attributes.push(AddressAttribute::Local(net.addr()));
        message.attributes.push(AddressAttribute::Address(net.addr()));
        if let IpNet::V4(net) = net
            && net.prefix_len() < 31
        {
            message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
        }
        Self { message, ip: net.addr() }
    }

    /// A test address: one host, no connected route, and no source address that the kernel would choose for an application.
    /// IPv6 makes it the last choice because it is deprecated (RFC 6724 section 5, rule 3), which it is for ever; IPv4 passes
    /// over it because of its link scope, except for a route on link that names no source and no data address is in
    /// (`inet_select_addr` in net/ipv4/devinet.c). The scope of hosts would spare that, but also make ARP requests from a member
    /// without other addresses name an address of another one.
    pub fn test(ifindex: u32, ip: IpAddr) -> Self {
        let mut address = Self::new(ifindex, IpNet::from(ip));
        address.message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(IFA_PROTO_IPMP)));
        address.message.header.scope = AddressScope::Link;
        if ip.is_ipv6() {
            address = address.living(Lifetimes { preferred: 0, valid: u32::MAX });
        }
        address.set_flags(AddressFlags::Noprefixroute | address.nodad());
        address
    }

    /// The address.
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Its prefix length.
    pub const fn prefix_len(&self) -> u8 {
        self.message.header.prefix_len
    }

    /// Address with prefix length; a prefix length beyond the family's is the host's.
    pub fn net(&self) -> IpNet {
        IpNet::new(self.ip, self.prefix_len()).unwrap_or_else(|_| IpNet::from(self.ip))
    }

    /// The interface it is on.
    pub const fn ifindex(&self) -> u32 {
        self.message.header.index
    }

    /// Its family.
    pub const fn family(&self) -> Family {
        Family::of(self.ip)
    }

    /// Its scope (`RT_SCOPE_*`).
    pub fn scope(&self) -> u8 {
        u8::from(self.message.header.scope)
    }

    /// All `IFA_F_*` flags.
    pub fn flags(&self) -> AddressFlags {
        // IFA_FLAGS holds all of them, the header only the low eight bits.
        self.message
            .attributes
            .iter()
            .find_map(|a| if let AddressAttribute::Flags(flags) = a { Some(*flags) } else { None })
            .unwrap_or_else(|| AddressFlags::from_bits_retain(u32::from(self.message.header.flags.bits())))
    }

    /// Its label (IPv4).
    pub fn label(&self) -> Option<&str> {
        self.message
            .attributes
            .iter()
            .find_map(|a| if let AddressAttribute::Label(label) = a { Some(label.as_str()) } else { None })
    }

    /// Its broadcast address (IPv4).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        self.message
            .attributes
            .iter()
            .find_map(|a| if let AddressAttribute::Broadcast(ip) = a { Some(*ip) } else { None })
    }

    /// Who made it (`IFA_PROTO`), where the kernel says.
    pub fn protocol(&self) -> Option<u8> {
        self.message
            .attributes
            .iter()
            .find_map(|a| if let AddressAttribute::Protocol(p) = a { Some(u8::from(*p)) } else { None })
    }

    /// Whether a router's advertisements keep it alive, or it was made from one that they do (`addrconf_prefix_rcv` in
    /// net/ipv6/addrconf.c).
    pub fn is_autoconfigured(&self) -> bool {
        // IFAPROT_KERNEL_RA in include/uapi/linux/if_addr.h; kernels before 5.18 only set the flag.
        const KERNEL_RA: u8 = 2;
        let flags = self.flags();
        self.ip.is_ipv6()
            && (self.protocol() == Some(KERNEL_RA)
                || flags.intersects(AddressFlags::Managetempaddr | AddressFlags::Secondary))
    }

    /// Whether it lives for ever.
    pub fn is_permanent(&self) -> bool {
        self.flags().contains(AddressFlags::Permanent)
    }

    /// Whether it can be a source address now: not tentative, not a duplicate (RFC 4862 5.4).
    pub fn is_usable(&self) -> bool {
        let flags = self.flags();
        !flags.contains(AddressFlags::Dadfailed)
            && (!flags.contains(AddressFlags::Tentative) || flags.contains(AddressFlags::Optimistic))
    }

    /// Whether another host on the link was found to have it, too: the kernel keeps it and does not use it (RFC 4862 5.4.5).
    pub fn is_duplicate(&self) -> bool {
        self.flags().contains(AddressFlags::Dadfailed)
    }

    /// Whether it is IPv6 link-local.
    pub const fn is_link_local_v6(&self) -> bool {
        match self.ip {
            IpAddr::V4(_) => false,
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }

    /// Whether it came with (and keeps) a connected route.
    pub fn has_prefix_route(&self) -> bool {
        !self.flags().contains(AddressFlags::Noprefixroute)
    }

    /// The kernel's message, without what only it can say (time stamps, state flags): fit to be sent.
    pub fn request(&self) -> AddressMessage {
        let mut copy = self.clone();
        copy = copy.living(self.lifetimes());
        copy.set_flags(self.flags() & REQUEST_FLAGS);
        copy.message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::TargetNetNsId(_)));
        copy.message
    }

    /// The same address for a foster interface: without a connected route of its own (the routes that follow it
    /// are moved by us), without duplicate address detection (the home interface still has it), its label
    /// adapted. Labels must begin with the interface's name, see ip-address(8).
    #[must_use]
    pub fn fostered(&self, ifindex: u32, home_name: &str, name: &str) -> Self {
        let mut copy = Self { message: self.request(), ip: self.ip };
        copy.message.header.index = ifindex;
        let flags = copy.flags() | AddressFlags::Noprefixroute | copy.nodad();
        copy.set_flags(flags);
        for attribute in &mut copy.message.attributes {
            if let AddressAttribute::Label(label) = attribute {
                let rest = label.strip_prefix(home_name).unwrap_or_default();
                let adapted = format!("{name}{rest}");
                *label = if adapted.len() <= LABEL_MAX { adapted } else { name.to_owned() };
            }
        }
        copy
    }

    /// The same address, to be added without waiting for duplicate address detection.
    #[must_use]
    pub fn without_dad(&self) -> Self {
        let mut copy = Self { message: self.request(), ip: self.ip };
        copy.set_flags(copy.flags() | copy.nodad());
        copy
    }

    /// The same address on another interface (an interface came back with a new ifindex).
    #[must_use]
    pub fn rebound(mut self, ifindex: u32) -> Self {
        self.message.header.index = ifindex;
        self
    }

    /// Whether it was configured to skip duplicate address detection.
    pub fn has_nodad(&self) -> bool {
        self.flags().contains(AddressFlags::Nodad)
    }

    fn nodad(&self) -> AddressFlags {
        match self.ip {
            IpAddr::V4(_) => AddressFlags::empty(),
            IpAddr::V6(_) => AddressFlags::Nodad,
        }
    }

    fn set_flags(&mut self, flags: AddressFlags) {
        self.message.header.flags = AddressHeaderFlags::from_bits_retain(flags.bits() as u8);
        self.message.attributes.retain(|a| !matches!(a, AddressAttribute::Flags(_)));
        self.message.attributes.push(AddressAttribute::Flags(flags));
    }
}

/// What names a neighbour in a message.
pub(crate) const fn destination(ip: IpAddr) -> NeighbourAttribute {
    NeighbourAttribute::Destination(match ip {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    })
}

/// The kernel's number of an address's family.
pub(crate) const fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
