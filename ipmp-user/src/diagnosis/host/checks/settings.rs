//! Settings of the kernel that defeat a member.

use std::net::IpAddr;

use ipnet::IpNet;

use ipmp_common::engine::snapshot::ShownState;

use crate::diagnosis::{
    Finding, Severity,
    host::facts::{GroupFacts, MemberFacts},
};

pub(super) fn check(member: &MemberFacts, group: &GroupFacts) -> Vec<Finding> {
    let name = &member.name;
    let mut found = Vec::new();
    let mut finding = |severity: Severity, check: &str, told: [&str; 3]| {
        found.push(Finding::new(severity, check, name, told));
    };
    if member.rp_filter == 1 {
        finding(
            Severity::Problem,
            "rp-filter",
            [
                "strict reverse path filtering (rp_filter 1, RFC 3704)",
                "answers to probes are dropped where another member has the better route, so it looks failed",
                &format!("`sysctl net.ipv4.conf.{name}.rp_filter=2` (loose)"),
            ],
        );
    }
    // The daemon sets it when it starts.
    let serves = member.told.as_ref().is_some_and(|told| told.state != ShownState::Absent);
    if member.arp_ignore == 0 && serves {
        finding(
            Severity::Warning,
            "arp-ignore",
            [
                "arp_ignore is 0, although ipmpd had set it: somebody has changed it back",
                "every member answers ARP for every address, and neighbours learn the wrong one",
                &format!("`sysctl net.ipv4.conf.{name}.arp_ignore=1`"),
            ],
        );
    }
    let is_v6 = |ip: &IpAddr| ip.is_ipv6();
    let data_v6 = group.members.iter().flat_map(|member| &member.data).any(|data| is_v6(&data.addr()));
    let targets_v6 = group.targets.iter().any(is_v6);
    let link_local = |net: &&IpNet| matches!(net.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    if member.ipv6_disabled && (data_v6 || targets_v6) {
        finding(
            Severity::Problem,
            "ipv6-disabled",
            [
                "IPv6 is disabled on it, but the group has IPv6 addresses or targets",
                "it can take over none of them",
                &format!("`sysctl net.ipv6.conf.{name}.disable_ipv6=0`"),
            ],
        );
    } else if targets_v6 && !member.addresses.iter().any(|net| link_local(&net)) {
        finding(
            Severity::Warning,
            "link-local-missing",
            [
                "no IPv6 link-local address on it",
                "IPv6 probes leave from that address; without it there are none",
                &format!("`ip link set {name} addrgenmode eui64`, or add one"),
            ],
        );
    }
    found
}
