//! What concerns more than one value: duplicates, own targets, names, limits.

use std::{collections::BTreeMap, net::IpAddr};

use ipmp_common::engine::config::{
    Config, Damping, DataAddresses, GroupConfig, InterfaceConfig, MAX_DATA_ADDRESSES, MAX_GROUPS,
    MAX_MEMBERS, MAX_TARGETS,
};

use super::{
    FileConfig, Identity,
    problem::Problems,
    read::{Draft, GroupDraft, InterfaceDraft},
    value::At,
};

/// `IFNAMSIZ` less the terminating zero (linux/if.h).
const MAX_INTERFACE_NAME: usize = 15;
/// Solaris's `LIFGRNAMSIZ` less the terminating zero.
const MAX_GROUP_NAME: usize = 31;

/// Checks the draft as a whole and turns it into the configuration. What is returned is only good if no
/// problem was noted.
pub(super) fn verify(draft: Draft, problems: &mut Problems<'_>) -> FileConfig {
    if draft.groups.is_empty() {
        problems.add(
            0,
            "there is no group, so there is nothing to do",
            "write a section [group.NAME.interface.NAME] for every interface",
        );
    }
    if let Some(excess) = draft.groups.get(MAX_GROUPS) {
        too_many(&excess.name, "groups", MAX_GROUPS, problems);
    }
    let mut seen = Seen::default();
    for group in &draft.groups {
        check_group(group, &mut seen, problems);
    }
    for group in &draft.groups {
        check_targets(group, &seen, problems);
    }
    let interfaces = draft.groups.iter().flat_map(|group| &group.interfaces);
    let identities = interfaces
        .filter(|interface| interface.identity != Identity::default())
        .map(|interface| (interface.name.value.clone(), interface.identity.clone()))
        .collect();
    FileConfig {
        identities,
        engine: Config { seed: 0, groups: draft.groups.into_iter().map(group_config).collect() },
        daemon: draft.daemon,
    }
}

/// What was met so far in the file.
#[derive(Default)]
struct Seen {
    /// Interface → its group and place.
    interfaces: BTreeMap<String, (String, usize)>,
    /// Address → whose it is, such as `data address of eth0`, and its place.
    addresses: BTreeMap<IpAddr, (String, usize)>,
}

fn check_group(group: &GroupDraft, seen: &mut Seen, problems: &mut Problems<'_>) {
    let name = &group.name.value;
    if name.is_empty()
        || name.len() > MAX_GROUP_NAME
        || name.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        problems.add(
            group.name.at,
            format!("group name {name:?} is not usable"),
            format!("take 1 to {MAX_GROUP_NAME} bytes without spaces"),
        );
    }
    if group.interfaces.is_empty() {
        problems.add(
            group.name.at,
            format!("group {name:?} has no interface"),
            format!("write a section [group.{name}.interface.NAME] for every interface"),
        );
    }
    check_damping(group, problems);
    if let Some(excess) = group.interfaces.get(MAX_MEMBERS) {
        too_many(&excess.name, "interfaces in one group", MAX_MEMBERS, problems);
    }
    for interface in &group.interfaces {
        check_name(&interface.name, problems);
        let known = seen.interfaces.insert(interface.name.value.clone(), (name.clone(), interface.name.at));
        if let Some((other, at)) = known {
            let (line, _) = problems.place(at);
            problems.add(
                interface.name.at,
                format!("interface {:?} is already in group {other:?} (line {line})", interface.name.value),
                "an interface belongs to one group: remove one of the two sections",
            );
        }
        check_addresses(interface, seen, problems);
    }
}

fn check_damping(group: &GroupDraft, problems: &mut Problems<'_>) {
    let Damping { hold_down, hold_down_max, .. } = group.damping;
    if let Some(at) = group.hold_down_at.filter(|_| hold_down > hold_down_max) {
        problems.add(
            at,
            format!("hold-down is {hold_down}, longer than hold-down-max, {hold_down_max}"),
            "hold-down is where doubling begins and hold-down-max where it ends: make the latter the longer",
        );
    }
}

