use clap::Parser as _;
use ipmp_common::engine::{
    ids::MemberId,
    reason::Reason,
    snapshot::{GroupState, ProbeState, ShownState, TargetState},
};
use proptest::prelude::*;

use super::{
    Mode, StatError,
    fields::{self, Cell, Columns},
    mode,
    probes::Watch,
    rows::{self, Addresses},
};
use crate::{
    cli::args::IpmpstatArgs,
    control::{
        feed::FinishedProbe,
        fixture::{evidence, snapshot},
        status::{InterfaceStatus, Status, TargetOrigin, TestInfo, build},
    },
};

fn document() -> Status {
    build(&snapshot(), &evidence())
}

/// The group of ipmpstat(1M)'s own example: two active, one inactive, one unusable interface.
fn field2() -> Status {
    let mut status = document();
    let model = status.groups[0].interfaces[1].clone();
    let interface = |name: &str, state, active| InterfaceStatus {
        name: name.to_owned(),
        state,
        active,
        standby: !active,
        ..model.clone()
    };
    let group = &mut status.groups[0];
    group.name = "field2".to_owned();
    group.state = GroupState::Degraded;
    group.fdt_ns = 20_000_000_000;
    group.interfaces = vec![
        interface("fops0", ShownState::Ok, true),
        interface("fops1", ShownState::Failed, false),
        interface("fops2", ShownState::Ok, false),
        interface("fops3", ShownState::Ok, true),
    ];
    group.addresses[0].home = "fops0".to_owned();
    group.addresses[0].on = Some("fops0".to_owned());
    status
}

fn page(mode: Mode, rows: &[Vec<Cell>]) -> String {
    let columns = Columns::new(mode, None, false).unwrap();
    columns.heading().unwrap() + &rows.iter().map(|row| columns.line(row)).collect::<String>()
}

fn parsable(mode: Mode, fields: &str, row: &[Cell]) -> String {
    Columns::new(mode, Some(fields), true).unwrap().line(row)
}

#[test]
fn groups_in_the_columns_of_the_original() {
    let wanted = "\
GROUP       GROUPNAME   STATE     FDT       INTERFACES
field2      field2      degraded  20.00s    fops0 fops3 (fops2) [fops1]
";
    assert_eq!(page(Mode::Groups, &rows::groups(&field2())), wanted);
    let mut status = field2();
    status.groups[0].interfaces.iter_mut().for_each(|interface| interface.probe = ProbeState::Disabled);
    let row = &rows::groups(&status)[0];
    assert_eq!(parsable(Mode::Groups, "fdt,state", row), ":degraded\n");
    assert!(page(Mode::Groups, &rows::groups(&status)).contains("degraded  --        fops0"));
}

#[test]
fn interfaces_with_their_flags() {
    let wanted = "\
INTERFACE   ACTIVE  GROUP       FLAGS     LINK      PROBE     STATE
fops0       yes     field2      -------   up        ok        ok
fops1       no      field2      -s-----   up        ok        failed
fops2       no      field2      is-----   up        ok        ok
fops3       yes     field2      -------   up        ok        ok
";
    assert_eq!(page(Mode::Interfaces, &rows::interfaces(&field2())), wanted);
    let mut status = field2();
    status.groups[0].interfaces[3].state = ShownState::Offline;
    status.groups[0].interfaces[2].state = ShownState::Absent;
    let rows = rows::interfaces(&status);
    assert_eq!(parsable(Mode::Interfaces, "interface,flags,state", &rows[3]), "fops3:-----d-:offline\n");
    assert_eq!(parsable(Mode::Interfaces, "interface,flags,state", &rows[2]), "fops2:-s---d-:failed\n");
    // The tag is the engine's own.
    let reason = Reason::DuplicateMac { mac: "00:03:ba:93:90:fc".to_owned(), other: MemberId(0) };
    status.groups[0].interfaces[3].why = serde_json::to_value(reason).unwrap();
    let row = &rows::interfaces(&status)[3];
    assert_eq!(parsable(Mode::Interfaces, "flags", row), "-----dh\n");
}

