use std::net::IpAddr;

use ipmp_common::engine::{
    config::{Damping, DataAddresses, OnGroupFailure},
    time::Nanos,
};
use proptest::prelude::*;

use super::{ConfigError, load, parse, summary};

/// The example of the user's contract, word for word.
const EXAMPLE: &str = r#"
failure-detection-time = "10s"          # FAILURE_DETECTION_TIME
failback = true                         # FAILBACK
track-interfaces-only-with-groups = true

[group.ipmp0]
failure-detection-time = "100ms"        # per group: what in.mpathd lacks
targets = ["192.168.10.1", "fe80::1"]   # optional; else discovered: routers, host routes, neighbours, multicast

[group.ipmp0.interface.eth0]
data = ["192.168.10.10/24", "2001:db8::10/64"]   # home of these data addresses; omitted = adopt what is there
test = ["192.168.10.110"]                        # omitted = link-based only (IPv6 probes use the link-local address)

[group.ipmp0.interface.eth1]
test = ["192.168.10.111"]
standby = true
"#;

fn problems(text: &str) -> Vec<String> {
    match parse("f", text.as_bytes()) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(invalid) => invalid.to_string().split("\nipmp: ").map(str::to_owned).collect(),
    }
}

#[test]
fn the_contracts_example_is_understood() {
    let config = parse("f", EXAMPLE.as_bytes()).unwrap();
    let [group] = config.engine.groups.as_slice() else { panic!("one group: {config:?}") };
    assert_eq!(group.name, "ipmp0");
    assert_eq!(group.failure_detection_time, Nanos::from_millis(100));
    assert!(group.failback);
    assert_eq!(group.quiet_period, Nanos::from_secs(40));
    assert!(group.suspicion);
    assert_eq!(group.on_group_failure, OnGroupFailure::Keep);
    let targets: Vec<IpAddr> = ["192.168.10.1", "fe80::1"].iter().map(|t| t.parse().unwrap()).collect();
    assert_eq!(group.targets, targets);
    let [eth0, eth1] = group.interfaces.as_slice() else { panic!("two interfaces: {group:?}") };
    assert_eq!((eth0.name.as_str(), eth0.standby), ("eth0", false));
    let data = ["192.168.10.10/24", "2001:db8::10/64"].iter().map(|n| n.parse().unwrap());
    assert_eq!(eth0.data, DataAddresses::Listed(data.collect()));
    assert_eq!(eth0.test, ["192.168.10.110".parse::<IpAddr>().unwrap()]);
    assert_eq!((eth1.name.as_str(), eth1.standby), ("eth1", true));
    assert_eq!(eth1.data, DataAddresses::Adopt);
    assert!(config.daemon.track_interfaces_only_with_groups);
}

#[test]
fn outbound_spreading_is_inherited_and_overridden() {
    let on = |text: &str| parse("f", text.as_bytes()).unwrap().engine.groups[0].outbound_spreading;
    let group = "[group.g.interface.a]\n";
    assert!(on(group), "the default");
    assert!(!on(&format!("outbound-spreading = false\n{group}")));
    assert!(!on(&format!("[group.g]\noutbound-spreading = false\n{group}")));
    assert!(on(&format!("outbound-spreading = false\n[group.g]\noutbound-spreading = true\n{group}")));
    assert!(problems("[group.g]\noutbound-spreading = 2\n[group.g.interface.a]\n")[0].contains("outbound"));
}

#[test]
fn suspicion_can_be_turned_off() {
    let config = parse("f", b"[group.g]\nsuspicion = false\n[group.g.interface.a]\n").unwrap();
    assert!(!config.engine.groups[0].suspicion);
    assert!(problems("[group.g]\nsuspicion = 1\n[group.g.interface.a]\n")[0].contains("suspicion"));
}

