//! Everything that can happen to the engine.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    config::GroupConfig,
    ids::{Family, GroupId, MemberId, SessionId},
    time::Timestamp,
};

/// An input of `Engine::handle`. Facts carry the kernel's time where the kernel gave one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// All evidence up to now has been handed in: judge deadlines and decide. Every other event only records
    /// a fact. The daemon ends each turn of its loop with this, so that facts that came together (two cables
    /// pulled at once) are judged together.
    Judge,
    /// A member's interface is there (at start, or after `InterfaceGone`).
    InterfacePresent(Presence),
    /// What a member's interface is, at first sight and whenever it changes.
    Hardware {
        /// The member.
        member: MemberId,
        /// What it is now.
        hardware: Hardware,
    },
    /// A member's interface disappeared.
    InterfaceGone {
        /// The member.
        member: MemberId,
    },
    /// A member's carrier changed, or was confirmed.
    Carrier {
        /// The member.
        member: MemberId,
        /// Whether the link is up now.
        up: bool,
        /// When the kernel changed it, as exactly as the source knows.
        at: Timestamp,
        /// Who saw it.
        source: CarrierSource,
        /// Losses of carrier since the previous event of this member, this one included; more than one means
        /// flaps that nobody reported one by one.
        downs: u64,
    },
    /// The source addresses a member may probe from; an empty list ends probing in that family.
    TestAddress {
        /// The member.
        member: MemberId,
        /// The family.
        family: Family,
        /// The address now usable (configured, not tentative), if any.
        address: Option<IpAddr>,
    },
    /// Targets discovered for a group (routers, host routes); replaces the previous set of that family.
    Targets {
        /// The group.
        group: GroupId,
        /// The family.
        family: Family,
        /// In order of preference; own addresses are filtered out by the engine too.
        targets: Vec<IpAddr>,
    },
    /// Hosts on the link of a group that has no router to probe (`Engine::probes_hosts`): valid neighbours of any
    /// of its members.
    Hosts {
        /// The group.
        group: GroupId,
        /// The family.
        family: Family,
        /// All of them.
        hosts: Vec<IpAddr>,
    },
    /// A probe passed the egress program (or, without one, the send call returned).
    ProbeSent {
        /// The session.
        session: SessionId,
        /// Its sequence number.
        seq: u64,
        /// Kernel time.
        at: Timestamp,
    },
    /// A probe could not be sent.
    ProbeNotSent {
        /// The session.
        session: SessionId,
        /// Its sequence number.
        seq: u64,
        /// Why.
        cause: NotSent,
    },
    /// A validated reply to our own probe.
    Reply {
        /// The session.
        session: SessionId,
        /// Its sequence number.
        seq: u64,
        /// When it passed the XDP program (or the best stand-in).
        received_at: Timestamp,
    },
    /// A placement was carried out (result of `Action::SetPlacement`).
    Applied(Applied),
    /// A placement, or part of it, could not be carried out. What fails again and again for the same placement is
    /// published once.
    ApplyFailed {
        /// The group.
        group: GroupId,
        /// Which placement.
        epoch: u64,
        /// The address or route concerned, as text for people.
        what: alloc::string::String,
        /// The kernel's errno.
        errno: i32,
    },
    /// What others changed of a placement that stood was put back.
    PutBack {
        /// The group.
        group: GroupId,
        /// Requests that it took.
        changes: u32,
        /// Who they were, as far as can be known.
        by: Vec<super::foreign::Culprit>,
    },
    /// After a verdict: what a member's interface has counted since its counters were read before.
    Counted {
        /// The member.
        member: MemberId,
        /// Since then.
        within: super::time::Nanos,
        /// What was added.
        errors: super::errors::Errors,
    },
    /// The administrator's command.
    Command(Command),
    /// Another configuration, whole: what differs from the one in force changes, everything else stays as it is.
    /// Groups and interfaces are known by their names. What the engine numbers them is in `Engine::roster`.
    Reconfigure {
        /// In the order of the file.
        groups: Vec<GroupConfig>,
    },
    /// A member's interface is not there, but may still come: until then nobody else serves its addresses.
    InterfaceAwaited {
        /// The member.
        member: MemberId,
        /// When the wait is over.
        until: Timestamp,
    },
    /// An address of a member that is out of use is somebody else's to renew, and stays.
    LeftAlone {
        /// The member.
        member: MemberId,
        /// The address.
        address: IpNet,
    },
    /// A neighbour has another hardware address than before.
    NeighbourMoved {
        /// The member through which it is reached.
        member: MemberId,
    },
    /// The hardware that a member is has another name now. It is the same member as before.
    Renamed {
        /// The member.
        member: MemberId,
        /// Its name from now on; no other member's.
        name: alloc::string::String,
    },
}

/// What is known of a present interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The member.
    pub member: MemberId,
    /// Its ifindex now.
    pub ifindex: u32,
    /// Whether the link is up; `None` where the driver cannot tell (treated as always up).
    pub link_up: Option<bool>,
    /// Static data addresses found on it whose home it is; used for `DataAddresses::Adopt`.
    pub adopted: Vec<IpNet>,
    /// Whether another member whose link is not down serves some of its data addresses: an earlier run has moved them. Or
    /// an earlier run knew this one as failed.
    #[serde(default)]
    pub displaced: bool,
}

/// What the members of a group should have in common, and what they must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// Its hardware address; `None` if it is not Ethernet-like.
    pub mac: Option<[u8; 6]>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// `ARPHRD_*` (`linux/if_arp.h`).
    pub link_type: u16,
    /// Whether it can carry IPv4.
    pub ipv4: bool,
    /// Whether it can carry IPv6.
    pub ipv6: bool,
}

impl Hardware {
    /// Whether it can carry a family.
    pub const fn carries(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }
}

/// The rung of the carrier ladder that gave the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarrierSource {
    /// fentry program on `netif_carrier_off`/`_on`.
    Fentry,
    /// kprobe on the same.
    Kprobe,
    /// Polled.
    Poll,
    /// `RTM_NEWLINK`.
    Netlink,
}

/// Why a probe did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum NotSent {
    /// The target's hardware address is unknown although the kernel asked for it (ARP, ND): evidence
    /// against the path, like a lost probe.
    Unresolved,
    /// The target's hardware address is being asked for; no evidence yet.
    Resolving,
    /// The send call failed; the fault is ours or the device's queue's, no evidence against the path.
    Local {
        /// Its errno.
        errno: i32,
    },
    /// The send call succeeded but the probe never passed the egress program.
    NeverLeft,
}

/// Result of a placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The group.
    pub group: GroupId,
    /// Which placement: `Placement::epoch`.
    pub epoch: u64,
    /// Addresses and routes stood on their new interfaces.
    pub applied_at: Timestamp,
    /// The first announcement of every moved address was handed to its interface.
    pub announced_at: Option<Timestamp>,
    /// Netlink requests it took; 0 = everything was as wanted.
    pub changes: u32,
}

/// An administrator's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// `if_mpadm -d`: move its addresses away and stop using it.
    Offline {
        /// The member.
        member: MemberId,
        /// Even if it is the last usable one.
        force: bool,
    },
    /// `if_mpadm -r`.
    Online {
        /// The member.
        member: MemberId,
    },
    /// Gives interfaces up, as a preparation of their removal: as `Offline`, until `InterfaceGone` follows. They are
    /// judged together, as if all ports of one card.
    Detach {
        /// The members.
        members: Vec<MemberId>,
        /// Even if none usable is left in their group.
        force: bool,
    },
}
