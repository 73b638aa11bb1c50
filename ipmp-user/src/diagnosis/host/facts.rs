//! What the checks judge by.

use std::{fs, io, net::IpAddr, path::Path};

use ipmp_common::engine::{
    config::{DataAddresses, GroupConfig},
    event::CarrierSource,
    snapshot::{GroupState, ShownState},
};
use ipnet::IpNet;
use nix::sys::statfs::{FsType, statfs};

use super::Scene;
use crate::{
    control::status::{InterfaceStatus, Link, ReplyEvidence, Status},
    diagnosis::{LinkReport, read},
    net::{inventory::Inventory, socket::Socket},
    privilege,
};

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) kernel: Kernel,
    /// Nobody listens.
    pub(super) no_daemon: bool,
    /// Somebody listens and does not say what he knows.
    pub(super) unheard: bool,
    pub(super) groups: Vec<GroupFacts>,
    /// All links of the namespace, for those that are not members.
    pub(super) links: Vec<LinkReport>,
}

/// What the kernel has.
#[derive(Clone, Debug, Default)]
pub(super) struct Kernel {
    /// `uname -r`.
    pub(super) release: String,
    /// Its type information.
    pub(super) btf: bool,
    /// A BPF file system at its usual place.
    pub(super) bpffs: bool,
    /// Whether programs are compiled; none if it does not say.
    pub(super) jit: Option<bool>,
    /// Capabilities that the daemon needs and this user lacks.
    pub(super) missing_capabilities: Vec<String>,
}

/// A group and its members.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupFacts {
    pub(super) name: String,
    pub(super) targets: Vec<IpAddr>,
    pub(super) members: Vec<MemberFacts>,
    /// None of its interfaces can be used, the daemon says.
    pub(super) failed: bool,
    /// Data addresses that are on no interface.
    pub(super) parked: Vec<IpNet>,
}

/// A member and its interface.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberFacts {
    pub(super) name: String,
    /// Configured ones.
    pub(super) data: Vec<IpNet>,
    pub(super) test: Vec<IpAddr>,
    /// None = there is no such interface.
    pub(super) link: Option<LinkReport>,
    /// What stands on it.
    pub(super) addresses: Vec<IpNet>,
    /// The larger of `all` and its own counts (Documentation/networking/ip-sysctl.rst).
    pub(super) rp_filter: i64,
    pub(super) arp_ignore: i64,
    pub(super) ipv6_disabled: bool,
    /// Programs that manage it, too.
    pub(super) managers: Vec<&'static str>,
    /// What the daemon says of it.
    pub(super) told: Option<Told>,
}

/// What the daemon says of a member.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) state: ShownState,
    pub(super) link: Link,
    pub(super) reply: Option<ReplyEvidence>,
    pub(super) carrier: Option<CarrierSource>,
    pub(super) notes: Vec<String>,
}

/// Reads it all.
pub(super) fn gather(scene: &Scene<'_>) -> io::Result<Facts> {
    let mut groups: Vec<GroupFacts> = match scene.config {
        Some(config) => config.groups.iter().map(group_of_config).collect(),
        None => scene.status.map(groups_of_status).unwrap_or_default(),
    };
    for member in groups.iter_mut().flat_map(|group| &mut group.members) {
        if let Some(present) = scene.status.and_then(|status| present(status, &member.name)) {
            member.name = present;
        }
    }
    let names: Vec<String> =
        groups.iter().flat_map(|group| &group.members).map(|member| member.name.clone()).collect();
    let links = read(|name| names.iter().any(|member| member == name))?;
    let inventory = Socket::open()
        .and_then(|mut socket| Inventory::dump_without_neighbours(&mut socket))
        .map_err(io::Error::other)?;
    for member in groups.iter_mut().flat_map(|group| &mut group.members) {
        member.link = links.iter().find(|link| link.name == member.name).cloned();
        if let Some(link) = &member.link {
            member.addresses =
                inventory.addresses(link.ifindex).iter().map(crate::net::address::Address::net).collect();
            if !scene.elsewhere {
                member.managers = managers(scene.root, link);
            }
        }
        let sysctl =
            |scope: &str, what: &str| number(scene.root, &format!("proc/sys/net/ipv4/conf/{scope}/{what}"));
        member.rp_filter = sysctl(&member.name, "rp_filter").max(sysctl("all", "rp_filter"));
        member.arp_ignore = sysctl(&member.name, "arp_ignore").max(sysctl("all", "arp_ignore"));
        let disabled = format!("proc/sys/net/ipv6/conf/{}/disable_ipv6", member.name);
        // No file: the kernel has no IPv6, or none on this interface.
        member.ipv6_disabled = read_word(scene.root, &disabled).is_none_or(|value| value != "0");
        let told =
            scene.status.into_iter().flat_map(|status| &status.groups).flat_map(|group| &group.interfaces);
        member.told = told.filter(|told| told.name == member.name).map(told_of).next();
    }
    let of_status =
        |name: &str| scene.status.and_then(|status| status.groups.iter().find(|told| told.name == name));
    for group in &mut groups {
        let Some(told) = of_status(&group.name) else { continue };
        group.failed = told.state == GroupState::Failed;
        group.parked = told.addresses.iter().filter(|data| data.parked).map(|data| data.address).collect();
    }
    let unheard = scene.unheard;
    let no_daemon = scene.status.is_none() && !unheard;
    Ok(Facts { kernel: kernel(scene.root), no_daemon, unheard, groups, links })
}