#[test]
fn groups_and_interfaces_keep_the_order_of_the_file() {
    let text = "[group.z.interface.b]\n[group.z.interface.a]\n[group.a.interface.c]\n";
    let groups = parse("f", text.as_bytes()).unwrap().engine.groups;
    let order: Vec<(&str, Vec<&str>)> = groups
        .iter()
        .map(|g| (g.name.as_str(), g.interfaces.iter().map(|i| i.name.as_str()).collect()))
        .collect();
    assert_eq!(order, [("z", vec!["b", "a"]), ("a", vec!["c"])]);
}

#[test]
fn a_group_inherits_keys_that_stand_behind_it() {
    let text = "group.g.interface.a = {}\nfailback = false\nfailure-detection-time = \"1m30s\"\n";
    let config = parse("f", text.as_bytes()).unwrap();
    assert!(!config.engine.groups[0].failback);
    assert_eq!(config.engine.groups[0].failure_detection_time, Nanos::from_secs(90));
}

#[test]
fn a_group_of_standbys_only_is_allowed() {
    let text = "[group.g.interface]\na.standby = true\nb = { standby = true, data = [] }\n";
    let config = parse("f", text.as_bytes()).unwrap();
    assert_eq!(config.engine.groups[0].interfaces[1].data, DataAddresses::Listed(vec![]));
}

#[test]
fn prefixes_without_a_subnet_are_host_addresses() {
    for data in ["10.0.0.1/32", "10.0.0.0/31", "2001:db8::/127", "2001:db8::/128", "169.254.0.9/16"] {
        let text = format!("[group.g.interface.a]\ndata = [{data:?}]\n");
        assert!(parse("f", text.as_bytes()).is_ok(), "{data}");
    }
}

#[test]
fn detection_time_limits_are_inclusive() {
    for (written, accepted) in [("9999us", false), ("10ms", true), ("1h", true), ("3600001ms", false)] {
        let text = format!("failure-detection-time = {written:?}\n[group.g.interface.a]\n");
        assert_eq!(parse("f", text.as_bytes()).is_ok(), accepted, "{written}");
    }
}

#[test]
fn a10_damping_is_off_unless_asked_for_and_shown_by_check() {
    let plain = parse("f", b"[group.g.interface.a]\n").unwrap();
    assert_eq!(plain.engine.groups[0].damping, Damping::default());
    assert!(!summary(&plain).contains("damping"));
    let text = "[group.g]\nlink-down-delay = \"2s\"\nlink-up-delay = \"60s\"\nfailback-delay = \"5m\"\n\
                hold-down = \"10s\"\nhold-down-max = \"80s\"\n[group.g.interface.a]\n";
    let config = parse("f", text.as_bytes()).unwrap();
    let wanted = Damping {
        link_down_delay: Nanos::from_secs(2),
        link_up_delay: Nanos::from_secs(60),
        failback_delay: Nanos::from_secs(300),
        hold_down: Nanos::from_secs(10),
        hold_down_max: Nanos::from_secs(80),
    };
    assert_eq!(config.engine.groups[0].damping, wanted);
    let line = "  damping: link down delayed for 2.00 s, link up delayed for 60.0 s, failback delayed for 300 s, \
                hold-down 10.0 s, doubling up to 80.0 s\n";
    assert!(summary(&config).contains(line), "{}", summary(&config));
}

