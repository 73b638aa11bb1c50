use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::{From, ImportError, Proposal, hostname, import, mpathd, names};
use crate::config;

/// Each directory is a copy of an old system's root; beside it lies the proposal as it shall be. After a wanted
/// change: `IPMP_BLESS=1 cargo test -p ipmp-user import`, and read the difference.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/fixtures")
}

fn propose(name: &str, from: From) -> Proposal {
    import(&fixtures().join(name), from, &BTreeMap::new()).unwrap()
}

/// Compares with the golden file, and gives how `ipmpd --check` understands the text.
fn golden(name: &str, from: From) -> String {
    let proposal = propose(name, from);
    let file = fixtures().join(format!("{name}.toml"));
    if std::env::var_os("IPMP_BLESS").is_some() {
        fs::write(&file, &proposal.toml).unwrap();
    }
    assert_eq!(proposal.toml, fs::read_to_string(&file).unwrap(), "{}", file.display());
    config::summary(&config::parse(name, proposal.toml.as_bytes()).unwrap())
}

/// The interfaces of a summary.
fn interfaces(summary: &str) -> Vec<&str> {
    summary.lines().filter_map(|line| line.strip_prefix("  ")).collect()
}

fn notes(proposal: &Proposal) -> Vec<String> {
    proposal.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn a24_a_single_interface() {
    let summary = golden("2_1", From::Solaris);
    assert_eq!(interfaces(&summary), ["ce0: data 192.168.10.10/24; test none"]);
    assert!(summary.starts_with("group ipmp0: failure detection time 10.0 s, failback yes"), "{summary}");
    assert!(propose("2_1", From::Solaris).notes.is_empty());
}

#[test]
fn a25_two_active_interfaces() {
    let summary = golden("2_2_1_1", From::Solaris);
    assert_eq!(interfaces(&summary), ["ce0: data 192.168.10.10/24; test none", "ce1: data none; test none"]);
}

#[test]
fn a26_two_active_interfaces_and_a_logical_one() {
    let summary = golden("2_2_1_2", From::Solaris);
    let ce0 = "ce0: data 192.168.10.10/24, 192.168.10.11/24; test none";
    assert_eq!(interfaces(&summary), [ce0, "ce1: data none; test none"]);
}

#[test]
fn a27_three_interfaces() {
    let summary = golden("2_2_1_3", From::Solaris);
    let none = |name: &str| format!("{name}: data none; test none");
    let wanted = [none("bge1"), "ce0: data 192.168.10.10/24; test none".to_owned(), none("ce1")];
    assert_eq!(interfaces(&summary), wanted);
}

#[test]
fn a28_a_standby() {
    let summary = golden("2_2_2_1", From::Solaris);
    let wanted = ["ce0: data 192.168.10.10/24; test none", "ce1: data none; test none, standby"];
    assert_eq!(interfaces(&summary), wanted);
}

#[test]
fn a29_a_standby_and_a_logical_interface() {
    let summary = golden("2_2_2_2", From::Solaris);
    let ce0 = "ce0: data 192.168.10.10/24, 192.168.10.11/24; test none";
    assert_eq!(interfaces(&summary), [ce0, "ce1: data none; test none, standby"]);
}

#[test]
fn a60_test_addresses_any_order_of_words_and_a_typographic_dash() {
    let summary = golden("howto_active", From::Solaris);
    let wanted = [
        "hme0: data 192.168.10.215/24; test 192.168.10.216",
        "hme1: data 192.168.10.217/24; test 192.168.10.218",
    ];
    assert_eq!(interfaces(&summary), wanted);
    assert!(summary.starts_with("group test: "), "{summary}");
}

#[test]
fn a61_a_standby_with_only_its_test_address() {
    let summary = golden("howto_standby", From::Solaris);
    let wanted =
        ["ge0: data 192.168.0.86/24; test 192.168.0.87", "ge1: data none; test 192.168.0.88, standby"];
    assert_eq!(interfaces(&summary), wanted);
    assert!(summary.starts_with("group host1: "), "{summary}");
}

#[test]
fn a49_names_netmasks_ipv6_and_the_daemons_parameters() {
    let summary = golden("names", From::Solaris);
    let wanted = [
        "bge0: data 10.1.2.3/16, 172.16.5.5/16, 2001:db8::10/64; test 10.1.2.4",
        "bge1: data none; test none, standby",
    ];
    assert_eq!(interfaces(&summary), wanted);
    assert!(summary.starts_with("group prod: failure detection time 2.50 s, failback no"), "{summary}");
}

#[test]
fn what_cannot_be_carried_over_is_said() {
    let summary = golden("leftovers", From::Solaris);
    let wanted = [
        "ce0: data 192.168.10.10/24, 192.168.10.11/24, 192.168.10.13/24; test none",
        "ce1: data 192.168.10.20/24; test none",
    ];
    assert_eq!(interfaces(&summary), wanted);
    assert!(summary.starts_with("group a.b: failure detection time 100 ms, failback yes"), "{summary}");
    let notes = notes(&propose("leftovers", From::Solaris));
    for wanted in [
        "etc/default/mpathd:1: Too small failure detection time of 50, assuming minimum of 100 ms",
        "etc/default/mpathd:2: Invalid value for FAILBACK maybe; taken for yes, the default",
        "etc/default/mpathd:4: LINK_ONLY is not carried over: in.mpathd does not know it",
        "etc/hostname.ce0.bak:1: left out: the old system reads only names that end in a digit",
        "etc/hostname.ce2:1: ce2 is in no group and left out: ipmpd does not manage it",
        "etc/hostname.ce0:1: `mtu 9000` is not carried over",
        "etc/hostname.ce0:1: `private` is not carried over",
        "etc/hostname.ce0:1: broadcast 192.168.10.127 is not carried over: 192.168.10.255 is used",
        "etc/hostname.ce0:3: 192.168.10.12/24 is not carried over: the old system never brings it `up`",
        "etc/hostname.ce0:4: nowhere is not carried over: no address, and in no hosts file beside it",
        "etc/hostname.ce0:7: `-frobnicate` is not understood and not carried over",
        "etc/hostname.ce1:1: an address by DHCP or RARP is not carried over: only listed addresses move",
    ] {
        assert!(notes.iter().any(|note| note == wanted), "{wanted}\nis not among\n{}", notes.join("\n"));
    }
    // The checker's own objections: the address again, and the subnet itself.
    let refused: Vec<&String> = notes.iter().filter(|note| note.contains(": not carried over: ")).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("etc/hostname.ce0:5: ") && refused[1].starts_with("etc/hostname.ce0:6: "));
}