/// What the hardware is called that a section is tied to.
fn present(status: &Status, section: &str) -> Option<String> {
    let mut interfaces = status.groups.iter().flat_map(|group| &group.interfaces);
    let means = |interface: &&InterfaceStatus| {
        interface.device.as_ref().is_some_and(|device| device.section.as_deref() == Some(section))
    };
    interfaces.find(means).map(|interface| interface.name.clone())
}

fn group_of_config(group: &GroupConfig) -> GroupFacts {
    let members = group.interfaces.iter().map(|member| MemberFacts {
        name: member.name.clone(),
        data: match &member.data {
            DataAddresses::Listed(listed) => listed.clone(),
            DataAddresses::Adopt => Vec::new(),
        },
        test: member.test.clone(),
        ..MemberFacts::default()
    });
    GroupFacts {
        name: group.name.clone(),
        targets: group.targets.clone(),
        members: members.collect(),
        ..GroupFacts::default()
    }
}

/// Without a configuration file: what the daemon works with.
fn groups_of_status(status: &Status) -> Vec<GroupFacts> {
    let named = status.groups.iter().filter(|group| !group.name.is_empty());
    let facts = named.map(|group| {
        let member = |interface: &InterfaceStatus| MemberFacts {
            name: interface.name.clone(),
            data: group
                .addresses
                .iter()
                .filter(|data| data.home == interface.name)
                .map(|data| data.address)
                .collect(),
            test: interface.device.iter().flat_map(|device| &device.test).map(|test| test.address).collect(),
            ..MemberFacts::default()
        };
        GroupFacts {
            name: group.name.clone(),
            members: group.interfaces.iter().map(member).collect(),
            ..GroupFacts::default()
        }
    });
    facts.collect()
}

fn told_of(interface: &InterfaceStatus) -> Told {
    Told {
        state: interface.state,
        link: interface.link,
        reply: interface.reply_evidence,
        carrier: interface.carrier_evidence,
        notes: interface.notes.clone(),
    }
}

fn kernel(root: &Path) -> Kernel {
    let bpffs = statfs(&root.join("sys/fs/bpf")).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
    Kernel {
        release: read_word(root, "proc/sys/kernel/osrelease").unwrap_or_default(),
        btf: root.join("sys/kernel/btf/vmlinux").exists(),
        bpffs,
        jit: read_word(root, "proc/sys/net/core/bpf_jit_enable").map(|value| value != "0"),
        missing_capabilities: privilege::missing().unwrap_or_default(),
    }
}

/// Who else manages an interface, by the notes that they keep below /run.
fn managers(root: &Path, link: &LinkReport) -> Vec<&'static str> {
    let note = |path: String| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (number, name) = (link.ifindex, &link.name);
    let mut managers = Vec::new();
    // NetworkManager keeps a file for unmanaged devices, too.
    if note(format!("run/NetworkManager/devices/{number}")).lines().any(|line| line == "managed=true") {
        managers.push("NetworkManager");
    }
    // sd_network_link_get_setup_state(3) reads the same file.
    let networkd = note(format!("run/systemd/netif/links/{number}"));
    let state = networkd.lines().find_map(|line| line.strip_prefix("ADMIN_STATE="));
    if state.is_some_and(|state| !matches!(state, "unmanaged" | "linger" | "initialized")) {
        managers.push("systemd-networkd");
    }
    let ifupdown = note("run/network/ifstate".to_owned());
    if ifupdown.lines().any(|line| line.split('=').next() == Some(name)) {
        managers.push("ifupdown");
    }
    if [
        format!("run/dhcpcd/{name}.pid"),
        format!("run/dhcpcd/{name}-4.pid"),
        format!("run/dhcpcd-{name}.pid"),
    ]
    .iter()
    .any(|path| root.join(path).exists())
    {
        managers.push("dhcpcd");
    }
    managers
}

fn read_word(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_owned())
}

fn number(root: &Path, path: &str) -> i64 {
    read_word(root, path).and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_known_by_their_notes() {
        let root = tempfile::tempdir().unwrap();
        let link = LinkReport { name: "eth0".to_owned(), ifindex: 4, ..LinkReport::default() };
        assert_eq!(managers(root.path(), &link), [""; 0]);
        for (path, text) in [
            ("run/NetworkManager/devices/4", "[device]\nmanaged=true\n"),
            ("run/NetworkManager/devices/5", "[device]\nmanaged=true\n"),
            ("run/systemd/netif/links/4", "# This is private data.\nADMIN_STATE=configured\n"),
            ("run/network/ifstate", "lo=lo\neth0=eth0\n"),
            ("run/dhcpcd/eth0-4.pid", "17\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(
            managers(root.path(), &link),
            ["NetworkManager", "systemd-networkd", "ifupdown", "dhcpcd"]
        );
        fs::write(root.path().join("run/NetworkManager/devices/4"), "[device]\nmanaged=false\n").unwrap();
        fs::write(root.path().join("run/systemd/netif/links/4"), "ADMIN_STATE=unmanaged\n").unwrap();
        assert_eq!(managers(root.path(), &link), ["ifupdown", "dhcpcd"]);
    }
}
