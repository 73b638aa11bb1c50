//! How a member stands: all that activity and placement go by, apart from everything else that is known of it.
//! What follows from standings is a pure function of them, so that it can also be asked what would follow from others.

use alloc::vec::Vec;

use super::{
    core_loop::Engine,
    group::Group,
    ids::{Family, MemberId},
    member::{Member, slot},
    time::Timestamp,
};

/// How one member of a group stands.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, as IPMP defines them")]
pub(super) struct Standing {
    pub(super) id: MemberId,
    /// Configured as standby.
    pub(super) standby: bool,
    pub(super) present: bool,
    /// It could carry traffic; whether it shall is another question.
    pub(super) functioning: bool,
    pub(super) failed: bool,
    pub(super) offline: bool,
    pub(super) inactive: bool,
    pub(super) recalled: bool,
    /// Its addresses are kept for it.
    pub(super) awaited: bool,
    /// Repaired, but its addresses shall not come back yet.
    pub(super) failback_waits: bool,
    pub(super) link_up: bool,
    /// Those that it can carry.
    pub(super) families: [bool; 2],
}

impl Standing {
    fn of(member: &Member, now: Timestamp) -> Self {
        Self {
            id: member.id,
            standby: member.config.standby,
            present: member.ifindex.is_some(),
            functioning: member.functioning(),
            failed: member.failed,
            offline: member.is_offline(),
            inactive: member.inactive,
            recalled: member.recalled,
            awaited: member.is_awaited(),
            failback_waits: member.damped.failback_waits(now),
            link_up: member.link_is_up(),
            families: Family::ALL.map(|family| member.identity.carries(family)),
        }
    }

    /// May carry data addresses.
    pub(super) const fn active(&self) -> bool {
        self.functioning && !self.inactive
    }

    /// Whether it can carry a family.
    pub(super) const fn carries(&self, family: Family) -> bool {
        self.families[slot(family)]
    }
}

impl Engine {
    /// The members of a group as they stand, in the order of the configuration.
    pub(super) fn standings(&self, now: Timestamp, group: &Group) -> Vec<Standing> {
        self.members_of(group.id).map(|member| Standing::of(member, now)).collect()
    }
}
