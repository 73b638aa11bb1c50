//! How the members of a group fit together.

use std::{collections::BTreeMap, net::IpAddr};

use ipmp_common::engine::snapshot::ShownState;
use ipnet::IpNet;

use crate::diagnosis::{
    Finding, Severity,
    host::facts::{GroupFacts, MemberFacts},
};

pub(super) fn check(group: &GroupFacts) -> Vec<Finding> {
    let finding =
        |severity: Severity, check: &str, told: [&str; 3]| Finding::new(severity, check, &group.name, told);
    let one = (group.members.len() == 1).then(|| {
        finding(
            Severity::Note,
            "one-member",
            [
                "it has one interface",
                "its failure is detected, but nothing can take over",
                "add a second interface",
            ],
        )
    });
    let silent = without_test_address(group).map(|names| {
        finding(
            Severity::Warning,
            "test-address-missing",
            [
                &format!("no test address on {names}, but on others"),
                "what lies beyond its cable is not watched: a dead path there is not noticed",
                "give it one: `test = [\"…\"]`",
            ],
        )
    });
    let apart = subnets(group).map(|what| {
        finding(
            Severity::Warning,
            "subnets-differ",
            [
                &what,
                "the members of a group must be on the same IP link, or addresses are moved to where nobody expects them",
                "check that all of its interfaces are in the same VLAN",
            ],
        )
    });
    let twins = duplicate_macs(group).into_iter().map(|what| {
        finding(
            Severity::Problem,
            "duplicate-mac",
            [
                &what,
                "the switch sends frames for one to the other; ipmpd keeps all but one offline",
                "give each its own: `ip link set IFACE address …`",
            ],
        )
    });
    service(group).into_iter().chain(one).chain(twins).chain(silent).chain(apart).collect()
}

/// Whether it can do now what it is for.
fn service(group: &GroupFacts) -> Vec<Finding> {
    let problem = |check: &str, told: [&str; 3]| Finding::new(Severity::Problem, check, &group.name, told);
    let parked = addresses(&group.parked).map(|parked| {
        problem(
            "parked",
            [
                &format!("on no interface: {parked}"),
                "nobody can reach what is served there",
                "attach an interface: `ipmp attach IFACE`",
            ],
        )
    });
    let failed = group.failed.then(|| {
        problem(
            "group-failed",
            [
                "none of its interfaces can be used",
                "its addresses cannot be reached, and nothing can take over",
                "see why: `ipmp status`, `ipmp explain IFACE`",
            ],
        )
    });
    failed.into_iter().chain(parked).collect()
}

fn addresses(nets: &[IpNet]) -> Option<String> {
    let listed = nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    (!listed.is_empty()).then_some(listed)
}

fn duplicate_macs(group: &GroupFacts) -> Vec<String> {
    let mut by_mac: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in &group.members {
        if let Some(mac) = member.link.as_ref().and_then(|link| link.mac.as_deref()) {
            by_mac.entry(mac).or_default().push(&member.name);
        }
    }
    by_mac.retain(|_, names| names.len() > 1);
    let text = |(mac, names): (&&str, &Vec<&str>)| {
        format!("{} have the same hardware address {mac}", names.join(" and "))
    };
    by_mac.iter().map(text).collect()
}

/// Members without a test address where others have one; IPv6 targets are probed from the link-local address. Nothing is
/// known of the test addresses of those that are not there.
fn without_test_address(group: &GroupFacts) -> Option<String> {
    let there = |member: &&MemberFacts| {
        member.link.is_some() && member.told.as_ref().is_none_or(|told| told.state != ShownState::Absent)
    };
    let (silent, probing): (Vec<&MemberFacts>, Vec<&MemberFacts>) =
        group.members.iter().filter(there).partition(|member| member.test.is_empty());
    let silent: Vec<&str> = silent.iter().map(|member| member.name.as_str()).collect();
    let some = !silent.is_empty() && !probing.is_empty();
    (some && !group.targets.iter().any(IpAddr::is_ipv6)).then(|| silent.join(", "))
}

/// IPv4 data addresses of two members that have no subnet in common.
fn subnets(group: &GroupFacts) -> Option<String> {
    let own = |member: &MemberFacts| -> Vec<IpNet> {
        let listed = if member.data.is_empty() { &member.addresses } else { &member.data };
        let whole = |net: &&IpNet| net.addr().is_ipv4() && net.prefix_len() < net.max_prefix_len();
        listed.iter().filter(whole).map(IpNet::trunc).collect()
    };
    let mut with =
        group.members.iter().map(|member| (member, own(member))).filter(|(_, nets)| !nets.is_empty());
    let (first, nets) = with.next()?;
    let (other, others) = with.find(|(_, others)| !others.iter().any(|net| nets.contains(net)))?;
    Some(format!("{} is in {}, {} in {}", first.name, addresses(&nets)?, other.name, addresses(&others)?))
}
