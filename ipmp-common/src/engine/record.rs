//! One line of history: what happened to whom, when, and why.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    ids::{GroupId, MemberId},
    reason::Reason,
    time::Timestamp,
};

/// One line of history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When the engine decided it.
    #[serde(rename = "t_ns")]
    pub at: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// In which group.
    pub group: Option<GroupId>,
    /// To which member.
    pub member: Option<MemberId>,
    /// To which address.
    pub address: Option<IpNet>,
    /// Why.
    pub reason: Reason,
    /// Kernel time of the evidence: the carrier event, or the last good reply. What polling or netlink told has none; it
    /// counts from when it was seen, so it may be older: by a poll's interval, or up to the second for which the kernel
    /// withholds a link's next message (`net/core/link_watch.c`).
    #[serde(rename = "evidence_ns")]
    pub evidence_at: Option<Timestamp>,
    /// When the engine decided the transition behind this record.
    #[serde(rename = "decided_ns")]
    pub decided_at: Option<Timestamp>,
    /// When the kernel had the addresses and routes in their new place.
    #[serde(rename = "applied_ns")]
    pub applied_at: Option<Timestamp>,
    /// When the first announcement had left.
    #[serde(rename = "announced_ns")]
    pub announced_at: Option<Timestamp>,
}

impl Record {
    /// A record that concerns nothing in particular yet.
    pub const fn new(at: Timestamp, kind: Kind, reason: Reason) -> Self {
        Self {
            at,
            kind,
            group: None,
            member: None,
            address: None,
            reason,
            evidence_at: None,
            decided_at: None,
            applied_at: None,
            announced_at: None,
        }
    }
}

/// The kind of a record; its serialized form is the `kind` of `ipmp events --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Carrier lost.
    LinkDown,
    /// Carrier gained.
    LinkUp,
    /// A member failed.
    Failed,
    /// A member was repaired.
    Repaired,
    /// A member became active or inactive.
    Activity,
    /// A data address moved.
    Moved,
    /// A data address was announced.
    Announced,
    /// A group changed between ok, degraded and failed.
    GroupState,
    /// A member was taken offline.
    Offline,
    /// A member was brought online.
    Online,
    /// A member's interface is not there.
    Absent,
    /// A member's interface appeared.
    Present,
    /// The daemon ran late; judgement was suspended.
    Stalled,
    /// A member's probes do not leave the host, or leave again; judgement by them was suspended.
    Mute,
    /// Probing of a member was turned on or off.
    Probing,
    /// Hosts to probe were found, or a target died or answers again.
    Target,
    /// The group's data addresses were withdrawn, or put back.
    Withdrawn,
    /// What others changed of addresses or routes was put back.
    PutBack,
    /// A member's interface has counted errors before a verdict.
    Errors,
    /// Something asked for could not be done.
    ActionFailed,
    /// A repair is deferred because the link flaps.
    Flapping,
    /// A failure, a repair or a failback is deferred by configuration.
    Deferred,
    /// The failure detection time of a group was raised or lowered.
    DetectionTime,
    /// A target is set aside because it answers too slowly.
    TargetSlow,
    /// A member does not fit the others.
    Inconsistent,
    /// It does again.
    Consistent,
    /// A group's configuration was changed, or it was added or removed.
    Reconfigured,
    /// Interfaces were waited for in vain at start.
    Missing,
    /// An address that others renew stays on an interface that is out of use.
    LeftAlone,
    /// A member's hardware has another name.
    Renamed,
}
