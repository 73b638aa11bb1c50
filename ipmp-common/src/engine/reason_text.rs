//! Reasons in words. One sentence each; whoever needs the numbers takes the value itself.

use core::fmt;

use super::{
    event::{CarrierSource, NotSent},
    foreign::tell,
    reason::Reason,
};

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkDown { .. }
            | Self::LinkUp { .. }
            | Self::LinkRestored
            | Self::LinkFlaps { .. }
            | Self::NoInterface
            | Self::InterfaceRemoved
            | Self::InterfaceFound { .. }
            | Self::Unproved => self.of_link(f),
            Self::ProbesLost { .. }
            | Self::ProbesAnswered { .. }
            | Self::NoTestAddress
            | Self::NoTargets
            | Self::SlowRoundTrip { .. }
            | Self::QuickRoundTrip { .. }
            | Self::OneSlowTarget { .. }
            | Self::TargetsKnown { .. } => self.of_probes(f),
            Self::LinkDownDelayed { .. }
            | Self::LinkUpDelayed { .. }
            | Self::FailbackDelayed { .. }
            | Self::HeldDown { .. } => self.of_damping(f),
            Self::TargetDead { .. }
            | Self::TargetAnswers { .. }
            | Self::HostsFound { .. }
            | Self::RoutersFound { .. } => self.of_targets(f),
            Self::Withdrawn { .. } | Self::Returned { .. } | Self::Announcement { .. } => {
                self.of_addresses(f)
            }
            Self::DuplicateMac { .. }
            | Self::UniqueMac { .. }
            | Self::DuplicateTestAddress { .. }
            | Self::UniqueTestAddress { .. }
            | Self::FamilyMissing { .. }
            | Self::LinkTypeDiffers { .. }
            | Self::MtuDiffers { .. }
            | Self::FitsGroup => self.of_consistency(f),
            Self::Start => f.write_str("start"),
            Self::GroupFailure { .. } | Self::MembersUsable { .. } => self.of_group(f),
            Self::Failover { .. } => f.write_str("failover"),
            Self::Failback { .. } => f.write_str("failback"),
            Self::NotTaken { obstacle } => f.write_str(obstacle),
            Self::Activated { active, wanted } => needed(f, "needed", *active, *wanted),
            Self::Deactivated { active, wanted } => needed(f, "not needed", *active, *wanted),
            Self::Administrator { .. }
            | Self::Detached
            | Self::Reconfigured { .. }
            | Self::GroupRemoved
            | Self::Rehomed { .. }
            | Self::Awaited { .. }
            | Self::Missing { .. }
            | Self::Renewed
            | Self::Renamed { .. } => self.of_configuration(f),
            Self::LateWakeup { .. }
            | Self::ProbesStayed { .. }
            | Self::ProbesLeave { .. }
            | Self::Counted { .. } => self.of_counts(f),
            Self::ForeignChange { changes, times, by } => tell(by, (*changes, *times), f),
            Self::Errno { errno, what } => write!(f, "{what}: errno {errno}"),
        }
    }
}

fn needed(f: &mut fmt::Formatter<'_>, word: &str, active: u32, wanted: u32) -> fmt::Result {
    write!(f, "{word}: {active} of {wanted} wanted members active")
}