#[test]
fn addresses_with_the_interfaces_that_carry_them() {
    let wanted = "\
ADDRESS                   STATE  GROUP       INBOUND     OUTBOUND
192.168.10.10             up     ipmp0       eth1        eth1
";
    assert_eq!(page(Mode::Addresses, &rows::addresses(&document(), &Addresses::default())), wanted);
    let mut status = document();
    status.groups[0].interfaces[1].state = ShownState::Failed;
    let row = &rows::addresses(&status, &Addresses::default())[0];
    assert_eq!(parsable(Mode::Addresses, "state,inbound,outbound", row), "up::\n");
    let mut show = Addresses::default();
    show.hosts.add("192.168.10.10 www web\n");
    assert_eq!(parsable(Mode::Addresses, "address", &rows::addresses(&status, &show)[0]), "www\n");
}

#[test]
fn targets_by_interface_and_family() {
    let mut status = document();
    let mut device = status.groups[0].interfaces[0].device.clone().unwrap();
    device.test[0] =
        TestInfo { address: "192.168.10.111".parse().unwrap(), targets: TargetOrigin::Neighbours };
    device.test.push(TestInfo { address: "fe80::1".parse().unwrap(), targets: TargetOrigin::Neighbours });
    status.groups[0].interfaces[1].device = Some(device);
    let mut spare = status.groups[0].interfaces[0].targets[0].clone();
    spare.state = TargetState::Unused;
    status.groups[0].interfaces[0].targets.push(spare);
    let wanted = "\
INTERFACE   MODE      TESTADDR            TARGETS
eth0        routes    192.168.10.110      192.168.10.1
eth1        multicast 192.168.10.111      192.168.10.1
eth1        multicast fe80::1             --
";
    assert_eq!(page(Mode::Targets, &rows::targets(&status, &Addresses::default())), wanted);
    // No router of the other family, and no hosts are looked for: it is not probed.
    let test = &mut status.groups[0].interfaces[1].device.as_mut().unwrap().test;
    test[1].targets = TargetOrigin::Routes;
    let without = wanted.replace("eth1        multicast fe80::1             --\n", "");
    assert_eq!(page(Mode::Targets, &rows::targets(&status, &Addresses::default())), without);
    status.groups[0].interfaces[0].state = ShownState::Absent;
    status.groups[0].interfaces[0].device = None;
    status.groups[0].interfaces[1].probe = ProbeState::Disabled;
    let rows = rows::targets(&status, &Addresses::default());
    let fields = "interface,mode,testaddr,targets";
    assert_eq!(parsable(Mode::Targets, fields, &rows[0]), "eth0:disabled::\n");
    assert_eq!(parsable(Mode::Targets, fields, &rows[1]), "eth1:disabled::\n");
}

#[test]
fn only_the_last_probe_field_does_not_fit_a_screen() {
    let heading = Columns::new(Mode::Probes, None, false).unwrap().heading().unwrap();
    assert_eq!(heading, "TIME      INTERFACE   PROBE  NETRTT    RTT       RTTAVG    TARGET\n");
    let heading = Columns::new(Mode::Probes, Some("all"), false).unwrap().heading().unwrap();
    assert!(heading.ends_with("TARGET              RTTDEV\n"), "{heading}");
    for mode in [Mode::Addresses, Mode::Groups, Mode::Interfaces, Mode::Targets] {
        let all = Columns::new(mode, Some("all"), false).unwrap();
        assert_eq!(Columns::new(mode, None, false).unwrap(), all, "{mode:?}");
        assert!(fields::of(mode).iter().map(|(_, width)| width).sum::<usize>() <= 80);
    }
}

#[test]
fn bad_fields_are_told_in_the_words_of_the_original() {
    let bad = |fields, parsable| Columns::new(Mode::Groups, fields, parsable).unwrap_err();
    assert_eq!(bad(None, true).text, "output fields must be specified in parsable mode");
    assert_eq!(bad(Some("all"), true).text, "output field `all' invalid in parsable mode");
    assert_eq!(bad(Some("x,y"), false).text, "no valid output fields");
    assert_eq!(bad(Some("x,state"), true).text, "unknown output field: `x'");
    assert_eq!(bad(Some("x,state"), true).usable, None);
    let warned = bad(Some("x,state,y"), false);
    assert_eq!(warned.text, "ignoring unknown output fields: `x' `y'");
    assert_eq!(warned.usable.unwrap().heading().unwrap(), "STATE\n");
}

