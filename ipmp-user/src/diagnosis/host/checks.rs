//! The checks. Pure: facts in, findings out.

use std::{collections::BTreeMap, net::IpAddr};

use ipmp_common::engine::event::CarrierSource;
use ipnet::IpNet;

use super::facts::{Facts, GroupFacts, Kernel, MemberFacts, Told};
use crate::{
    control::status::{Link, ReplyEvidence},
    diagnosis::{Finding, LinkReport, Severity, judge},
};

const HOST: &str = "host";

/// All checks, worst findings first.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let mut found = host(&facts.kernel, facts.daemon_answers);
    if facts.groups.is_empty() {
        found.push(Finding::new(
            Severity::Problem,
            "no-groups",
            HOST,
            [
                "no group is known",
                "nothing is watched",
                "write /etc/ipmp/ipmpd.toml, or name the file with --config",
            ],
        ));
    }
    for group in &facts.groups {
        found.extend(of_group(group));
        for member in &group.members {
            found.extend(of_member(member, group, facts));
        }
        let links: Vec<LinkReport> = group.members.iter().filter_map(|member| member.link.clone()).collect();
        found.extend(judge(&links));
    }
    found.sort_by_key(|found| std::cmp::Reverse(found.severity));
    found
}

fn host(kernel: &Kernel, daemon_answers: bool) -> Vec<Finding> {
    let finding =
        |severity: Severity, check: &str, told: [&str; 3]| Finding::new(severity, check, HOST, told);
    let missing = kernel.missing_capabilities.join(", ");
    let no_btf = format!("kernel {} has no type information (/sys/kernel/btf/vmlinux)", kernel.release);
    let cases = [
        (!daemon_answers).then(|| {
            finding(
                Severity::Warning,
                "no-daemon",
                [
                    "ipmpd does not answer",
                    "no failure is detected",
                    "start ipmpd, or name its directory with --runtime-dir",
                ],
            )
        }),
        // Whoever looks at a running daemon needs none of them.
        (!daemon_answers && !missing.is_empty()).then(|| {
            finding(
                Severity::Note,
                "privileges",
                [
                    &format!("this user lacks {missing}"),
                    "ipmpd needs them to move addresses, to send probes and to load eBPF programs",
                    "run it as root, or by its systemd unit",
                ],
            )
        }),
        (!kernel.btf).then(|| {
            finding(
                Severity::Warning,
                "btf",
                [
                    &no_btf,
                    "carrier loss is then polled instead of being told by the kernel at once",
                    "take a kernel with CONFIG_DEBUG_INFO_BTF",
                ],
            )
        }),
        (!kernel.bpffs && !daemon_answers).then(|| {
            finding(
                Severity::Note,
                "bpffs",
                [
                    "no BPF file system at /sys/fs/bpf",
                    "ipmpd mounts one; without it, its programs end with it",
                    "`mount -t bpf bpf /sys/fs/bpf`",
                ],
            )
        }),
        (kernel.jit == Some(false)).then(|| {
            finding(
                Severity::Warning,
                "bpf-jit",
                [
                    "eBPF programs are interpreted",
                    "every frame on a member costs more",
                    "`sysctl net.core.bpf_jit_enable=1`",
                ],
            )
        }),
    ];
    cases.into_iter().flatten().collect()
}

fn of_group(group: &GroupFacts) -> Vec<Finding> {
    let finding =
        |severity: Severity, check: &str, told: [&str; 3]| Finding::new(severity, check, &group.name, told);
    let mut found = Vec::new();
    if group.members.len() == 1 {
        found.push(finding(
            Severity::Note,
            "one-member",
            [
                "it has one interface",
                "its failure is detected, but nothing can take over",
                "add a second interface",
            ],
        ));
    }
    let mut by_mac: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (mac, member) in
        group.members.iter().filter_map(|member| Some((member.link.as_ref()?.mac.as_deref()?, member)))
    {
        by_mac.entry(mac).or_default().push(&member.name);
    }
    for (mac, names) in by_mac.iter().filter(|(_, names)| names.len() > 1) {
        found.push(finding(
            Severity::Problem,
            "duplicate-mac",
            [
                &format!("{} have the same hardware address {mac}", names.join(" and ")),
                "the switch sends frames for one to the other; ipmpd keeps all but one offline",
                "give each its own: `ip link set IFACE address …`",
            ],
        ));
    }
    let probed = |member: &&MemberFacts| !member.test.is_empty();
    let silent: Vec<&str> = group
        .members
        .iter()
        .filter(|member| member.test.is_empty())
        .map(|member| member.name.as_str())
        .collect();
    let by_link_local = group.targets.iter().any(|target| target.is_ipv6());
    if group.members.iter().any(|member| probed(&member)) && !silent.is_empty() && !by_link_local {
        found.push(finding(
            Severity::Warning,
            "test-address-missing",
            [
                &format!("no test address on {}, but on others", silent.join(", ")),
                "what lies beyond its cable is not watched: a dead path there is not noticed",
                "give it one: `test = [\"…\"]`",
            ],
        ));
    }
    found.extend(subnets(group).map(|what| {
        finding(
            Severity::Warning,
            "subnets-differ",
            [
                &what,
                "the members of a group must be on the same IP link, or addresses are moved to where nobody expects them",
                "check that all of its interfaces are in the same VLAN",
            ],
        )
    }));
    found
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
    let text = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Some(format!("{} is in {}, {} in {}", first.name, text(&nets), other.name, text(&others)))
}

