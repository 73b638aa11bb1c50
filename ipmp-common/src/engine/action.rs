//! Everything the engine can ask for.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    ids::{GroupId, MemberId, SessionId},
    reason::Record,
    time::Nanos,
};

/// An output of `Engine::poll_action`, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Send one probe now.
    SendProbe {
        /// The session, armed before.
        session: SessionId,
        /// Its sequence number, from 1, never reused within an arming.
        seq: u64,
    },
    /// Prepare a session: kernel maps, frame template, neighbour resolution.
    ArmSession(Session),
    /// The probe interval has changed: replies to this session's probes count as late from another age on.
    SetLateAfter {
        /// The session.
        session: SessionId,
        /// Replies later than this after sending are counted as late.
        late_after: Nanos,
    },
    /// Forget a session.
    DisarmSession {
        /// The session.
        session: SessionId,
    },
    /// Ask all hosts on a member's link to show themselves: an echo request to 224.0.0.1 or `ff02::1`. Whoever
    /// answers appears in the neighbour table (`Event::Hosts`).
    Discover {
        /// The member.
        member: MemberId,
        /// Its test address, whose family decides.
        source: IpAddr,
    },
    /// Carry out this placement; idempotent. Answered by `Event::Applied` or `Event::ApplyFailed`.
    SetPlacement(Placement),
    /// These data addresses are configured no longer: take them off the group's members, and forget them. What is gone
    /// already needs nothing.
    Release {
        /// The group.
        group: GroupId,
        /// The addresses.
        addresses: Vec<IpNet>,
    },
    /// Announce again (the first announcement is part of `SetPlacement`).
    Announce {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// The member they are on.
        member: MemberId,
    },
    /// Tell people: journal, log, metrics, subscribers.
    Publish(Record),
}

/// One target probed through one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its number.
    pub session: SessionId,
    /// The member it probes.
    pub member: MemberId,
    /// That member's ifindex.
    pub ifindex: u32,
    /// The test address.
    pub source: IpAddr,
    /// The target.
    pub target: IpAddr,
    /// Replies later than this after sending are counted as late.
    pub late_after: Nanos,
    /// Whether each reply should wake the daemon (repair, suspicion).
    pub notify: bool,
}

/// Where every address of a group shall be. Complete, not a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The group.
    pub group: GroupId,
    /// Counts placements of this group; echoed in the result.
    pub epoch: u64,
    /// Data addresses, in the order of the configuration.
    pub data: Vec<PlacedAddress>,
    /// The data addresses shall be nowhere until the group works again; `on` then says where they were. Routes stay.
    #[serde(default)]
    pub withdrawn: bool,
    /// Members that must not carry traffic: routes through them follow their data addresses.
    pub unusable: Vec<MemberId>,
    /// Members found failed, also where nobody is left to carry their traffic: whoever comes after a restart is to know.
    #[serde(default)]
    pub failed: Vec<MemberId>,
    /// Members over which outbound flows are to be spread, in the order of the configuration; none if that is not wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<MemberId>,
}

/// One data address and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedAddress {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The member it belongs to.
    pub home: MemberId,
    /// The member it shall be on.
    pub on: MemberId,
}