#[test]
fn addresses_of_an_ipmp_interface_get_homes_on_the_active_members() {
    let summary = golden("clearview", From::Solaris);
    let wanted = [
        "net0: data 192.168.10.10/24, 192.168.10.12/24; test 192.168.10.110",
        "net1: data 192.168.10.11/24; test 192.168.10.111",
        "net2: data none; test 192.168.10.112, standby",
    ];
    assert_eq!(interfaces(&summary), wanted);
}

#[test]
fn bonding_becomes_a_proposal() {
    let summary = golden("bonding", From::Bonding);
    let wanted = [
        "eth0: data those found on it; test none, standby",
        "eth1: data those found on it; test none",
        "damping: link up delayed for 200 ms",
        "eth2: data those found on it; test none",
        "eth3: data those found on it; test none",
    ];
    assert_eq!(interfaces(&summary), wanted);
    let bond0 = "group bond0: failure detection time 1.00 s, failback yes, on group failure keep, quiet period 40.0 s, suspicion on, outbound spreading on, targets 192.168.10.1, 192.168.10.2\n";
    assert!(summary.starts_with(bond0), "{summary}");
    let notes = notes(&propose("bonding", From::Bonding)).join("\n");
    let toml = propose("bonding", From::Bonding).toml;
    assert!(toml.contains("link-up-delay = \"200ms\"  # proc/net/bonding/bond1:7\n"), "{toml}");
    assert!(notes.contains("undo the aggregation on the switch"), "{notes}");
}

#[test]
fn a_team_becomes_a_proposal() {
    let summary = golden("team", From::Team);
    let wanted = [
        "damping: link up delayed for 50.0 ms",
        "eth0: data those found on it; test none, standby",
        "eth1: data those found on it; test none",
        "eth2: data those found on it; test none",
        "eth3: data those found on it; test none",
    ];
    assert_eq!(interfaces(&summary), wanted);
    assert!(summary.starts_with("group team0: failure detection time 500 ms"), "{summary}");
}

#[test]
fn the_directory_may_be_the_etc_itself_and_names_may_change() {
    let rename = BTreeMap::from([("ce0".to_owned(), "enp1s0".to_owned())]);
    let proposal = import(&fixtures().join("2_2_1_1/etc"), From::Solaris, &rename).unwrap();
    assert!(
        proposal.toml.contains("[group.ipmp0.interface.enp1s0]  # hostname.ce0:1\n"),
        "{}",
        proposal.toml
    );
    assert!(proposal.toml.contains("[group.ipmp0.interface.ce1]  # hostname.ce1:1\n"), "{}", proposal.toml);
}