fn of_member(member: &MemberFacts, group: &GroupFacts, facts: &Facts) -> Vec<Finding> {
    let name = &member.name;
    let Some(link) = &member.link else {
        let told = [
            "there is no such interface",
            "its addresses are hosted by the others",
            "check its name with `ip link`",
        ];
        return vec![Finding::new(Severity::Problem, "absent", name, told)];
    };
    let mut found = settings(member, group);
    let mut finding = |severity: Severity, check: &str, told: [&str; 3]| {
        found.push(Finding::new(severity, check, name, told))
    };
    if let Some(controller) = link.controller {
        let of = facts.links.iter().find(|other| other.ifindex == controller);
        let of = of.map_or_else(|| format!("interface {controller}"), |other| other.name.clone());
        finding(
            Severity::Problem,
            "port",
            [
                &format!("it is a port of {of}"),
                "what it receives goes there; addresses on the port itself are not used",
                &format!("put {of} into the group, or take {name} out of it: `ip link set {name} nomaster`"),
            ],
        );
    }
    for manager in &member.managers {
        finding(
            Severity::Warning,
            "managed",
            [
                &format!("{manager} manages it, too"),
                "two programs that both know where addresses belong undo each other's work",
                match *manager {
                    "NetworkManager" => {
                        "`nmcli device set IFACE managed no`, and keep it so in NetworkManager.conf"
                    }
                    "systemd-networkd" => "a .network file for it with `Unmanaged=yes` in [Link]",
                    _ => "take it out of that program's configuration",
                },
            ],
        );
    }
    if let Some(told) = &member.told {
        found.extend(evidence(name, link, told));
    }
    found
}

fn settings(member: &MemberFacts, group: &GroupFacts) -> Vec<Finding> {
    let name = &member.name;
    let mut found = Vec::new();
    let mut finding = |severity: Severity, check: &str, told: [&str; 3]| {
        found.push(Finding::new(severity, check, name, told))
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
    if member.arp_ignore == 0 && member.told.is_some() {
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

/// Which evidence is in use, and why nothing better.
fn evidence(name: &str, link: &LinkReport, told: &Told) -> Vec<Finding> {
    let why_not = |what: &str| {
        let notes = told.notes.iter().filter(|note| note.starts_with(what));
        notes.cloned().collect::<Vec<_>>().join("; ")
    };
    let mut found = Vec::new();
    let mut note = |check: &str, told: [&str; 3]| found.push(Finding::new(Severity::Note, check, name, told));
    let replies = told.reply.filter(|rung| *rung != ReplyEvidence::XdpNative);
    if let Some(rung) = replies {
        let word = match rung {
            ReplyEvidence::XdpNative => "xdp-native",
            ReplyEvidence::Tcx => "tcx",
            ReplyEvidence::XdpGeneric => "xdp-generic",
            ReplyEvidence::Socket => "socket",
        };
        let foreign =
            matches!(rung, ReplyEvidence::Tcx | ReplyEvidence::Socket) && !link.xdp_programs.is_empty();
        note(
            "reply-evidence",
            [
                &if foreign {
                    format!(
                        "answers are stamped by {word}, because another program (id {}) has the XDP hook",
                        ids(link)
                    )
                } else {
                    format!("answers are stamped by {word}; {}", why_not("replies"))
                },
                "stamps are later than in the driver: round trips look longer, verdicts are the same",
                "nothing needs to be done; a driver with native XDP gives the best stamps",
            ],
        );
    }
    if told.carrier.is_some_and(|rung| matches!(rung, CarrierSource::Poll | CarrierSource::Netlink)) {
        note(
            "carrier-evidence",
            [
                &format!(
                    "carrier changes are found by looking, not told by the kernel; {}",
                    why_not("carrier")
                ),
                "a lost carrier is noticed some milliseconds later",
                "a kernel that permits tracing programs (fentry, kprobe)",
            ],
        );
    }
    if told.link == Link::Unknown && told.state != ipmp_common::engine::snapshot::ShownState::Absent {
        found.push(Finding::new(
            Severity::Warning,
            "carrier-unknown",
            name,
            [
                "its driver does not report carrier",
                "a pulled cable is not noticed",
                "give it a test address, so that it is probed",
            ],
        ));
    }
    found
}

fn ids(link: &LinkReport) -> String {
    link.xdp_programs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
