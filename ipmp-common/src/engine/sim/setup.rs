//! What a test starts from.

use alloc::{format, vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::engine::{
    config::{Announcements, Config, Damping, DataAddresses, GroupConfig, InterfaceConfig, OnGroupFailure},
    ids::MemberId,
    time::Nanos,
};

/// The router that IPv4 probes go to.
pub const V4_TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The router that IPv6 probes go to.
const V6_TARGET: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xff));

/// The first member.
pub const fn a() -> MemberId {
    MemberId(0)
}

/// The second member.
pub const fn b() -> MemberId {
    MemberId(1)
}

/// The third member.
pub const fn c() -> MemberId {
    MemberId(2)
}

/// Milliseconds.
pub const fn ms(count: u64) -> Nanos {
    Nanos::from_millis(count)
}

/// Seconds.
pub const fn secs(count: u64) -> Nanos {
    Nanos::from_secs(count)
}

/// One group and its surroundings.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Of the group, if there is one; several get numbers.
    pub name: &'static str,
    /// Of the engine and of the network.
    pub seed: u64,
    /// Failure detection time.
    pub fdt: Nanos,
    /// `FAILBACK`.
    pub failback: bool,
    /// Losses do not count so long after an interface appeared.
    pub quiet_period: Nanos,
    /// Whether a first loss is confirmed faster.
    pub suspicion: bool,
    /// Whether outbound flows are spread.
    pub outbound_spreading: bool,
    /// Configured targets.
    pub targets: Vec<IpAddr>,
    /// The members of each group.
    pub members: Vec<Interface>,
    /// So many groups of them.
    pub groups: usize,
    /// Hysteresis.
    pub damping: Damping,
    /// How often neighbours are told where an address is.
    pub announcements: Announcements,
    /// `on-group-failure`.
    pub on_group_failure: OnGroupFailure,
    /// Members that are not there at start are waited for; zero = they are not.
    pub boot_wait: Nanos,
    /// Round trip to every target.
    pub rtt: Nanos,
    /// From `SetPlacement` to its result.
    pub apply_delay: Nanos,
}

/// One member to be.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties")]
pub struct Interface {
    /// Spare until needed.
    pub standby: bool,
    /// Has an IPv4 test address.
    pub v4: bool,
    /// Has an IPv6 test address.
    pub v6: bool,
    /// Data addresses at home here.
    pub addresses: usize,
    /// Whether the interface is there at start.
    pub present: bool,
}

impl Setup {
    /// `count` members with IPv4 test addresses and one data address each, one target.
    pub fn probed(count: usize) -> Self {
        let member = Interface { standby: false, v4: true, v6: false, addresses: 1, present: true };
        Self {
            name: "ipmp0",
            seed: 1,
            fdt: ms(700),
            failback: true,
            quiet_period: Nanos(0),
            suspicion: false,
            outbound_spreading: false,
            targets: vec![V4_TARGET],
            damping: Damping::default(),
            announcements: Announcements::default(),
            on_group_failure: OnGroupFailure::Keep,
            members: vec![member; count],
            groups: 1,
            boot_wait: Nanos(0),
            rtt: Nanos(200_000),
            apply_delay: Nanos(50_000),
        }
    }

    /// `count` members judged by their links alone.
    pub fn link_only(count: usize) -> Self {
        let mut setup = Self::probed(count);
        setup.targets.clear();
        setup.members.iter_mut().for_each(|member| member.v4 = false);
        setup
    }

    /// Both families probed.
    pub fn dual_stack(count: usize) -> Self {
        let mut setup = Self::probed(count);
        setup.targets.push(V6_TARGET);
        setup.members.iter_mut().for_each(|member| member.v6 = true);
        setup
    }

    /// Makes a member a standby without data addresses.
    #[must_use]
    pub fn standby(mut self, member: MemberId) -> Self {
        let interface = &mut self.members[member.0 as usize];
        interface.standby = true;
        interface.addresses = 0;
        self
    }

    /// `FAILBACK=no`.
    #[must_use]
    pub fn without_failback(mut self) -> Self {
        self.failback = false;
        self
    }

    /// Sets how many data addresses are at home on a member.
    #[must_use]
    pub fn addresses(mut self, member: MemberId, count: usize) -> Self {
        self.members[member.0 as usize].addresses = count;
        self
    }

    /// A member that is not there at start.
    #[must_use]
    pub fn absent(mut self, member: MemberId) -> Self {
        self.members[member.0 as usize].present = false;
        self
    }

    /// The probe interval.
    pub fn slot(&self) -> Nanos {
        self.fdt.divided(7)
    }

    /// The members of all groups.
    pub fn all_members(&self) -> Vec<Interface> {
        self.members.repeat(self.groups)
    }

    /// The configuration that the engine gets.
    pub fn config(&self) -> Config {
        let group = |index: usize| {
            let first = (index * self.members.len()) as u32;
            let interfaces = (first..).zip(&self.members).map(|(number, member)| InterfaceConfig {
                name: format!("eth{number}"),
                standby: member.standby,
                data: DataAddresses::Listed(data(number, member.addresses)),
                test: tests_of(number, *member),
            });
            GroupConfig {
                name: if self.groups == 1 { self.name.into() } else { format!("ipmp{index}") },
                failure_detection_time: self.fdt,
                failback: self.failback,
                targets: self.targets.clone(),
                on_group_failure: self.on_group_failure,
                quiet_period: self.quiet_period,
                damping: self.damping,
                announcements: self.announcements,
                suspicion: self.suspicion,
                outbound_spreading: self.outbound_spreading,
                interfaces: interfaces.collect(),
            }
        };
        Config { seed: self.seed, groups: (0..self.groups).map(group).collect() }
    }
}

fn data(number: u32, count: usize) -> Vec<IpNet> {
    (0u8..)
        .take(count)
        .map(|index| {
            let v6 = index % 2 == 1;
            let address = if v6 {
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, number as u16, u16::from(index)))
            } else {
                // 198.51.0.10, one /24 a member.
                IpAddr::V4(Ipv4Addr::from_bits(0xc633_000a + number * 256 + u32::from(index)))
            };
            IpNet::new(address, if v6 { 64 } else { 24 }).expect("a valid prefix length")
        })
        .collect()
}

fn tests_of(number: u32, member: Interface) -> Vec<IpAddr> {
    let v4 = member.v4.then(|| v4_test(number));
    v4.into_iter().chain(member.v6.then(|| v6_test(number))).collect()
}

/// 192.0.2.100 and those behind it.
pub(super) fn v4_test(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0xc000_0264 + number))
}

pub(super) fn v6_test(number: u32) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x1000 + number as u16))
}
