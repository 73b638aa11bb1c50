//! Reasons in words. One sentence each; whoever needs the numbers takes the value itself.

use core::fmt;

use super::{event::CarrierSource, reason::Reason};

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkDown { .. }
            | Self::LinkUp { .. }
            | Self::LinkRestored
            | Self::LinkFlaps { .. }
            | Self::NoInterface
            | Self::InterfaceFound { .. } => self.of_link(f),
            Self::ProbesLost { .. }
            | Self::ProbesAnswered { .. }
            | Self::NoTestAddress
            | Self::NoTargets
            | Self::TargetsKnown { .. } => self.of_probes(f),
            Self::Start => f.write_str("start"),
            Self::GroupFailure { members } => {
                write!(f, "no evidence of a working path on any of {members} members")
            }
            Self::MembersUsable { usable, members } => write!(f, "{usable} of {members} members usable"),
            Self::Failover { .. } => f.write_str("failover"),
            Self::Failback { .. } => f.write_str("failback"),
            Self::Activated { active, wanted } => {
                write!(f, "needed: {active} of {wanted} wanted members active")
            }
            Self::Deactivated { active, wanted } => {
                write!(f, "not needed: {active} of {wanted} wanted members active")
            }
            Self::Administrator => f.write_str("administrator's order"),
            Self::Announcement { addresses } => write!(f, "{addresses} addresses announced"),
            Self::LateWakeup { late_by, skipped_slots } => {
                write!(f, "daemon woke {late_by} late, {skipped_slots} probe slots skipped")
            }
            Self::Errno { errno, what } => write!(f, "{what}: errno {errno}"),
        }
    }
}

impl Reason {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_link(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkDown { source, downs: 0 | 1 } => write!(f, "carrier lost ({source})"),
            Self::LinkDown { source, downs } => write!(f, "carrier lost {downs} times ({source})"),
            Self::LinkUp { source } => write!(f, "carrier gained ({source})"),
            Self::LinkRestored => f.write_str("link is up and nothing is probed"),
            Self::LinkFlaps { ups, retry_in } => {
                write!(f, "link came up {ups} times within a minute; repair deferred for {retry_in}")
            }
            Self::InterfaceFound { ifindex } => write!(f, "interface is there, ifindex {ifindex}"),
            _ => f.write_str("no such interface"),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_probes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProbesLost { losses, family, target, silent_for, fdt, confirmed_in } => {
                write!(f, "{losses} consecutive {family} probes lost, the last to {target}; ")?;
                match silent_for {
                    Some(silent) => write!(f, "silent for {silent} (FDT {fdt})")?,
                    None => write!(f, "never answered (FDT {fdt})")?,
                }
                match confirmed_in {
                    Some(span) => write!(f, ", confirmed on suspicion within {span}"),
                    None => Ok(()),
                }
            }
            Self::ProbesAnswered { replies, family, target } => {
                write!(f, "{replies} consecutive {family} probes answered, the last by {target}")
            }
            Self::NoTestAddress => f.write_str("no test address"),
            Self::TargetsKnown { targets } => write!(f, "{targets} targets known"),
            _ => f.write_str("no targets"),
        }
    }
}

impl fmt::Display for CarrierSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Poll => "poll",
            Self::Netlink => "netlink",
        })
    }
}
