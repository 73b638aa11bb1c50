//! The document of `ipmp status --json`, and how it is made. All times are nanoseconds.

use std::{collections::BTreeMap, net::IpAddr};

use ipmp_common::engine::{
    event::CarrierSource,
    ids::MemberId,
    snapshot::{
        AddressSnapshot, GroupSnapshot, GroupState, MemberSnapshot, ProbeState, ShownState, Snapshot,
        TargetSnapshot, TargetState,
    },
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    diagnosis::Diagnosis,
    journal::{Names, reason_object, reason_text},
};

/// Version of the document. New fields do not raise it.
pub const VERSION: u32 = 1;

/// How the evidence about one interface comes in: what the engine does not know but people want to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceInfo {
    /// The rung in use for replies.
    pub reply_evidence: ReplyEvidence,
    /// The rung in use for carrier.
    pub carrier_evidence: CarrierSource,
    /// Why no better rung is in use, one sentence a rung.
    pub notes: Vec<String>,
    /// What the programs counted on this interface, if they can.
    pub counters: Option<Counters>,
    /// What the kernel says of it.
    pub device: Option<DeviceInfo>,
    /// It is one of those that outbound flows are spread over.
    #[serde(default)]
    pub outbound: bool,
}

/// An interface as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// The section of the file that means it by `mac` or `pci`, if that has another name; left out else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// Its hardware address, as `ip link` writes it.
    pub mac: Option<String>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Addresses that a DHCP client or router advertisements renew: never moved. Left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<IpNet>,
    /// The addresses that probes leave from, IPv4 first; at most one of each family.
    pub test: Vec<TestInfo>,
}

/// An address that probes leave from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestInfo {
    /// The address.
    pub address: IpAddr,
    /// Where its targets come from.
    pub targets: TargetOrigin,
}

/// Where targets come from (section 8 of the IPMP behaviour).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetOrigin {
    /// The configuration or the routing table.
    Routes,
    /// Hosts on the link, for want of the former.
    Neighbours,
}

/// The rungs of the reply ladder, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyEvidence {
    /// XDP in the driver.
    XdpNative,
    /// tcx ingress.
    Tcx,
    /// XDP in the stack.
    XdpGeneric,
    /// Socket timestamps.
    Socket,
}

/// Frames and replies on one interface since the programs were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Frames looked at.
    pub seen: u64,
    /// Replies to our probes.
    pub ours: u64,
    /// Echo replies to somebody else's.
    pub foreign_id: u64,
    /// Frames that broke off or lied about their length.
    pub malformed: u64,
    /// Replies that came twice.
    pub duplicate: u64,
    /// Replies that came too late.
    pub late: u64,
    /// Wake-ups lost because the ring buffer was full.
    pub ring_full: u64,
    /// Probes seen leaving.
    pub sent: u64,
}

/// All groups at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// When the picture was taken, `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Late wake-ups of the daemon since its start, each told by an event.
    pub stalls: u64,
    /// Probe slots skipped since its start because it woke too late for them.
    #[serde(default)]
    pub skipped_slots: u64,
    /// In the order of the configuration.
    pub groups: Vec<GroupStatus>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// All, some or none of its interfaces usable.
    pub state: GroupState,
    /// Failure detection time in force.
    pub fdt_ns: u64,
    /// Failure detection time configured.
    pub fdt_configured_ns: u64,
    /// Longest time from a path's failure to the verdict by the probe schedule, if the daemon is not late; null if
    /// nothing is probed.
    pub detection_worst_ns: Option<u64>,
    /// Longest time from a path's recovery to the verdict, if all active targets answer.
    pub repair_worst_ns: Option<u64>,
    /// The same if only one of the active targets answers.
    #[serde(default)]
    pub repair_by_one_worst_ns: Option<u64>,
    /// How often what others changed of its addresses and routes was put back, each told by an event `put-back`.
    #[serde(default)]
    pub put_back: u64,
    /// The interfaces that outbound flows are spread over; left out if they are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<String>,
    /// In the order of the configuration.
    pub interfaces: Vec<InterfaceStatus>,
    /// In the order of the configuration.
    pub addresses: Vec<AddressStatus>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
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
    /// Carrier.
    pub link: Link,
    /// Probing.
    pub probe: ProbeState,
    /// Why it is in this state, as text.
    pub reason: String,
    /// The same with its numbers.
    pub why: Value,
    /// Since when, `CLOCK_MONOTONIC`.
    pub since_ns: u64,
    /// What would have happened by now, were it not deferred, as text; left out if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<String>,
    /// The rung in use for replies; null while there is none.
    pub reply_evidence: Option<ReplyEvidence>,
    /// The rung in use for carrier; null while there is none.
    pub carrier_evidence: Option<CarrierSource>,
    /// Why no better rung is in use.
    pub notes: Vec<String>,
    /// What the programs counted.
    pub counters: Option<Counters>,
    /// What the kernel says of it; null while it is absent.
    pub device: Option<DeviceInfo>,
    /// Probed through it.
    pub targets: Vec<TargetStatus>,
    /// What the driver says of its link, and what is wrong with it; left out unless asked for (`ipmp status -v`). The
    /// client adds it: the daemon asks no driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Box<Diagnosis>>,
}

/// Carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// There.
    Up,
    /// Gone.
    Down,
    /// The driver cannot tell, or the interface is absent.
    Unknown,
}

/// One target through one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// The target.
    pub address: IpAddr,
    /// The test address.
    pub source: IpAddr,
    /// Its part in probing.
    pub state: TargetState,
    /// Newest round trip by kernel stamps; null before the first.
    pub rtt_kernel_ns: Option<u64>,
    /// Newest round trip as the daemon saw it.
    pub rtt_daemon_ns: Option<u64>,
    /// Probes that left.
    pub sent: u64,
    /// Probes answered.
    pub acked: u64,
    /// Probes judged lost.
    pub lost: u64,
    /// Probes that never left.
    pub unsent: u64,
}

/// One data address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressStatus {
    /// The address.
    pub address: IpNet,
    /// The interface it belongs to.
    pub home: String,
    /// The interface it is on; null while it is withdrawn (`on-group-failure = "fail"`) or parked.
    pub on: Option<String>,
    /// No interface of the group has it: the one that had it was detached, is absent or left the configuration, and no
    /// other can take it. Left out if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
}

/// Makes the document. Pure.
pub fn build(snapshot: &Snapshot, evidence: &BTreeMap<MemberId, EvidenceInfo>) -> Status {
    let names = Names::in_snapshot(snapshot);
    let group = |group: &GroupSnapshot| GroupStatus {
        name: group.name.clone(),
        state: group.state,
        fdt_ns: group.fdt.0,
        fdt_configured_ns: group.fdt_configured.0,
        detection_worst_ns: group.bounds.map(|bounds| bounds.detection.0),
        repair_worst_ns: group.bounds.map(|bounds| bounds.repair.0),
        repair_by_one_worst_ns: group.bounds.map(|bounds| bounds.repair_by_one.0),
        put_back: group.put_back,
        outbound: group
            .members
            .iter()
            .filter(|member| evidence.get(&member.member).is_some_and(|evidence| evidence.outbound))
            .map(|member| member.name.clone())
            .collect(),
        interfaces: group
            .members
            .iter()
            .map(|member| interface(member, evidence.get(&member.member), &names))
            .collect(),
        addresses: group.addresses.iter().map(|data| address(data, group, &names)).collect(),
    };
    Status {
        version: VERSION,
        at_ns: snapshot.at.0,
        stalls: snapshot.stalls,
        skipped_slots: snapshot.skipped_slots,
        groups: snapshot.groups.iter().map(group).collect(),
    }
}

fn interface(member: &MemberSnapshot, evidence: Option<&EvidenceInfo>, names: &Names) -> InterfaceStatus {
    InterfaceStatus {
        name: member.name.clone(),
        ifindex: member.ifindex,
        state: member.state,
        active: member.active,
        standby: member.standby,
        link: match member.link_up {
            Some(true) => Link::Up,
            Some(false) => Link::Down,
            None => Link::Unknown,
        },
        probe: member.probe,
        reason: reason_text(&member.reason, names),
        why: reason_object(&member.reason, names),
        since_ns: member.since.0,
        deferred: member.deferred.as_ref().map(|reason| reason_text(reason, names)),
        reply_evidence: evidence.map(|evidence| evidence.reply_evidence),
        carrier_evidence: evidence.map(|evidence| evidence.carrier_evidence),
        notes: evidence.map(|evidence| evidence.notes.clone()).unwrap_or_default(),
        counters: evidence.and_then(|evidence| evidence.counters),
        device: evidence.and_then(|evidence| evidence.device.clone()),
        targets: member.targets.iter().map(target).collect(),
        diagnosis: None,
    }
}

fn target(target: &TargetSnapshot) -> TargetStatus {
    TargetStatus {
        address: target.address,
        source: target.source,
        state: target.state,
        rtt_kernel_ns: target.rtt_kernel.map(|rtt| rtt.0),
        rtt_daemon_ns: target.rtt_daemon.map(|rtt| rtt.0),
        sent: target.sent,
        acked: target.acked,
        lost: target.lost,
        unsent: target.unsent,
    }
}

fn address(data: &AddressSnapshot, group: &GroupSnapshot, names: &Names) -> AddressStatus {
    let is_there = |member: &MemberSnapshot| member.member == data.on && member.ifindex != 0;
    let parked = !group.withdrawn && !group.members.iter().any(is_there);
    AddressStatus {
        address: data.address,
        home: names.member(data.home),
        on: (!group.withdrawn && !parked).then(|| names.member(data.on)),
        parked,
    }
}