/// The kernel's own rule for interface names: `dev_valid_name` in net/core/dev.c.
fn check_name(name: &At<String>, problems: &mut Problems<'_>) {
    let text = &name.value;
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    let what = if text.is_empty() || text == "." || text == ".." {
        format!("{text:?} cannot be an interface's name")
    } else if text.len() > MAX_INTERFACE_NAME {
        format!("interface name {text:?} is longer than {MAX_INTERFACE_NAME} bytes")
    } else if let Some(character) = text.chars().find(|c| refused(*c)) {
        format!("interface name {text:?} contains {character:?}")
    } else if text == "lo" {
        "lo is the loopback interface, which has no link that could fail".to_owned()
    } else {
        return;
    };
    problems.add(name.at, what, "write the name that `ip link` shows");
}

fn check_addresses(interface: &InterfaceDraft, seen: &mut Seen, problems: &mut Problems<'_>) {
    let name = &interface.name.value;
    let data = interface.data.as_deref().unwrap_or_default();
    if let Some(excess) = data.get(MAX_DATA_ADDRESSES) {
        too_many(excess, "data addresses of one interface", MAX_DATA_ADDRESSES, problems);
    }
    if let Some(excess) = interface.test.get(MAX_TARGETS) {
        too_many(excess, "test addresses of one interface", MAX_TARGETS, problems);
    }
    let data = data.iter().map(|net| (net.at, net.value.addr(), "data address"));
    let test = interface.test.iter().map(|ip| (ip.at, ip.value, "test address"));
    for (at, ip, role) in data.chain(test) {
        if let Some((owner, first)) = seen.addresses.get(&ip) {
            let (line, _) = problems.place(*first);
            let remedy = if owner.starts_with(role) {
                "write every address once"
            } else {
                "a test address never moves and a data address does: take two different ones"
            };
            problems.add(at, format!("{role} {ip} is already the {owner} (line {line})"), remedy);
        } else {
            seen.addresses.insert(ip, (format!("{role} of {name}"), at));
        }
    }
}

fn check_targets(group: &GroupDraft, seen: &Seen, problems: &mut Problems<'_>) {
    if let Some(excess) = group.targets.get(MAX_TARGETS) {
        too_many(excess, "targets of one group", MAX_TARGETS, problems);
    }
    let mut known = BTreeMap::new();
    for target in &group.targets {
        if let Some((owner, at)) = seen.addresses.get(&target.value) {
            let (line, _) = problems.place(*at);
            problems.add(
                target.at,
                format!("target {} is our own {owner} (line {line})", target.value),
                "a target is another host: name a router or a server on the same link",
            );
        }
        if let Some(first) = known.insert(target.value, target.at) {
            let (line, _) = problems.place(first);
            problems.add(
                target.at,
                format!("target {} was named already (line {line})", target.value),
                "write every target once",
            );
        }
    }
}

fn too_many<T>(excess: &At<T>, what: &str, limit: usize, problems: &mut Problems<'_>) {
    problems.add(excess.at, format!("more than {limit} {what}"), "remove what is not needed");
}

fn group_config(draft: GroupDraft) -> GroupConfig {
    GroupConfig {
        name: draft.name.value,
        failure_detection_time: draft.failure_detection_time,
        failback: draft.failback,
        targets: draft.targets.into_iter().map(|target| target.value).collect(),
        on_group_failure: draft.on_group_failure,
        quiet_period: draft.quiet_period,
        damping: draft.damping,
        announcements: draft.announcements,
        suspicion: draft.suspicion,
        outbound_spreading: draft.outbound_spreading,
        interfaces: draft.interfaces.into_iter().map(interface_config).collect(),
    }
}

fn interface_config(draft: InterfaceDraft) -> InterfaceConfig {
    InterfaceConfig {
        name: draft.name.value,
        standby: draft.standby,
        data: match draft.data {
            Some(listed) => DataAddresses::Listed(listed.into_iter().map(|net| net.value).collect()),
            None => DataAddresses::Adopt,
        },
        test: draft.test.into_iter().map(|ip| ip.value).collect(),
    }
}
