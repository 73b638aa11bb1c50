//! What a test starts from.

use alloc::{format, vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::engine::{
    config::{Config, Damping, DataAddresses, GroupConfig, InterfaceConfig, OnGroupFailure},
    ids::MemberId,
    time::Nanos,
};

/// The router that IPv4 probes go to.
pub(in crate::engine::tests) const V4_TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The router that IPv6 probes go to.
const V6_TARGET: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xff));

/// The first member.
pub(in crate::engine::tests) const fn a() -> MemberId {
    MemberId(0)
}

/// The second member.
pub(in crate::engine::tests) const fn b() -> MemberId {
    MemberId(1)
}

/// The third member.
pub(in crate::engine::tests) const fn c() -> MemberId {
    MemberId(2)
}

pub(in crate::engine::tests) const fn ms(count: u64) -> Nanos {
    Nanos::from_millis(count)
}

pub(in crate::engine::tests) const fn secs(count: u64) -> Nanos {
    Nanos::from_secs(count)
}

/// One group and its surroundings.
#[derive(Clone, Debug)]
pub(in crate::engine::tests) struct Setup {
    pub(in crate::engine::tests) name: &'static str,
    pub(in crate::engine::tests) seed: u64,
    pub(in crate::engine::tests) fdt: Nanos,
    pub(in crate::engine::tests) failback: bool,
    pub(in crate::engine::tests) quiet_period: Nanos,
    pub(in crate::engine::tests) targets: Vec<IpAddr>,
    pub(in crate::engine::tests) damping: Damping,
    pub(in crate::engine::tests) members: Vec<Interface>,
    /// Round trip to every target.
    pub(in crate::engine::tests) rtt: Nanos,
    /// From `SetPlacement` to its result.
    pub(in crate::engine::tests) apply_delay: Nanos,
}

/// One member to be.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties")]
pub(in crate::engine::tests) struct Interface {
    pub(in crate::engine::tests) standby: bool,
    /// Has an IPv4 test address.
    pub(in crate::engine::tests) v4: bool,
    /// Has an IPv6 test address.
    pub(in crate::engine::tests) v6: bool,
    /// Data addresses at home here.
    pub(in crate::engine::tests) addresses: usize,
    /// Whether the interface is there at start.
    pub(in crate::engine::tests) present: bool,
}

impl Setup {
    /// `count` members with IPv4 test addresses and one data address each, one target.
    pub(in crate::engine::tests) fn probed(count: usize) -> Self {
        let member = Interface { standby: false, v4: true, v6: false, addresses: 1, present: true };
        Self {
            name: "ipmp0",
            seed: 1,
            fdt: ms(700),
            failback: true,
            quiet_period: Nanos(0),
            targets: vec![V4_TARGET],
            damping: Damping::default(),
            members: vec![member; count],
            rtt: Nanos(200_000),
            apply_delay: Nanos(50_000),
        }
    }

    /// `count` members judged by their links alone.
    pub(in crate::engine::tests) fn link_only(count: usize) -> Self {
        let mut setup = Self::probed(count);
        setup.targets.clear();
        setup.members.iter_mut().for_each(|member| member.v4 = false);
        setup
    }

    /// Both families probed.
    pub(in crate::engine::tests) fn dual_stack(count: usize) -> Self {
        let mut setup = Self::probed(count);
        setup.targets.push(V6_TARGET);
        setup.members.iter_mut().for_each(|member| member.v6 = true);
        setup
    }

    /// Makes a member a standby without data addresses.
    pub(in crate::engine::tests) fn standby(mut self, member: MemberId) -> Self {
        let interface = &mut self.members[member.0 as usize];
        interface.standby = true;
        interface.addresses = 0;
        self
    }

    pub(in crate::engine::tests) fn without_failback(mut self) -> Self {
        self.failback = false;
        self
    }

    pub(in crate::engine::tests) fn addresses(mut self, member: MemberId, count: usize) -> Self {
        self.members[member.0 as usize].addresses = count;
        self
    }

    pub(in crate::engine::tests) fn absent(mut self, member: MemberId) -> Self {
        self.members[member.0 as usize].present = false;
        self
    }

    /// The probe interval.
    pub(in crate::engine::tests) fn slot(&self) -> Nanos {
        self.fdt.divided(7)
    }

    pub(in crate::engine::tests) fn config(&self) -> Config {
        let interfaces = (0u8..).zip(&self.members).map(|(number, member)| InterfaceConfig {
            name: format!("eth{number}"),
            standby: member.standby,
            data: DataAddresses::Listed(data(number, member.addresses)),
            test: tests_of(number, *member),
        });
        Config {
            seed: self.seed,
            groups: vec![GroupConfig {
                name: self.name.into(),
                failure_detection_time: self.fdt,
                failback: self.failback,
                targets: self.targets.clone(),
                on_group_failure: OnGroupFailure::Keep,
                quiet_period: self.quiet_period,
                damping: self.damping,
                interfaces: interfaces.collect(),
            }],
        }
    }
}

fn data(number: u8, count: usize) -> Vec<IpNet> {
    (0u8..)
        .take(count)
        .map(|index| {
            let v6 = index % 2 == 1;
            let address = if v6 {
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, u16::from(number), u16::from(index)))
            } else {
                IpAddr::V4(Ipv4Addr::new(198, 51, number, index + 10))
            };
            IpNet::new(address, if v6 { 64 } else { 24 }).expect("a valid prefix length")
        })
        .collect()
}

fn tests_of(number: u8, member: Interface) -> Vec<IpAddr> {
    let v4 = member.v4.then(|| v4_test(number));
    v4.into_iter().chain(member.v6.then(|| v6_test(number))).collect()
}

pub(super) fn v4_test(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100 + number))
}

pub(super) fn v6_test(number: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(number) + 1))
}
