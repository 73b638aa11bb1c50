//! What the administrator wants, already validated: the engine trusts these values.
//! `ipmp-user`'s `config/` makes them from the file and enforces the limits below.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::time::Nanos;

/// in.mpathd's `FAILURE_DETECTION_TIME` default.
pub const DEFAULT_FAILURE_DETECTION_TIME: Nanos = Nanos::from_secs(10);
/// Below this the losses of one probe window cannot be told from a scheduler's hiccup of the *peer*.
pub const MIN_FAILURE_DETECTION_TIME: Nanos = Nanos::from_millis(10);
/// An hour: beyond it "failure detection" has lost its meaning, and products of it still fit 64 bits.
pub const MAX_FAILURE_DETECTION_TIME: Nanos = Nanos::from_secs(3600);
/// Groups in one configuration. Bounds the work of one wake-up.
pub const MAX_GROUPS: usize = 256;
/// Members of one group.
pub const MAX_MEMBERS: usize = 64;
/// Data addresses whose home is one member: the largest move that is measured (1,000), with room.
pub const MAX_DATA_ADDRESSES: usize = 4096;
/// Configured targets of one group: the ACTIVE ones are five a family, the rest are spares.
pub const MAX_TARGETS: usize = 64;
/// in.mpathd's post-creation quiet period: a spanning tree may still block the port.
pub const DEFAULT_QUIET_PERIOD: Nanos = Nanos::from_secs(40);
/// Longest hold-down when the file names none: ten minutes outlast what a person needs to look at a cable.
pub const DEFAULT_HOLD_DOWN_MAX: Nanos = Nanos::from_secs(600);
/// Longest of the damping delays: a day. Beyond it `ipmp offline` is meant.
pub const MAX_DAMPING: Nanos = Nanos::from_secs(86_400);

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Seed of every random choice, so that a run can be replayed. The daemon draws it at start.
    pub seed: u64,
    /// In the order of the file.
    pub groups: Vec<GroupConfig>,
}

/// One group: interfaces on one IP link that cover for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Its name, for people.
    pub name: String,
    /// Failure detection time (FDT).
    pub failure_detection_time: Nanos,
    /// `FAILBACK`: whether a repaired interface gets its addresses back.
    pub failback: bool,
    /// Configured probe targets; empty = discover. When given they *replace* the discovered ones.
    pub targets: Vec<IpAddr>,
    /// What to do when every member fails at once.
    pub on_group_failure: OnGroupFailure,
    /// How long after an interface appeared losses are not yet counted (ended by an answer). Not after a link-up:
    /// a member whose link was down has failed already, and needs answers, whatever it loses.
    pub quiet_period: Nanos,
    /// How long good and bad news must last before they count.
    #[serde(default)]
    pub damping: Damping,
    /// How often the neighbours are told where an address is.
    #[serde(default)]
    pub announcements: Announcements,
    /// Whether the first lost probe makes the next ones follow faster: an earlier verdict, at the price that the page of
    /// [`suspicion`](super::suspicion) names.
    pub suspicion: bool,
    /// Whether outbound flows are spread over the active members, whichever of them the route names.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub outbound_spreading: bool,
    /// In the order of the file; this order breaks ties.
    pub interfaces: Vec<InterfaceConfig>,
}

impl GroupConfig {
    /// IPMP's anonymous group, the one without a name: interfaces that are in no group, each judged alone. Nothing
    /// moves between them, and the group itself is always ok.
    pub const fn is_anonymous(&self) -> bool {
        self.name.is_empty()
    }
}

/// Hysteresis of a group. All zero, the default, is in.mpathd's behaviour: a lost carrier counts at once, a
/// regained one too unless it is the third within a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damping {
    /// A carrier loss counts only once it has lasted so long. Probes lost meanwhile count as ever.
    pub link_down_delay: Nanos,
    /// After a link-up a member is repaired this much later at the earliest.
    pub link_up_delay: Nanos,
    /// A repaired member gets its addresses back this much later.
    pub failback_delay: Nanos,
    /// For so long a member that failed again must be free of trouble before it is repaired; doubled with each
    /// further failure. Zero = never held down.
    pub hold_down: Nanos,
    /// Doubling ends here; a member that has worked for so long starts anew.
    pub hold_down_max: Nanos,
}

impl Default for Damping {
    fn default() -> Self {
        Self {
            link_down_delay: Nanos(0),
            link_up_delay: Nanos(0),
            failback_delay: Nanos(0),
            hold_down: Nanos(0),
            hold_down_max: DEFAULT_HOLD_DOWN_MAX,
        }
    }
}

/// How often the neighbours are told where an address is, the first time included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcements {
    /// Gratuitous ARP for an IPv4 address (RFC 5227 section 2.3 asks for two; Solaris sends five).
    pub ipv4: u8,
    /// Unsolicited neighbour advertisements for an IPv6 address (RFC 4861, `MAX_NEIGHBOR_ADVERTISEMENT`).
    pub ipv6: u8,
    /// Time between two (RFC 5227, `ANNOUNCE_INTERVAL`).
    pub interval: Nanos,
}

impl Default for Announcements {
    fn default() -> Self {
        Self { ipv4: 5, ipv6: 3, interval: Nanos::from_secs(2) }
    }
}

/// Most announcements of one address.
pub const MAX_ANNOUNCEMENTS: u8 = 60;
/// Shortest time between two announcements of an address.
pub const MIN_ANNOUNCE_INTERVAL: Nanos = Nanos::from_millis(100);
/// Longest time between two announcements of an address.
pub const MAX_ANNOUNCE_INTERVAL: Nanos = Nanos::from_secs(3600);

/// Policy for the failure of a whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnGroupFailure {
    /// Nothing moves, an alarm is raised: the fault is more likely the target's or the switch's.
    Keep,
    /// The group's addresses are withdrawn, so that another host may take the service.
    Fail,
}

/// One member interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceConfig {
    /// Kernel name.
    pub name: String,
    /// Spare until needed (`STANDBY`).
    pub standby: bool,
    /// Where its data addresses come from.
    pub data: DataAddresses,
    /// Test addresses: never move, used only for probing. None = link-based only, unless the group has
    /// configured IPv6 targets (those are probed from the link-local address).
    pub test: Vec<IpAddr>,
}

/// The data addresses whose home an interface is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataAddresses {
    /// Those found on it at start (static, global, not test addresses).
    Adopt,
    /// Exactly these.
    Listed(Vec<IpNet>),
}
