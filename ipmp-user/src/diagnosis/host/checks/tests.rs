use ipmp_common::engine::{event::CarrierSource, snapshot::ShownState};
use ipnet::IpNet;

use super::*;
use crate::{
    control::status::{Link, ReplyEvidence},
    diagnosis::host::facts::{Kernel, Told},
};

fn member(number: u8) -> MemberFacts {
    let address: IpNet = format!("192.168.10.1{number}/24").parse().unwrap();
    MemberFacts {
        name: format!("eth{number}"),
        data: vec![address],
        test: vec![format!("192.168.10.11{number}").parse().unwrap()],
        link: Some(LinkReport {
            name: format!("eth{number}"),
            ifindex: 4 + u32::from(number),
            mac: Some(format!("00:03:ba:93:90:0{number}")),
            running: true,
            ..LinkReport::default()
        }),
        addresses: vec![address, "fe80::1/64".parse().unwrap()],
        rp_filter: 2,
        arp_ignore: 1,
        told: Some(Told {
            state: ShownState::Ok,
            link: Link::Up,
            reply: Some(ReplyEvidence::XdpNative),
            carrier: Some(CarrierSource::Fentry),
            notes: Vec::new(),
        }),
        ..MemberFacts::default()
    }
}

fn healthy() -> Facts {
    Facts {
        kernel: Kernel {
            release: "6.18".to_owned(),
            btf: true,
            bpffs: true,
            jit: Some(true),
            missing_capabilities: Vec::new(),
        },
        no_daemon: false,
        unheard: false,
        groups: vec![GroupFacts {
            name: "ipmp0".to_owned(),
            targets: vec!["fe80::9".parse().unwrap()],
            members: vec![member(0), member(1)],
            ..GroupFacts::default()
        }],
        links: Vec::new(),
    }
}

/// What is found after a change to a healthy host, and that each finding says all three things.
fn after(change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = healthy();
    change(&mut facts);
    let found = all(&facts);
    for Finding { what, why, fix, .. } in &found {
        assert!(!what.is_empty() && !why.is_empty() && !fix.is_empty(), "{found:?}");
    }
    assert!(found.is_sorted_by_key(|found| std::cmp::Reverse(found.severity)), "{found:?}");
    found.into_iter().map(|found| format!("{} {}", found.subject, found.check)).collect()
}

fn after_first(change: impl FnOnce(&mut MemberFacts)) -> Vec<String> {
    after(|facts| change(&mut facts.groups[0].members[0]))
}

#[test]
fn a_healthy_host_gives_no_findings() {
    assert_eq!(after(|_| {}), [""; 0]);
}

#[test]
fn the_kernel_and_the_daemon() {
    assert_eq!(after(|facts| facts.kernel.btf = false), ["host btf"]);
    assert_eq!(after(|facts| facts.kernel.jit = Some(false)), ["host bpf-jit"]);
    assert_eq!(after(|facts| facts.groups.clear()), ["host no-groups"]);
    let absent = after(|facts| {
        facts.no_daemon = true;
        facts.kernel.bpffs = false;
        facts.kernel.missing_capabilities = vec!["CAP_NET_ADMIN".to_owned()];
    });
    assert_eq!(absent, ["host no-daemon", "host privileges", "host bpffs"]);
    // What is wrong with a daemon that does not say is told where it was asked.
    let unheard = after(|facts| {
        facts.unheard = true;
        facts.groups.clear();
    });
    assert_eq!(unheard, [""; 0]);
}

#[test]
fn how_the_members_fit_together() {
    let duplicate = |facts: &mut Facts| {
        let mac = facts.groups[0].members[1].link.clone().unwrap().mac;
        facts.groups[0].members[0].link.as_mut().unwrap().mac = mac;
    };
    assert_eq!(after(duplicate), ["ipmp0 duplicate-mac"]);
    assert_eq!(after(|facts| drop(facts.groups[0].members.pop())), ["ipmp0 one-member"]);
    let other = |member: &mut MemberFacts| member.data = vec!["10.0.0.1/24".parse().unwrap()];
    assert_eq!(after_first(other), ["ipmp0 subnets-differ"]);
    let no_test = after(|facts| {
        facts.groups[0].members[0].test.clear();
        facts.groups[0].targets.clear();
    });
    assert_eq!(no_test, ["ipmp0 test-address-missing"]);
    // Where no interface is, nobody knows of a test address on it.
    let gone = after(|facts| {
        facts.groups[0].targets.clear();
        let [gone, detached] = [0, 1].map(|number| {
            let mut member = member(2 + number);
            member.test.clear();
            member
        });
        facts.groups[0].members.extend([MemberFacts { link: None, ..gone }, detached]);
        facts.groups[0].members[3].told.as_mut().unwrap().state = ShownState::Absent;
    });
    assert_eq!(gone, ["eth2 absent"]);
    // IPv6 targets are probed from the link-local address.
    assert_eq!(after_first(|member| member.test.clear()), [""; 0]);
}

#[test]
fn a_group_that_has_failed_and_addresses_on_no_interface_are_problems() {
    assert_eq!(after(|facts| facts.groups[0].failed = true), ["ipmp0 group-failed"]);
    let mut facts = healthy();
    facts.groups[0].parked = vec!["192.168.10.10/24".parse().unwrap()];
    let found = all(&facts);
    assert_eq!((found[0].check.as_str(), found[0].severity), ("parked", Severity::Problem));
    assert_eq!(found[0].what, "on no interface: 192.168.10.10/24");
}

#[test]
fn what_defeats_a_member() {
    assert_eq!(after_first(|member| member.link = None), ["eth0 absent"]);
    assert_eq!(after_first(|member| member.rp_filter = 1), ["eth0 rp-filter"]);
    assert_eq!(after_first(|member| member.arp_ignore = 0), ["eth0 arp-ignore"]);
    assert_eq!(after_first(|member| member.ipv6_disabled = true), ["eth0 ipv6-disabled"]);
    assert_eq!(after_first(|member| member.addresses.truncate(1)), ["eth0 link-local-missing"]);
    assert_eq!(after_first(|member| member.managers.push("NetworkManager")), ["eth0 managed"]);
    let port = |member: &mut MemberFacts| member.link.as_mut().unwrap().controller = Some(9);
    assert_eq!(after_first(port), ["eth0 port"]);
}

#[test]
fn evidence_that_could_be_better() {
    let told = |change: fn(&mut Told)| after_first(|member| change(member.told.as_mut().unwrap()));
    assert_eq!(told(|told| told.reply = Some(ReplyEvidence::XdpGeneric)), ["eth0 reply-evidence"]);
    assert_eq!(told(|told| told.carrier = Some(CarrierSource::Poll)), ["eth0 carrier-evidence"]);
    assert_eq!(told(|told| told.link = Link::Unknown), ["eth0 carrier-unknown"]);
    let mut facts = healthy();
    let member = &mut facts.groups[0].members[0];
    member.told.as_mut().unwrap().reply = Some(ReplyEvidence::Tcx);
    member.link.as_mut().unwrap().xdp_programs = vec![77];
    assert!(all(&facts)[0].what.contains("another program (id 77)"), "{:?}", all(&facts));
}
