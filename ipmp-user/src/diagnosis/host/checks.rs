//! The checks. Pure: facts in, findings out.

mod evidence;
mod group;
mod kernel;
mod settings;

use super::facts::{Facts, GroupFacts, MemberFacts};
use crate::diagnosis::{Finding, LinkReport, Severity, judge};

const HOST: &str = "host";

/// All checks, worst findings first.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let mut found = kernel::check(&facts.kernel, facts.no_daemon);
    // A daemon that did not say may have some.
    if facts.groups.is_empty() && !facts.unheard {
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
        found.extend(group::check(group));
        for member in &group.members {
            found.extend(of_member(member, group, facts));
        }
        let links: Vec<LinkReport> = group.members.iter().filter_map(|member| member.link.clone()).collect();
        found.extend(judge(&links));
    }
    found.sort_by_key(|found| std::cmp::Reverse(found.severity));
    found
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
    let mut found = settings::check(member, group);
    let mut finding = |severity: Severity, check: &str, told: [&str; 3]| {
        found.push(Finding::new(severity, check, name, told));
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
        found.extend(evidence::check(name, link, told));
    }
    found
}

#[cfg(test)]
mod tests;