impl Reason {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LateWakeup { late_by, skipped_slots } => {
                write!(f, "daemon woke {late_by} late, {skipped_slots} probe slots skipped")
            }
            Self::Counted { within, errors } => write!(f, "since {within}: {errors}"),
            Self::ProbesStayed { family, probes, cause } => {
                write!(
                    f,
                    "{probes} {family} probes in a row did not leave the host ({}): they prove nothing",
                    stay(*cause)
                )
            }
            Self::ProbesLeave { family, stayed } => {
                write!(f, "{family} probes leave the host again after {stayed} that did not")
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_link(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkDown { source, downs: 0 } => write!(f, "no carrier ({source})"),
            Self::LinkDown { source, downs: 1 } => write!(f, "carrier lost ({source})"),
            Self::LinkDown { source, downs } => write!(f, "carrier lost {downs} times ({source})"),
            Self::LinkUp { source } => write!(f, "carrier gained ({source})"),
            Self::LinkRestored => f.write_str("link is up and nothing is probed"),
            Self::LinkFlaps { ups, retry_in } => {
                write!(f, "link came up {ups} times within a minute; repair deferred for {retry_in}")
            }
            Self::InterfaceRemoved => f.write_str("interface was removed"),
            Self::InterfaceFound { ifindex } => {
                write!(f, "interface found, ifindex {ifindex}; nothing speaks against it")
            }
            Self::Unproved => f.write_str("it appeared and has yet to show that it works"),
            _ => f.write_str("no such interface"),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_consistency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateMac { mac, .. } => write!(f, "hardware address {mac} is also another member's"),
            Self::UniqueMac { mac } => write!(f, "hardware address {mac} is unique in the group"),
            Self::DuplicateTestAddress { address } => {
                write!(f, "test address {address} is also another member's")
            }
            Self::UniqueTestAddress { address } => write!(f, "test address {address} is unique in the group"),
            Self::FamilyMissing { family } => write!(f, "it cannot carry {family}, which the group uses"),
            Self::LinkTypeDiffers { link_type, expected } => {
                write!(f, "its link type is {link_type}, that of the first member {expected}")
            }
            Self::MtuDiffers { mtu, expected } => {
                write!(f, "its MTU is {mtu}, that of the first member {expected}")
            }
            _ => f.write_str("it fits the group"),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_damping(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkDownDelayed { delay, .. } => {
                write!(f, "carrier lost; a failure only if it stays away for {delay}")
            }
            Self::LinkUpDelayed { delay, .. } => {
                write!(f, "link is up; repaired when it has been for {delay}")
            }
            Self::HeldDown { flaps, hold, .. } => {
                write!(f, "failed again {flaps} times soon after a repair; held down until quiet for {hold}")
            }
            Self::FailbackDelayed { delay, .. } => {
                write!(f, "repaired; its addresses come back after {delay}")
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_targets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetDead { target, losses } => {
                write!(f, "{target} lost {losses} probes in a row while others answer")
            }
            Self::TargetAnswers { target } => write!(f, "{target} answers again"),
            Self::HostsFound { family, hosts } => {
                write!(f, "{family} hosts on the link:")?;
                hosts.iter().try_for_each(|host| write!(f, " {host}"))
            }
            Self::RoutersFound { family, routers } if routers.is_empty() => {
                write!(f, "no {family} routers any more")
            }
            Self::RoutersFound { family, routers } => {
                write!(f, "{family} routers:")?;
                routers.iter().try_for_each(|router| write!(f, " {router}"))
            }
            _ => Ok(()),
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
            Self::SlowRoundTrip { target, bound, configured, fdt, .. } => write!(
                f,
                "replies of {target} take up to {bound}; detection time {fdt} instead of {configured}"
            ),
            Self::QuickRoundTrip { target, bound, configured, fdt, .. } => write!(
                f,
                "replies of {target} take up to {bound}; detection time {fdt}, configured {configured}"
            ),
            Self::OneSlowTarget { target, bound, retry_in } => {
                write!(f, "replies of {target} take up to {bound}; not probed for {retry_in}")
            }
            Self::NoTestAddress => f.write_str("no test address"),
            Self::TargetsKnown { targets } => write!(f, "{targets} target{} known", plural(*targets)),
            _ => f.write_str("no targets"),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_addresses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announcement { addresses } => write!(f, "{} announced", addresses_of(*addresses)),
            Self::Withdrawn { addresses } => {
                write!(f, "the whole group failed: {} withdrawn", addresses_of(*addresses))
            }
            Self::Returned { addresses } => {
                write!(f, "the group works again: {} back", addresses_of(*addresses))
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_group(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroupFailure { members } => {
                write!(f, "no evidence of a working path on any of {members} members")
            }
            Self::MembersUsable { usable, members } => write!(f, "{usable} of {members} members usable"),
            _ => Ok(()),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller's list names what comes here")]
    fn of_configuration(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Administrator { forced: false } => f.write_str("administrator's order"),
            Self::Administrator { forced: true } => {
                f.write_str("administrator's order, forced: no other functioning interface is in its group")
            }
            Self::Detached => f.write_str("detached by the administrator"),
            Self::Reconfigured { members, addresses } => {
                write!(f, "configuration in force: {members} members, {addresses} data addresses")
            }
            Self::GroupRemoved => f.write_str("no longer in the configuration"),
            Self::Awaited { .. } => f.write_str("missing at start; it may still come"),
            Self::Renewed => f.write_str(
                "it has a lifetime, so a DHCP client or router advertisements renew it, and it is not moved",
            ),
            Self::Renamed { former } => write!(f, "the same hardware was known as {former}"),
            Self::Rehomed { .. } => {
                f.write_str("its home left the group, so it stays where it is; taken over")
            }
            Self::Missing { family, moved } => {
                write!(
                    f,
                    "{} interfaces are missing, their {family} addresses are served elsewhere",
                    moved.len()
                )
            }
            _ => Ok(()),
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

const fn stay(cause: NotSent) -> &'static str {
    match cause {
        NotSent::Unresolved | NotSent::Resolving => "the neighbour is still asked for its hardware address",
        NotSent::Local { .. } => "the kernel refuses them, or the transmit queue is full",
        NotSent::NeverLeft => "taken, but never seen to leave",
    }
}

const fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn addresses_of(count: u32) -> alloc::string::String {
    alloc::format!("{count} address{}", if count == 1 { "" } else { "es" })
}