#[test]
fn a_long_value_pushes_the_row_and_later_padding_takes_it_back() {
    let columns = Columns::new(Mode::Groups, Some("group,state,fdt"), false).unwrap();
    let row = |group: &str| {
        [Cell::value(group), Cell::value(""), Cell::value("ok"), Cell::Unknown, Cell::value("")]
    };
    assert_eq!(columns.line(&row("ipmp0")), "ipmp0       ok        ?\n");
    assert_eq!(columns.line(&row("twelve_chars")), "twelve_chars ok       ?\n");
    assert_eq!(columns.line(&row("a_name_of_nineteen_c")), "a_name_of_nineteen_c ok ?\n");
}

#[test]
fn colons_are_escaped_only_among_several_fields() {
    let row =
        [Cell::value(r"2001:db8::1\x"), Cell::value("up"), Cell::Unknown, Cell::value(""), Cell::value("")];
    assert_eq!(parsable(Mode::Addresses, "address", &row), "2001:db8::1\\x\n");
    let wanted = "up:2001\\:db8\\:\\:1\\\\x:?:\n";
    assert_eq!(parsable(Mode::Addresses, "state,ADDRESS,group,inbound", &row), wanted);
}

#[test]
fn exactly_one_mode() {
    let mode = |line: &[&str]| mode(&IpmpstatArgs::try_parse_from(line).unwrap().stat);
    assert_eq!(mode(&["ipmpstat", "-an"]).unwrap(), Mode::Addresses);
    assert_eq!(mode(&["ipmpstat", "-Po", "state", "-g"]).unwrap(), Mode::Groups);
    assert!(matches!(mode(&["ipmpstat"]), Err(StatError::NoMode)));
    for line in [["ipmpstat", "-ag"], ["ipmpstat", "-tt"]] {
        let error = mode(&line).unwrap_err();
        assert_eq!(error.to_string(), "only one output format may be specified");
    }
}

fn probe(start_ns: u64, kernel: Option<u64>, daemon: Option<u64>) -> FinishedProbe {
    FinishedProbe {
        start_ns,
        interface: "eth0".to_owned(),
        source: "192.168.10.110".parse().unwrap(),
        target: "192.168.10.1".parse().unwrap(),
        answered: kernel.is_some(),
        rtt_kernel_ns: kernel,
        rtt_daemon_ns: daemon,
    }
}

#[test]
fn each_finished_probe_gets_one_line() {
    let status = document();
    let mut watch = Watch::new(&status);
    let show = Addresses::default();
    let columns = Columns::new(Mode::Probes, Some("all"), false).unwrap();
    let row = watch.row(&probe(status.at_ns + 1_500_000_000, Some(41_000), Some(97_000)), &show);
    let wanted = "1.50s     eth0        901    0.04ms    0.10ms    0.04ms    192.168.10.1        0.02ms\n";
    assert_eq!(columns.line(&row), wanted);
    // One lost, and two answered for the second of which the daemon was not woken; sent before the start.
    let mut line = |kernel, daemon| {
        let row = watch.row(&probe(status.at_ns - 20_000_000, kernel, daemon), &show);
        parsable(Mode::Probes, "time,probe,netrtt,rtt", &row)
    };
    assert_eq!(line(None, None), "-0.02s:902::\n");
    assert_eq!(line(Some(50_000), Some(60_000)), "-0.02s:903:0.05ms:0.06ms\n");
    assert_eq!(line(Some(50_000), None), "-0.02s:904:0.05ms:?\n");
}

proptest! {
    /// A script can take a parsable line apart again, whatever the values.
    #[test]
    fn parsable_lines_can_be_split(values in proptest::collection::vec("[a-z:\\\\]{0,8}", 5)) {
        let row: Vec<Cell> = values.iter().map(Cell::value).collect();
        let line = parsable(Mode::Groups, "group,groupname,state,fdt,interfaces", &row);
        let (mut split, mut escaped) = (vec![String::new()], false);
        for character in line.trim_end_matches('\n').chars() {
            match character {
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                ':' if !escaped => split.push(String::new()),
                other => split.last_mut().unwrap().push(other),
            }
            escaped = false;
        }
        prop_assert_eq!(split, values);
    }
}