/// File, and the one line that must come of it.
const BAD: &[(&str, &str)] = &[
    (
        "[group.g]\nlink_down_delay = \"2s\"\n[group.g.interface.a]",
        r#"f:2:1: unknown key "link_down_delay" in [group.g]; did you mean "link-down-delay"?"#,
    ),
    (
        "[group.g]\nhold-down = \"20m\"\n[group.g.interface.a]",
        "f:2:13: hold-down is 1200 s, longer than hold-down-max, 600 s; hold-down is where doubling begins and \
         hold-down-max where it ends: make the latter the longer",
    ),
    (
        "[group.g]\nfailback-delay = \"25h\"\n[group.g.interface.a]",
        r#"f:2:18: failback-delay is the string "25h", outside the range; write a duration from "0s" to "1day""#,
    ),
    (
        "failbak = true\n[group.g.interface.a]",
        r#"f:1:1: unknown key "failbak" at the top of the file; did you mean "failback"?"#,
    ),
    (
        "[group.g]\nFAILURE_DETECTION_TIME = \"1s\"\n[group.g.interface.a]",
        r#"f:2:1: unknown key "FAILURE_DETECTION_TIME" in [group.g]; did you mean "failure-detection-time"?"#,
    ),
    (
        "[group.g.interface.a]\nfailback = false",
        r#"f:2:1: unknown key "failback" in [group.g.interface.a]; "failback" belongs at the top of the file"#,
    ),
    (
        "[group.g.interface.a]\nzzz = 1",
        r#"f:2:1: unknown key "zzz" in [group.g.interface.a]; known here: data, test, standby, mac, pci"#,
    ),
    (
        "[group.g.interface.a]\nmac = \"52:54:00:12:34\"",
        r#"f:2:7: "52:54:00:12:34" is no hardware address; write it as `ip link` shows it, such as "52:54:00:12:34:56""#,
    ),
    (
        "[group.g.interface.a]\nmac = \"ff:ff:ff:ff:ff:ff\"",
        r#"f:2:7: "ff:ff:ff:ff:ff:ff" is the hardware address of no single interface; write the interface's own, as `ip link` shows it"#,
    ),
    (
        "[group.g.interface.lo]",
        "f:1:20: lo is the loopback interface, which has no link that could fail; write the name that `ip link` shows",
    ),
    (
        "[group.g.interface.a]\npci = \"3b:00.0\"",
        r#"f:2:7: "3b:00.0" is no PCI function; write domain, bus, slot and function as `lspci -D` shows them, such as "0000:3b:00.0""#,
    ),
    (
        "boot-wait = \"2h\"\n[group.g.interface.a]",
        r#"f:1:13: boot-wait is the string "2h", outside the range; write a duration from "0s" to "1h""#,
    ),
    (
        "[grup.g.interface.a]\n[group.g.interface.b]",
        r#"f:1:2: unknown key "grup" at the top of the file; did you mean "group"?"#,
    ),
    (
        "failure-detection-time = 10000\n[group.g.interface.a]",
        r#"f:1:26: failure-detection-time is the number 10000, without a unit; durations are strings with a unit, such as "10s", "250ms" or "1m30s"; if milliseconds were meant: failure-detection-time = "10000ms""#,
    ),
    (
        "failure-detection-time = \"100\"\n[group.g.interface.a]",
        r#"f:1:26: failure-detection-time is the string "100", without a unit; durations are strings with a unit, such as "10s", "250ms" or "1m30s"; if milliseconds were meant: failure-detection-time = "100ms""#,
    ),
    (
        "failure-detection-time = \"soon\"\n[group.g.interface.a]",
        r#"f:1:26: failure-detection-time is the string "soon", not a duration; durations are strings with a unit, such as "10s", "250ms" or "1m30s""#,
    ),
    (
        "failure-detection-time = \"1ms\"\n[group.g.interface.a]",
        r#"f:1:26: failure-detection-time is the string "1ms", outside the range; write a duration from "10ms" to "1h""#,
    ),
    (
        "failback = \"no\"\n[group.g.interface.a]",
        r#"f:1:12: failback is the string "no"; write failback = false without quotes"#,
    ),
    (
        "[group.g]\non-group-failure = \"kep\"\n[group.g.interface.a]",
        r#"f:2:20: on-group-failure is the string "kep"; did you mean "keep"?"#,
    ),
    (
        "[group.g.interface.a]\ntest = \"10.0.0.1\"",
        r#"f:2:8: test is the string "10.0.0.1"; write a list: test = ["10.0.0.1"]"#,
    ),
    (
        "[group.g.interface.a]\n[group.h.interface.a]",
        r#"f:2:20: interface "a" is already in group "g" (line 1); an interface belongs to one group: remove one of the two sections"#,
    ),
    (
        "[group.g.interface.a]\ndata = [\"10.0.0.1/24\"]\n[group.g.interface.b]\ndata = [\"10.0.0.1/24\"]",
        "f:4:9: data address 10.0.0.1 is already the data address of a (line 2); write every address once",
    ),
    (
        "[group.g.interface.a]\ndata = [\"10.0.0.1/24\"]\ntest = [\"10.0.0.1\"]",
        "f:3:9: test address 10.0.0.1 is already the data address of a (line 2); a test address never moves and a data address does: take two different ones",
    ),
    (
        "[group.g]\ntargets = [\"10.0.0.9\", \"10.0.0.1\"]\n[group.g.interface.a]\ntest = [\"10.0.0.1\"]",
        "f:2:24: target 10.0.0.1 is our own test address of a (line 4); a target is another host: name a router or a server on the same link",
    ),
    (
        "[group.g]\ntargets = [\"10.0.0.9\", \"10.0.0.9\"]\n[group.g.interface.a]",
        "f:2:24: target 10.0.0.9 was named already (line 2); write every target once",
    ),
    (
        "[group.g.interface.abcdefghijklmnop]",
        r#"f:1:20: interface name "abcdefghijklmnop" is longer than 15 bytes; write the name that `ip link` shows"#,
    ),
    (
        "[group.g.interface.\"a/b\"]",
        r#"f:1:20: interface name "a/b" contains '/'; write the name that `ip link` shows"#,
    ),
    (
        "[group.g.interface.a]\ndata = [\"10.0.0.1\"]",
        r#"f:2:9: data address "10.0.0.1" has no prefix length; write it as on the interface, such as "10.0.0.1/24""#,
    ),
    (
        "[group.g.interface.a]\ndata = [\"10.0.0.1/33\"]",
        r#"f:2:9: data address "10.0.0.1/33" has an impossible prefix length; write 1 to 32 for IPv4, 1 to 128 for IPv6"#,
    ),
    (
        "[group.g.interface.a]\ndata = [\"10.0.0.0/24\"]",
        r#"f:2:9: data address "10.0.0.0/24" is the subnet itself; write the interface's own address, host bits included"#,
    ),
    (
        "[group.g.interface.a]\ndata = [\"10.0.0.255/24\"]",
        r#"f:2:9: data address "10.0.0.255/24" is the subnet's broadcast address; write the interface's own address"#,
    ),
    (
        "[group.g.interface.a]\ndata = [\"fe80::1/64\"]",
        r#"f:2:9: data address "fe80::1/64" is link-local and cannot move; leave it out; every interface keeps its own"#,
    ),
    (
        "[group.g.interface.a]\ndata = [\"127.0.0.1/8\"]",
        r#"f:2:9: data address "127.0.0.1/8" is a loopback address; write a unicast address of the link"#,
    ),
    (
        "[group.g.interface.a]\ntest = [\"0.0.0.0\"]",
        r#"f:2:9: test address "0.0.0.0" is the unspecified address; write a unicast address of the link"#,
    ),
    (
        "[group.g.interface.a]\ntest = [\"10.0.0.1/24\"]",
        r#"f:2:9: test address "10.0.0.1/24" has a prefix length; write the address alone: "10.0.0.1""#,
    ),
    (
        "[group.g]\ntargets = [\"224.0.0.1\"]\n[group.g.interface.a]",
        r#"f:2:12: target "224.0.0.1" is a multicast address; write a unicast address of the link"#,
    ),
    (
        "[group.g]\ntargets = [\"fe80::1%eth0\"]\n[group.g.interface.a]",
        r#"f:2:12: target "fe80::1%eth0" names a zone; write "fe80::1": every interface of the group uses its own link"#,
    ),
    (
        "[group.g]\ntargets = [\"gateway\"]\n[group.g.interface.a]",
        r#"f:2:12: target "gateway" is not an IP address; write one such as "192.168.10.1" or "2001:db8::1"; names are not looked up"#,
    ),
    (
        "[group.g]",
        r#"f:1:8: group "g" has no interface; write a section [group.g.interface.NAME] for every interface"#,
    ),
    (
        "",
        "f:1:1: there is no group, so there is nothing to do; write a section [group.NAME.interface.NAME] for every interface",
    ),
    (
        "[daemon]\nreal-time-priority = 99\n[group.g.interface.a]",
        "f:2:22: real-time-priority is the number 99; write a whole number from 0 to 98",
    ),
    ("[[group]]\nname = \"g\"", "f:1:1: group is not a table; write a section [group.NAME]"),
    (
        "# ü\n[group.\"ü ü\".interface.a]",
        r#"f:2:8: group name "ü ü" is not usable; take 1 to 31 bytes without spaces"#,
    ),
];

