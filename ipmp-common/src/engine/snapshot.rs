//! A picture of the engine for people: what `ipmp status` shows. Never read back by the engine.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    ids::{GroupId, MemberId, SessionId},
    reason::Reason,
    time::{Nanos, Timestamp},
};

/// All groups at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Timestamp,
    /// In the order of the configuration.
    pub groups: Vec<GroupSnapshot>,
    /// Late wake-ups since start, each told by a record of its own.
    pub stalls: u64,
    /// Probe slots that were skipped since start because the daemon woke too late for them.
    #[serde(default)]
    pub skipped_slots: u64,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSnapshot {
    /// Its number.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: GroupState,
    /// Failure detection time in force.
    pub fdt: Nanos,
    /// Failure detection time configured.
    pub fdt_configured: Nanos,
    /// Worst cases of probe-based detection and repair; `None` if nothing is probed.
    pub bounds: Option<Bounds>,
    /// The data addresses are withdrawn, because the whole group has failed.
    pub withdrawn: bool,
    /// How often what others changed of its addresses and routes was put back, each told by a record of its own.
    #[serde(default)]
    pub put_back: u64,
    /// In the order of the configuration.
    pub members: Vec<MemberSnapshot>,
    /// Data addresses and where they shall be.
    pub addresses: Vec<AddressSnapshot>,
}

/// Group state, as in section 4 of the IPMP behaviour: all, some or none of the members usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupState {
    /// All members usable.
    Ok,
    /// Some.
    Degraded,
    /// None.
    Failed,
}

/// Member state as shown outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShownState {
    /// Working.
    Ok,
    /// Failed.
    Failed,
    /// Administratively offline.
    Offline,
    /// Not known yet, or no targets.
    Unknown,
    /// The interface is not there.
    Absent,
}

/// Result of probing a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeState {
    /// Targets answer.
    Ok,
    /// They do not.
    Failed,
    /// There are no targets.
    Unknown,
    /// There is no test address.
    Disabled,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSnapshot {
    /// Its number.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// Zero while absent.
    pub ifindex: u32,
    /// Its state.
    pub state: ShownState,
    /// Whether it may carry data addresses now.
    pub active: bool,
    /// Whether it is a standby.
    pub standby: bool,
    /// `None` = unknown.
    pub link_up: Option<bool>,
    /// Probing.
    pub probe: ProbeState,
    /// Why it is in this state.
    pub reason: Reason,
    /// When it came into it.
    pub since: Timestamp,
    /// What would happen to it by now, were it not deferred, and why it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Reason>,
    /// Sessions through it.
    pub targets: Vec<TargetSnapshot>,
}

/// What part a target has in probing (section 8 of the IPMP behaviour).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// Probed in turn; its answers and losses decide.
    Active,
    /// Probed besides, until it answers; its losses mean nothing.
    Trial,
    /// A spare.
    Unused,
    /// Set aside for a minute: too slow, or dead until recently.
    Slow,
    /// Set aside for a minute: it lost five probes in a row while another target proved the path.
    Dead,
}

/// The worst case by the schedule, for a daemon that is never late: nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// From the failure of a path to the verdict.
    pub detection: Nanos,
    /// From its recovery to the verdict, if every active target answers.
    pub repair: Nanos,
    /// From its recovery to the verdict, if only one of the active targets answers.
    pub repair_by_one: Nanos,
}

/// One target through one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSnapshot {
    /// The session; `None` while it is not probed.
    pub session: Option<SessionId>,
    /// The target.
    pub address: IpAddr,
    /// Its part in probing.
    pub state: TargetState,
    /// The test address.
    pub source: IpAddr,
    /// Newest round trip by kernel stamps.
    pub rtt_kernel: Option<Nanos>,
    /// Newest round trip as the daemon saw it: from the decision to send to the reply's processing.
    pub rtt_daemon: Option<Nanos>,
    /// Probes that left.
    pub sent: u64,
    /// Probes answered.
    pub acked: u64,
    /// Probes judged lost.
    pub lost: u64,
    /// Probes that never left: no evidence either way.
    pub unsent: u64,
}

/// One data address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSnapshot {
    /// The address.
    pub address: IpNet,
    /// Where it belongs.
    pub home: MemberId,
    /// Where it is placed, or was when it was withdrawn.
    pub on: MemberId,
}
