//! One group: its members, its addresses, and which members are in service.

use alloc::{collections::BTreeSet, vec::Vec};
use core::net::IpAddr;

use ipnet::IpNet;

use super::{
    action::{PlacedAddress, Placement},
    config::GroupConfig,
    discovery::Discovery,
    ids::{GroupId, MemberId},
    reason::Reason,
    snapshot::GroupState,
    time::{Nanos, Timestamp},
};

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) config: GroupConfig,
    /// In the order of the configuration.
    pub(super) members: Vec<MemberId>,
    /// Targets found by the daemon, by family.
    pub(super) discovered: [Vec<IpAddr>; 2],
    /// Hosts on the link, by family: probed where there is no router.
    pub(super) hosts: [Vec<IpAddr>; 2],
    /// The search for such hosts.
    pub(super) discovery: Option<Discovery>,
    /// Every data address, its home and its place.
    pub(super) addresses: Vec<PlacedAddress>,
    /// `None` until first told.
    pub(super) state: Option<GroupState>,
    /// Failure detection time in force.
    pub(super) fdt: Nanos,
    /// When it was raised last.
    pub(super) fdt_raised_at: Option<Timestamp>,
    /// No member has evidence of a working path: the fault is taken to be elsewhere.
    pub(super) all_failed: bool,
    /// The last placement sent, without its epoch, and the interfaces it was sent for.
    pub(super) sent: Option<SentPlacement>,
    pub(super) epoch: u64,
    /// How often what others changed was put back.
    pub(super) put_back: u64,
    /// The placement by which withdrawn addresses come back.
    pub(super) returned: Option<u64>,
    pub(super) moves: Vec<Move>,
    /// Data addresses that are configured no longer, and still to be taken away.
    pub(super) released: Vec<IpNet>,
    pub(super) announcing: Vec<Announcing>,
    /// Facts arrived that may change a decision.
    pub(super) dirty: bool,
}

/// What a placement depended on; a new one is sent when any of it changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SentPlacement {
    pub(super) placement: Placement,
    pub(super) ifindexes: Vec<Option<u32>>,
}

/// A move that is under way, with the story behind it.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) epoch: u64,
    pub(super) address: PlacedAddress,
    pub(super) reason: Reason,
    pub(super) evidence_at: Option<Timestamp>,
    pub(super) decided_at: Timestamp,
}

/// Announcements of addresses that moved to a member, still to be repeated.
#[derive(Clone, Debug)]
pub(super) struct Announcing {
    pub(super) member: MemberId,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// How many announcements have been made.
    pub(super) made: u32,
    pub(super) next_at: Timestamp,
}

impl Group {
    pub(super) fn new(id: GroupId, config: GroupConfig) -> Self {
        let fdt = config.failure_detection_time;
        Self {
            id,
            config,
            members: Vec::new(),
            discovered: [Vec::new(), Vec::new()],
            hosts: [Vec::new(), Vec::new()],
            discovery: None,
            addresses: Vec::new(),
            state: None,
            fdt,
            fdt_raised_at: None,
            all_failed: false,
            sent: None,
            epoch: 0,
            put_back: 0,
            returned: None,
            moves: Vec::new(),
            released: Vec::new(),
            announcing: Vec::new(),
            dirty: true,
        }
    }

    /// Whether a data address is placed on a member.
    pub(super) fn hosts(&self, member: MemberId) -> bool {
        self.addresses.iter().any(|placed| placed.on == member)
    }

    /// Whether a normal member that is repaired serves at once, however many do: also without failback where the whole
    /// group had failed.
    pub(super) const fn repaired_serve(&self) -> bool {
        self.config.failback || self.all_failed
    }

    /// Members that should be in service: as many as are not configured as standby; one in a group of
    /// standbys only.
    pub(super) fn wanted_active(&self) -> usize {
        self.config.interfaces.iter().filter(|interface| !interface.standby).count().max(1)
    }
}
