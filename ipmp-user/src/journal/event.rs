//! One line of `ipmp events --json`.

use ipmp_common::engine::{
    ids::MemberId,
    reason::{Kind, Reason, Record},
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Names;

/// A [`Record`] with names instead of numbers. All times are `CLOCK_MONOTONIC` nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When the engine decided it.
    pub t_ns: u64,
    /// What happened.
    pub kind: Kind,
    /// In which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// To which interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// To which data address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpNet>,
    /// Why, as text.
    pub reason: String,
    /// Why, as an object: its own `why` names the reason, the rest are its numbers.
    pub why: Value,
    /// Kernel time of the evidence; of what polling or netlink told, when it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_ns: Option<u64>,
    /// When the transition was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_ns: Option<u64>,
    /// When addresses and routes stood in their new place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_ns: Option<u64>,
    /// When the first announcement had left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_ns: Option<u64>,
}

impl Event {
    /// Puts names to a record.
    pub fn new(record: &Record, names: &Names) -> Self {
        Self {
            t_ns: record.at.0,
            kind: record.kind,
            group: record.group.map(|group| names.group(group)),
            interface: record.member.map(|member| names.member(member)),
            address: record.address,
            reason: reason_text(&record.reason, names),
            why: reason_object(&record.reason, names),
            evidence_ns: record.evidence_at.map(|at| at.0),
            decided_ns: record.decided_at.map(|at| at.0),
            applied_ns: record.applied_at.map(|at| at.0),
            announced_ns: record.announced_at.map(|at| at.0),
        }
    }
}

/// The member a reason speaks of, if it does, with the name of its field. One that speaks of several is put into words
/// by [`message::missing`](super::message::missing).
const fn member_of(reason: &Reason) -> Option<(&'static str, MemberId)> {
    match reason {
        Reason::Failover { from } | Reason::Failback { from } | Reason::Rehomed { from } => {
            Some(("from", *from))
        }
        Reason::DuplicateMac { other, .. } => Some(("other", *other)),
        Reason::Start
        | Reason::LinkDown { .. }
        | Reason::LinkUp { .. }
        | Reason::ProbesLost { .. }
        | Reason::ProbesAnswered { .. }
        | Reason::LinkRestored
        | Reason::LinkFlaps { .. }
        | Reason::LinkDownDelayed { .. }
        | Reason::LinkUpDelayed { .. }
        | Reason::FailbackDelayed { .. }
        | Reason::HeldDown { .. }
        | Reason::SlowRoundTrip { .. }
        | Reason::QuickRoundTrip { .. }
        | Reason::OneSlowTarget { .. }
        | Reason::GroupFailure { .. }
        | Reason::MembersUsable { .. }
        | Reason::Activated { .. }
        | Reason::Deactivated { .. }
        | Reason::Administrator { .. }
        | Reason::Detached
        | Reason::Reconfigured { .. }
        | Reason::GroupRemoved
        | Reason::Awaited { .. }
        | Reason::Missing { .. }
        | Reason::NoInterface
        | Reason::NotTaken { .. }
        | Reason::InterfaceRemoved
        | Reason::Renamed { .. }
        | Reason::Renewed
        | Reason::UniqueMac { .. }
        | Reason::DuplicateTestAddress { .. }
        | Reason::UniqueTestAddress { .. }
        | Reason::FamilyMissing { .. }
        | Reason::LinkTypeDiffers { .. }
        | Reason::MtuDiffers { .. }
        | Reason::FitsGroup
        | Reason::InterfaceFound { .. }
        | Reason::Unproved
        | Reason::NoTestAddress
        | Reason::NoTargets
        | Reason::TargetsKnown { .. }
        | Reason::TargetDead { .. }
        | Reason::TargetAnswers { .. }
        | Reason::HostsFound { .. }
        | Reason::RoutersFound { .. }
        | Reason::Withdrawn { .. }
        | Reason::Returned { .. }
        | Reason::Announcement { .. }
        | Reason::LateWakeup { .. }
        | Reason::ProbesStayed { .. }
        | Reason::ProbesLeave { .. }
        | Reason::ForeignChange { .. }
        | Reason::Counted { .. }
        | Reason::Errno { .. } => None,
    }
}

/// A reason as text, with names and with the text of an errno.
pub(crate) fn reason_text(reason: &Reason, names: &Names) -> String {
    if let Reason::Errno { errno, what } = reason {
        if *errno == 0 {
            return what.clone();
        }
        return format!("{what}: {}", std::io::Error::from_raw_os_error(*errno));
    }
    if matches!(reason, Reason::Missing { .. }) {
        return super::message::missing(reason, names);
    }
    match member_of(reason) {
        Some(("from", member)) => format!("{reason} from {}", names.member(member)),
        Some((_, member)) => format!("{reason}: {}", names.member(member)),
        None => reason.to_string(),
    }
}

/// A reason as an object, member numbers replaced by names.
pub(crate) fn reason_object(reason: &Reason, names: &Names) -> Value {
    // Reasons hold only numbers, strings and addresses, which always serialize.
    let mut object = serde_json::to_value(reason).unwrap_or(Value::Null);
    if let Some((field, member)) = member_of(reason)
        && let Some(number) = object.get_mut(field)
    {
        *number = Value::String(names.member(member));
    }
    if let Reason::Missing { moved, .. } = reason {
        let list = moved.iter().map(|(missing, hosts)| {
            let hosts: Vec<String> = hosts.iter().map(|host| names.member(*host)).collect();
            serde_json::json!({ "interface": names.member(*missing), "on": hosts })
        });
        object["moved"] = Value::Array(list.collect());
    }
    object
}
