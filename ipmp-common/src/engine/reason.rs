//! Why something happened, with its numbers. The log line, the metric, `ipmp events` and `ipmp explain`
//! all print these same values.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use super::record::{Kind, Record};
use super::{
    event::{CarrierSource, NotSent},
    ids::{Family, MemberId},
    time::{Nanos, Timestamp},
};

/// Why, with numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Reason {
    /// Start-up: nothing happened yet.
    Start,
    /// The interface has no carrier.
    LinkDown {
        /// Who saw it.
        source: CarrierSource,
        /// Carrier losses since the previous report; zero if it appeared without a carrier.
        downs: u64,
    },
    /// The interface has carrier again.
    LinkUp {
        /// Who saw it.
        source: CarrierSource,
    },
    /// Consecutive probes were lost.
    ProbesLost {
        /// Consecutive losses over all targets of a family.
        losses: u32,
        /// The family judged last (both failed if both are probed).
        family: Family,
        /// The target of the newest lost probe.
        target: IpAddr,
        /// Time since the last good reply on this interface, if there ever was one.
        silent_for: Option<Nanos>,
        /// The failure detection time in force.
        fdt: Nanos,
        /// From the first to the last lost probe, if suspicion confirmed the loss faster than the slots would.
        #[serde(default)]
        confirmed_in: Option<Nanos>,
    },
    /// Consecutive probes were answered.
    ProbesAnswered {
        /// Consecutive successes.
        replies: u32,
        /// On which family.
        family: Family,
        /// The target of the newest answer.
        target: IpAddr,
    },
    /// The link came back and the interface has no test address (link-based repair).
    LinkRestored,
    /// The link came up too often in a minute for an immediate repair.
    LinkFlaps {
        /// Link-ups within the last minute.
        ups: u32,
        /// When repair is tried again.
        retry_in: Nanos,
    },
    /// `link-down-delay`: the carrier is lost, which counts only if it lasts.
    LinkDownDelayed {
        /// The configured delay.
        delay: Nanos,
        /// When it counts.
        until: Timestamp,
    },
    /// `link-up-delay`: all else speaks for a repair, but the link came up only just now.
    LinkUpDelayed {
        /// The configured delay.
        delay: Nanos,
        /// When repair is tried again.
        until: Timestamp,
    },
    /// `failback-delay`: the repaired member rests before it gets its addresses back.
    FailbackDelayed {
        /// The configured delay.
        delay: Nanos,
        /// When it serves again.
        until: Timestamp,
    },
    /// `hold-down`: the member failed again soon after a repair, and must be free of trouble for a while.
    HeldDown {
        /// Failures that came soon after a repair.
        flaps: u32,
        /// For how long it must be free of trouble.
        hold: Nanos,
        /// When repair is tried again, if there is none until then.
        until: Timestamp,
    },
    /// A target answers too slowly for the failure detection time.
    SlowRoundTrip {
        /// The family of the target.
        family: Family,
        /// The target.
        target: IpAddr,
        /// Its round trip with four deviations.
        bound: Nanos,
        /// The failure detection time that is configured.
        configured: Nanos,
        /// The one in force now.
        fdt: Nanos,
    },
    /// All targets answer quickly again.
    QuickRoundTrip {
        /// The family of the target heard last.
        family: Family,
        /// That target.
        target: IpAddr,
        /// Its round trip with four deviations.
        bound: Nanos,
        /// The failure detection time that is configured.
        configured: Nanos,
        /// The one in force now.
        fdt: Nanos,
    },
    /// One target answers slowly, all others quickly: it is not probed for a while.
    OneSlowTarget {
        /// The target.
        target: IpAddr,
        /// Its round trip with four deviations.
        bound: Nanos,
        /// For how long.
        retry_in: Nanos,
    },
    /// No member of the group has any evidence of a working path.
    GroupFailure {
        /// Members of the group.
        members: u32,
    },
    /// A member of the group is usable.
    MembersUsable {
        /// How many are.
        usable: u32,
        /// Of how many.
        members: u32,
    },
    /// The placement follows from another member's state.
    Failover {
        /// The member that lost its addresses.
        from: MemberId,
    },
    /// The address goes home.
    Failback {
        /// The member that hosted it meanwhile.
        from: MemberId,
    },
    /// A standby (or idle) member takes over for a failed one.
    Activated {
        /// Active members now.
        active: u32,
        /// Active members wanted.
        wanted: u32,
    },
    /// A standby (or repaired, with failback off) member is not needed.
    Deactivated {
        /// Active members now.
        active: u32,
        /// Active members wanted.
        wanted: u32,
    },
    /// The administrator ordered it.
    Administrator {
        /// Although no other functioning member was left in the group.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        forced: bool,
    },
    /// The administrator gave the interface up, so that it can be removed.
    Detached,
    /// The configuration in force is another one.
    Reconfigured {
        /// Members now.
        members: u32,
        /// Data addresses now.
        addresses: u32,
    },
    /// The configuration names the group no longer. What stands on its interfaces stays.
    GroupRemoved,
    /// The address's home left the group: it stays where it is, which is its home now.
    Rehomed {
        /// The former home.
        from: MemberId,
    },
    /// The interface is missing at start, and may still come.
    Awaited {
        /// When the wait is over.
        until: Timestamp,
    },
    /// Interfaces are missing at start: others of their groups serve their addresses of a family.
    Missing {
        /// The family.
        family: Family,
        /// Each missing interface, and who serves its addresses; nobody if no sibling works.
        moved: alloc::vec::Vec<(MemberId, alloc::vec::Vec<MemberId>)>,
    },
    /// The interface does not exist.
    NoInterface,
    /// The interface is there, but cannot be a member.
    NotTaken {
        /// Why not, for people.
        obstacle: alloc::string::String,
    },
    /// The interface was there and is no longer.
    InterfaceRemoved,
    /// A DHCP client or router advertisements renew it.
    Renewed,
    /// The hardware that the configuration means has another name.
    Renamed {
        /// The one it had before.
        former: alloc::string::String,
    },
    /// Another member in use has the same hardware address: neighbours and switches would mix them up.
    DuplicateMac {
        /// The address.
        mac: alloc::string::String,
        /// The other member.
        other: MemberId,
    },
    /// No other member in use has its hardware address.
    UniqueMac {
        /// The address.
        mac: alloc::string::String,
    },
    /// Another member of the group has the same test address.
    DuplicateTestAddress {
        /// The address.
        address: IpAddr,
    },
    /// No other member of the group has its test address any longer.
    UniqueTestAddress {
        /// The address.
        address: IpAddr,
    },
    /// The member cannot carry a family that the group uses.
    FamilyMissing {
        /// Which.
        family: Family,
    },
    /// It is of another link type than the first member.
    LinkTypeDiffers {
        /// Its `ARPHRD_*`.
        link_type: u16,
        /// The first member's.
        expected: u16,
    },
    /// It takes packets of another size than the first member.
    MtuDiffers {
        /// Its MTU in bytes.
        mtu: u32,
        /// The first member's.
        expected: u32,
    },
    /// Family, link type and MTU fit those of the group.
    FitsGroup,
    /// The interface exists.
    InterfaceFound {
        /// Its ifindex.
        ifindex: u32,
    },
    /// The interface has appeared, others serve its addresses, and it has not shown yet that it works.
    Unproved,
    /// Probing needs a test address and there is none.
    NoTestAddress,
    /// Probing has no target.
    NoTargets,
    /// Probing is possible.
    TargetsKnown {
        /// How many targets of both families.
        targets: u32,
    },
    /// A target lost probes of its own while others proved the path: its fault, not the interface's.
    TargetDead {
        /// The target.
        target: IpAddr,
        /// Its consecutive losses.
        losses: u32,
    },
    /// A dead target answers again.
    TargetAnswers {
        /// The target.
        target: IpAddr,
    },
    /// Hosts appeared in the neighbour table; each is probed for good once it has answered.
    HostsFound {
        /// Their family.
        family: Family,
        /// The new ones.
        hosts: alloc::vec::Vec<IpAddr>,
    },
    /// Routes name other routers than before.
    RoutersFound {
        /// Their family.
        family: Family,
        /// All of them now.
        routers: alloc::vec::Vec<IpAddr>,
    },
    /// The whole group failed, and its data addresses shall then be withdrawn.
    Withdrawn {
        /// How many.
        addresses: u32,
    },
    /// The group works again, and its data addresses are back.
    Returned {
        /// How many.
        addresses: u32,
    },
    /// Addresses were announced to the neighbours.
    Announcement {
        /// How many.
        addresses: u32,
    },
    /// The daemon woke late.
    LateWakeup {
        /// How late.
        late_by: Nanos,
        /// Probe slots that were skipped, never bursted.
        skipped_slots: u64,
    },
    /// Probes stay in the host: they prove nothing.
    ProbesStayed {
        /// Of which family.
        family: Family,
        /// How many in a row.
        probes: u32,
        /// Why the newest of them.
        cause: NotSent,
    },
    /// Probes leave the host again.
    ProbesLeave {
        /// Of which family.
        family: Family,
        /// How many had stayed.
        stayed: u32,
    },
    /// Somebody else changed addresses or routes.
    ForeignChange {
        /// Requests that it took to put them back.
        changes: u32,
        /// How often that has happened in this group.
        times: u64,
        /// Who, as far as can be known.
        by: alloc::vec::Vec<super::foreign::Culprit>,
    },
    /// The interface has counted errors.
    Counted {
        /// Since they were read before: at the verdict before this one, or when the interface appeared.
        within: Nanos,
        /// What was added.
        #[serde(flatten)]
        errors: super::errors::Errors,
    },
    /// The kernel refused.
    Errno {
        /// Its errno.
        errno: i32,
        /// What was tried.
        what: alloc::string::String,
    },
}