#[test]
fn a_new_name_for_an_interface_that_is_not_there_is_told() {
    let rename = [("ce0", "eth0"), ("cs1", "eth1")].map(|(old, new)| (old.to_owned(), new.to_owned()));
    let proposal = import(&fixtures().join("2_2_1_1/etc"), From::Solaris, &BTreeMap::from(rename)).unwrap();
    let text = "--rename cs1=eth1: the proposal has no interface cs1; take one of ce0, ce1";
    assert!(proposal.notes.iter().any(|note| note.to_string() == text), "{:?}", proposal.notes);
    assert!(!proposal.notes.iter().any(|note| note.text.contains("ce0=eth0")), "{:?}", proposal.notes);
}

#[test]
fn a_directory_without_a_group_is_an_error_and_so_is_none() {
    let dir = tempfile::tempdir().unwrap();
    for from in [From::Solaris, From::Bonding, From::Team] {
        let error = import(dir.path(), from, &BTreeMap::new()).unwrap_err();
        assert!(matches!(error, ImportError::Nothing { .. }), "{error}");
    }
    let error = import(&dir.path().join("none"), From::Solaris, &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, ImportError::Unreadable { .. }), "{error}");
}

#[test]
fn a_name_that_linux_does_not_allow_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("hostname.averyverylongname0"), "group g up\n").unwrap();
    let error = import(dir.path(), From::Solaris, &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.starts_with("cannot import: hostname.averyverylongname0:1: interface name"), "{error}");
}

#[test]
fn bad_values_of_the_daemons_parameters_fall_back_as_in_mpathd() {
    for (value, ms) in
        [("10000", 10_000), ("99", 100), ("0", 10_000), ("-1", 10_000), ("soon", 10_000), ("250ms", 250)]
    {
        let parsed = mpathd::parse(&format!("# FAILBACK=no\nFAILURE_DETECTION_TIME={value}\n"));
        assert_eq!(parsed.failure_detection_time, Some((ms, 2)), "{value}");
        assert_eq!(parsed.failback, None);
    }
    let parsed = mpathd::parse("FAILBACK=no\nfailback=yes\n");
    assert_eq!((parsed.failback, parsed.remarks.len()), (Some((false, 1)), 1));
}

#[test]
fn masks_are_read_in_both_notations_and_holes_refused() {
    for (text, length) in [
        ("255.255.255.0", Some(24)),
        ("0xffffff00", Some(24)),
        ("0.0.0.0", Some(0)),
        ("255.255.255.255", Some(32)),
        ("255.0.255.0", None),
        ("24", None),
    ] {
        assert_eq!(names::mask_length(text), length, "{text}");
    }
}

#[test]
fn a_dash_of_another_encoding_is_a_dash() {
    for dash in ["-", "\u{2013}", "\u{2014}", "\u{2212}", "\u{fffd}", "\u{fffd}\u{fffd}\u{fffd}"] {
        let parsed = hostname::parse(&format!("10.0.0.1 {dash}failover up"), false);
        assert!(parsed.logicals[0].no_failover, "{dash}: {parsed:?}");
        assert!(parsed.remarks.is_empty(), "{parsed:?}");
    }
}

/// Words of the grammar and others, in any order, on any number of lines.
fn hostname_text() -> impl Strategy<Value = String> {
    let words = [
        "group",
        "ipmp0",
        "standby",
        "-standby",
        "up",
        "down",
        "addif",
        "netmask",
        "+",
        "broadcast",
        "deprecated",
        "–failover",
        "-failover",
        "failover",
        "10.0.0.1",
        "10.0.0.1/24",
        "10.0.0.2/99",
        "2001:db8::1/64",
        "0.0.0.0",
        "\\\n",
        "\n",
        "set",
        "mtu",
        "dhcp",
        "ipmp",
        "\"",
        "a\u{7}b",
        "#",
        "255.255.0.255",
        "host/24",
        "1.2.3.4/",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..40)
        .prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_panics_the_parsers(text in any::<String>(), ipv6 in any::<bool>()) {
        prop_assert!(!hostname::parse(&text, ipv6).logicals.is_empty());
        let _ = mpathd::parse(&text);
    }

    /// Whatever the files say, a proposal passes the check, and no entry comes without its source.
    #[test]
    fn every_proposal_passes_the_check(first in hostname_text(), second in hostname_text()) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("hostname.ce0"), first).unwrap();
        fs::write(dir.path().join("hostname6.ce1"), second).unwrap();
        match import(dir.path(), From::Solaris, &BTreeMap::new()) {
            Ok(proposal) => {
                prop_assert!(config::parse("proposal", proposal.toml.as_bytes()).is_ok());
                let entries = proposal.toml.lines().filter(|line| line.starts_with("    \""));
                for entry in entries {
                    prop_assert!(entry.contains("  # hostname"), "{}", entry);
                }
            }
            Err(ImportError::Nothing { .. } | ImportError::Unusable(_)) => {}
            Err(error @ ImportError::Unreadable { .. }) => prop_assert!(false, "{}", error),
        }
    }
}
