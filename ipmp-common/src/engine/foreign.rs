//! What is others': their changes of what we had placed, put back and told with what is known of who that was; and addresses
//! that they renew.

use alloc::{string::String, vec::Vec};
use core::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    core_loop::Engine,
    ids::{GroupId, MemberId},
    reason::{Kind, Reason, Record},
    time::Timestamp,
};

/// What kind of program, or part of the kernel, makes such changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// `NetworkManager`.
    NetworkManager,
    /// systemd-networkd.
    SystemdNetworkd,
    /// A DHCP client.
    DhcpClient,
    /// A routing daemon.
    RoutingDaemon,
    /// A command, given by an administrator or by a script.
    Command,
    /// Some other program, which runs still.
    Program,
    /// The kernel took addresses or routes along when an interface was set down.
    LinkDown,
    /// The kernel, by itself: a router advertisement or a redirect, for instance.
    Kernel,
}

impl Class {
    const fn words(self) -> &'static str {
        match self {
            Self::NetworkManager => "NetworkManager",
            Self::SystemdNetworkd => "systemd-networkd",
            Self::DhcpClient => "a DHCP client",
            Self::RoutingDaemon => "a routing daemon",
            Self::Command => "a command",
            Self::Program => "a program",
            Self::LinkDown => "the kernel, because an interface was set down",
            Self::Kernel => "the kernel",
        }
    }
}

/// Who made a change, as far as that can be known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Culprit {
    /// Of what kind.
    pub class: Class,
    /// The program's name, if it could still be seen.
    pub program: Option<String>,
    /// Its process, likewise.
    pub pid: Option<u32>,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, program, pid } = self;
        f.write_str(class.words())?;
        match (program, pid) {
            (Some(program), Some(pid)) => write!(f, " ({program}, process {pid})"),
            _ if *class == Class::Command => f.write_str(" that has ended"),
            _ => Ok(()),
        }
    }
}

/// Who they were, with how many requests it took to put back what they changed, and how often that happened.
pub(super) fn tell(by: &[Culprit], (changes, times): (u32, u64), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("changed by ")?;
    if by.is_empty() {
        f.write_str("unknown (the kernel does not say)")?;
    }
    for (number, culprit) in by.iter().enumerate() {
        let between = if number == 0 { "" } else { ", " };
        write!(f, "{between}{culprit}")?;
    }
    write!(f, "; requests: {changes}, times so far: {times}")
}

impl Engine {
    /// What others renew is told where it stays while its interface is of no use.
    pub(super) fn left_alone(&mut self, now: Timestamp, member: MemberId, address: IpNet) {
        let Some(group) = self.member(member).map(|member| member.group) else { return };
        let record = Record::new(now, Kind::LeftAlone, Reason::Renewed);
        let (group, member, address) = (Some(group), Some(member), Some(address));
        self.publish_with(Record { group, member, address, ..record });
    }

    /// What others changed was put back.
    pub(super) fn put_back(&mut self, now: Timestamp, id: GroupId, changes: u32, by: Vec<Culprit>) {
        let Some(group) = self.group_mut(id) else { return };
        group.put_back += 1;
        let reason = Reason::ForeignChange { changes, times: group.put_back, by };
        self.publish(now, Kind::PutBack, Some(id), None, reason);
    }
}