#[test]
fn every_problem_names_its_place_and_what_was_meant() {
    for (text, expected) in BAD {
        let found = problems(text);
        let expected = format!("invalid configuration: {expected}");
        assert!(
            found.contains(&expected),
            "file:\n{text}\nwanted: {expected}\nfound:  {}",
            found.join("\n        ")
        );
    }
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_file() {
    let text = "failbak = true\n[group.g]\nquiet-period = 3\n[group.g.interface.a]\ndata = [\"x\", \"10.0.0.0/24\"]\n";
    let places: Vec<String> =
        problems(text).iter().map(|line| line.split(": ").nth(1).unwrap().to_owned()).collect();
    assert_eq!(places, ["f:1:1", "f:3:16", "f:5:9", "f:5:14"]);
}

#[test]
fn syntax_errors_have_a_place_too() {
    let found = problems("[group.g.interface.a]\ndata = [\"10.0.0.1/24\"\nstandby = yes\n");
    assert!(found.iter().all(|line| line.starts_with("invalid configuration: f:")), "{found:?}");
    let found = problems("failback = yes\n");
    assert!(found[0].starts_with("invalid configuration: f:1:12: not TOML: "), "{found:?}");
}

#[test]
fn bytes_that_are_not_utf8_have_a_place() {
    let invalid = parse("f", b"# ok\n# \xff\n").unwrap_err();
    assert_eq!((invalid.problems[0].line, invalid.problems[0].column), (2, 3));
}

#[test]
fn a_file_that_is_not_there_says_what_to_do() {
    let error = load(std::path::Path::new("/nonexistent/ipmpd.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
    let text = error.to_string();
    assert!(text.contains("/nonexistent/ipmpd.toml") && text.contains("--config"), "{text}");
}

#[test]
fn the_summary_shows_defaults() {
    let text = summary(&parse("f", EXAMPLE.as_bytes()).unwrap());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "group ipmp0: failure detection time 100 ms, failback yes, on group failure keep, quiet period 40.0 s, suspicion on, outbound spreading on, targets 192.168.10.1, fe80::1",
            "  eth0: data 192.168.10.10/24, 2001:db8::10/64; test 192.168.10.110",
            "  eth1: data those found on it; test 192.168.10.111, standby",
            "daemon: real-time priority 10, control socket readable by root",
        ]
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse("f", &bytes);
    }

    /// Fragments of real files in any order reach deeper than random bytes do.
    #[test]
    fn shuffled_fragments_never_panic_and_always_explain(
        fragments in proptest::collection::vec(proptest::sample::select(vec![
            "[group.g]\n", "[group.g.interface.a]\n", "data = [\"10.0.0.1/24\"]\n", "test = [\"::1\"]\n", "é = 1\n",
            "failback = 3\n", "targets = [1, \"\", \"/\", \"%\"]\n", "[daemon]\n", "group = 5\n", "quiet-period = \"1é\"\n",
            "interface.b = {}\n", "[[group.g.interface.c]]\n", "real-time-priority = 0xFFFFFFFFFFFFFFFFFF\n",
        ]), 0..12)
    ) {
        let text = fragments.concat();
        if let Err(invalid) = parse("f", text.as_bytes()) {
            prop_assert!(!invalid.problems.is_empty());
            prop_assert!(invalid.problems.iter().all(|p| p.line >= 1 && !p.what.is_empty() && !p.remedy.is_empty()));
        }
    }
}
