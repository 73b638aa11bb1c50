use ipmp_common::engine::snapshot::{GroupState, ProbeState, ShownState};

use super::text;
use crate::control::status::{
    AddressStatus, DeviceInfo, GroupStatus, InterfaceStatus, Link, Status, TargetOrigin, TestInfo,
};

fn interface(name: &str, ifindex: u32, mac: &str, test: &[&str]) -> InterfaceStatus {
    InterfaceStatus {
        diagnosis: None,
        name: name.to_owned(),
        ifindex,
        state: ShownState::Ok,
        active: true,
        standby: false,
        link: Link::Up,
        probe: ProbeState::Disabled,
        reason: String::new(),
        why: serde_json::Value::Null,
        since_ns: 0,
        deferred: None,
        reply_evidence: None,
        carrier_evidence: None,
        notes: Vec::new(),
        counters: None,
        device: Some(DeviceInfo {
            section: None,
            left_alone: Vec::new(),
            up: true,
            mac: Some(mac.to_owned()),
            mtu: 1500,
            test: test
                .iter()
                .map(|ip| TestInfo { address: ip.parse().unwrap(), targets: TargetOrigin::Routes })
                .collect(),
        }),
        targets: Vec::new(),
    }
}

fn address(text: &str, home: &str, on: &str) -> AddressStatus {
    let (home, on) = (home.to_owned(), Some(on.to_owned()));
    AddressStatus { address: text.parse().unwrap(), home, on, parked: false }
}

fn status(name: &str, interfaces: Vec<InterfaceStatus>, addresses: Vec<AddressStatus>) -> Status {
    let group = GroupStatus {
        put_back: 0,
        name: name.to_owned(),
        state: GroupState::Ok,
        fdt_ns: 10_000_000_000,
        fdt_configured_ns: 10_000_000_000,
        detection_worst_ns: None,
        repair_worst_ns: None,
        repair_by_one_worst_ns: None,
        outbound: Vec::new(),
        interfaces,
        addresses,
    };
    Status { version: 1, at_ns: 0, stalls: 0, skipped_slots: 0, groups: vec![group] }
}

const CE0: &str = "00:03:ba:93:90:fc";
const CE1: &str = "00:03:ba:93:91:35";
const CE0_LINES: &str = "\
ce0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 4
\tinet 192.168.10.10 netmask ffffff00 broadcast 192.168.10.255
\tgroupname ipmp0
\tether 0:3:ba:93:90:fc
";

fn pair() -> Status {
    let interfaces = vec![interface("ce0", 4, CE0, &[]), interface("ce1", 5, CE1, &[])];
    status("ipmp0", interfaces, vec![address("192.168.10.10/24", "ce0", "ce0")])
}

#[test]
fn a30_a31_an_active_pair_with_one_address() {
    let wanted = format!(
        "{CE0_LINES}\
ce1: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 5
\tinet -
\tgroupname ipmp0
\tether 0:3:ba:93:91:35
"
    );
    assert_eq!(text(&pair()), wanted);
}

#[test]
fn a32_an_idle_standby() {
    let mut status = pair();
    status.groups[0].interfaces[1].standby = true;
    status.groups[0].interfaces[1].active = false;
    let wanted = format!(
        "{CE0_LINES}\
ce1: flags=69000842<BROADCAST,RUNNING,MULTICAST,IPv4,NOFAILOVER,STANDBY,INACTIVE> mtu 1500 index 5
\tinet -
\tgroupname ipmp0
\tether 0:3:ba:93:91:35
"
    );
    assert_eq!(text(&status), wanted);
}

#[test]
fn a53_a55_a56_a57_a_failover_of_the_how_to() {
    let mut failed = interface("ge1", 7, "08:00:20:c0:ff:ed", &["192.168.0.89"]);
    failed.state = ShownState::Failed;
    failed.active = false;
    let interfaces = vec![interface("ge0", 6, "08:00:20:c0:ff:ec", &["192.168.0.87"]), failed];
    let addresses = vec![address("192.168.0.86/24", "ge0", "ge0"), address("192.168.0.88/24", "ge1", "ge0")];
    let wanted = "\
ge0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 6
\tinet 192.168.0.86 netmask ffffff00 broadcast 192.168.0.255
\tgroupname testgrp2
\tether 8:0:20:c0:ff:ec
ge0:1: flags=9040843<UP,BROADCAST,RUNNING,MULTICAST,DEPRECATED,IPv4,NOFAILOVER> mtu 1500 index 6
\tinet 192.168.0.87 netmask ffffffff
ge0:2: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 6
\tinet 192.168.0.88 netmask ffffff00 broadcast 192.168.0.255
ge1: flags=19000842<BROADCAST,RUNNING,MULTICAST,IPv4,NOFAILOVER,FAILED> mtu 1500 index 7
\tinet -
\tgroupname testgrp2
\tether 8:0:20:c0:ff:ed
ge1:1: flags=9040843<UP,BROADCAST,RUNNING,MULTICAST,DEPRECATED,IPv4,NOFAILOVER> mtu 1500 index 7
\tinet 192.168.0.89 netmask ffffffff
";
    assert_eq!(text(&status("testgrp2", interfaces, addresses)), wanted);
}

#[test]
fn a61_a_standby_with_only_its_test_address() {
    let mut standby = interface("ge1", 5, "08:00:20:c0:ff:ec", &["192.168.0.88"]);
    standby.standby = true;
    standby.active = false;
    let wanted = "\
ge1: flags=69040843<UP,BROADCAST,RUNNING,MULTICAST,DEPRECATED,IPv4,NOFAILOVER,STANDBY,INACTIVE> mtu 1500 index 5
\tinet 192.168.0.88 netmask ffffffff
\tgroupname testgrp1
\tether 8:0:20:c0:ff:ec
";
    assert_eq!(text(&status("testgrp1", vec![standby], Vec::new())), wanted);
}

#[test]
fn ipv6_offline_without_carrier_and_absent() {
    let mut status = pair();
    let group = &mut status.groups[0];
    group.addresses.push(address("2001:db8::10/64", "ce0", "ce0"));
    group.interfaces[1].state = ShownState::Offline;
    group.interfaces[1].active = false;
    group.interfaces[1].link = Link::Down;
    group.interfaces.push(InterfaceStatus { state: ShownState::Absent, ..group.interfaces[0].clone() });
    let wanted = format!(
        "{CE0_LINES}\
ce0: flags=2000841<UP,RUNNING,MULTICAST,IPv6> mtu 1500 index 4
\tinet6 2001:db8::10/64
\tgroupname ipmp0
\tether 0:3:ba:93:90:fc
ce1: flags=89000802<BROADCAST,MULTICAST,IPv4,NOFAILOVER,OFFLINE> mtu 1500 index 5
\tinet -
\tgroupname ipmp0
\tether 0:3:ba:93:91:35
"
    );
    assert_eq!(text(&status), wanted);
}
