use std::collections::VecDeque;

use clap::{CommandFactory as _, Parser as _};
use ipmp_common::engine::snapshot::GroupState;

use super::{
    args::{ClientArgs, Command, DaemonArgs, Since},
    doctor, events, exit, explain, order,
    output::{Clock, Table},
    plan, status, top,
};
use crate::{
    config,
    control::{
        fixture::{evidence, link_down, snapshot},
        status::{InterfaceStatus, Status, build},
    },
    diagnosis::{Diagnosis, Finding, LinkReport, Severity},
    journal::{Event, Names},
};

/// Ten seconds after the machine's start, which was at midnight.
const CLOCK: Clock = Clock { now_ns: 10_000_000_000, wall_ns: 86_400_000_000_000 + 10_000_000_000 };

fn document() -> Status {
    build(&snapshot(), &evidence())
}

#[test]
fn the_command_lines_are_consistent() {
    ClientArgs::command().debug_assert();
    DaemonArgs::command().debug_assert();
}

#[test]
fn the_defaults_are_the_contracts() {
    let args = DaemonArgs::try_parse_from(["ipmpd"]).unwrap();
    assert_eq!(args.config.to_str(), Some("/etc/ipmp/ipmpd.toml"));
    assert_eq!(args.runtime_dir.to_str(), Some("/run/ipmp"));
    assert_eq!(args.pin_dir.to_str(), Some("/sys/fs/bpf/ipmp"));
}

#[test]
fn json_and_the_directory_stand_before_or_behind_the_command() {
    for line in [["ipmp", "--json", "status", "g"], ["ipmp", "status", "g", "--json"]] {
        let args = ClientArgs::try_parse_from(line).unwrap();
        assert!(
            args.json
                && matches!(&args.command, Command::Status(wanted) if wanted.group.as_deref() == Some("g"))
        );
    }
}

#[test]
fn what_an_order_names_is_named_once() {
    let names = ["eth1", "eth0", "eth1"].map(str::to_owned);
    assert_eq!(order::each_once(&names), ["eth1", "eth0"]);
}

/// As `data = []` in the file; left out, it is another thing.
#[test]
fn an_interface_can_be_attached_as_home_to_no_address() {
    let data = |line: &[&str]| {
        let line = ["ipmp", "attach", "eth2", "--group", "g"].iter().chain(line);
        let Command::Attach(wanted) = ClientArgs::try_parse_from(line).unwrap().command else { panic!() };
        wanted.data.as_deref().map(order::addresses)
    };
    assert_eq!(data(&["--data", "none"]), Some(Vec::new()));
    assert_eq!(data(&["--data", "192.0.2.1/24"]), Some(vec!["192.0.2.1/24".to_owned()]));
    assert_eq!(data(&[]), None);
}

fn planned(line: &[&str]) -> Result<plan::Plan, clap::Error> {
    let line = ["ipmp", "plan"].iter().chain(line);
    ClientArgs::try_parse_from(line).map(|args| {
        let Command::Plan(wanted) = args.command else { panic!("{args:?}") };
        plan::plan(&wanted)
    })
}

#[test]
fn plan_answers_what_detection_time_may_be_used() {
    let tight = planned(&["--fdt", "100ms", "--loss", "0.5%", "--burst", "5ms"]).unwrap();
    let json = serde_json::to_value(&tight).unwrap();
    let falses = |json: &serde_json::Value| json["no_suspicion"]["false_failures_per_day"].as_f64().unwrap();
    assert!((0.1..10.0).contains(&falses(&json)), "{json}");
    let smallest = json["no_suspicion"]["smallest_fdt_ns"].as_u64().unwrap();
    assert!(smallest > 100_000_000, "{json}");
    let fdt = format!("{smallest}ns");
    let wide = planned(&["--fdt", &fdt, "--loss", "0.005", "--burst", "5ms"]).unwrap();
    assert!(falses(&serde_json::to_value(&wide).unwrap()) * 365.25 < 1.0);
    let many = planned(&["--fdt", "100ms", "--loss", "0.5%", "--burst", "5ms", "--members", "20"]).unwrap();
    let ratio = falses(&serde_json::to_value(&many).unwrap()) / falses(&json);
    assert!((9.99..10.01).contains(&ratio));
    let text = plan::text(&tight);
    assert!(text.contains("a year") && !text.contains("warning"), "{text}");
    let slow = planned(&["--fdt", "100ms", "--loss", "0.5%", "--rtt", "30ms"]).unwrap();
    let text = plan::text(&slow);
    assert!(
        text.contains("raise the detection time to 420 ms") && text.contains("take at least 210 ms"),
        "{text}"
    );
    let [slow, raised] = [slow, planned(&["--fdt", "420ms", "--loss", "0.5%", "--rtt", "30ms"]).unwrap()]
        .map(|plan| serde_json::to_value(plan).unwrap());
    assert_eq!(slow["suspicion"], raised["suspicion"], "what is foretold is the raised time's");
}

#[test]
fn plan_refuses_what_makes_no_sense() {
    for wrong in [
        ["--fdt", "1ms", "--loss", "1%"],
        ["--fdt", "1s", "--loss", "0"],
        ["--fdt", "1s", "--loss", "95%"],
        ["--fdt", "1s", "--loss", "NaN"],
    ] {
        assert!(planned(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn since_is_a_duration_or_a_stamp() {
    let since = |text: &str| match ClientArgs::try_parse_from(["ipmp", "events", "--since", text]) {
        Ok(ClientArgs { command: Command::Events(wanted), .. }) => wanted.since,
        Ok(_) | Err(_) => None,
    };
    assert_eq!(since("10m"), Some(Since::Ago(600_000_000_000)));
    assert_eq!(since("81234567890"), Some(Since::At(81_234_567_890)));
    assert_eq!(since("yesterday"), None);
}

#[test]
fn the_worst_group_decides_the_exit_code() {
    let mut document = document();
    assert_eq!(status::code(&document), exit::DEGRADED);
    document.groups[0].state = GroupState::Failed;
    assert_eq!(status::code(&document), exit::FAILED);
    document.groups[0].state = GroupState::Ok;
    assert_eq!(status::code(&document), 0);
}

#[test]
fn an_unknown_group_is_a_usage_error_that_names_the_known_ones() {
    assert_eq!(status::only(document(), Some("ipmp0")).unwrap().groups.len(), 1);
    let failure = status::only(document(), Some("ipmp1")).unwrap_err();
    assert_eq!(
        (failure.code, failure.text.as_str()),
        (exit::USAGE, "no such group: ipmp1: take one of ipmp0")
    );
}

#[test]
fn the_status_page_is_aligned() {
    let page = "\
ipmp0: degraded, failure detection time 100 ms
  INTERFACE  STATE   ROLE      LINK  PROBE  EVIDENCE         FOR  REASON
  eth0       failed  inactive  down  ok     xdp-native/poll  9s   carrier lost (poll)
  eth1       ok      active    up    ok     -/-              9s   failover from eth0
  others changed its addresses or routes, put back 3 times; see `ipmp events`
  ADDRESS           HOME  ON
  192.168.10.10/24  eth0  eth1 (away)

the daemon ran late 2 times; see `ipmp events`
";
    assert_eq!(status::text(&document(), false, &CLOCK), page);
    let verbose = status::text(&document(), true, &CLOCK);
    assert!(verbose.contains("at worst 90.0 ms to detect a failure, 160 ms to detect a repair"), "{verbose}");
    let mut withdrawn = document();
    withdrawn.groups[0].addresses[0].on = None;
    let text = status::text(&withdrawn, false, &CLOCK);
    assert!(text.contains("  192.168.10.10/24  eth0  nowhere (withdrawn)\n"), "{text}");
    withdrawn.groups[0].addresses[0].parked = true;
    let text = status::text(&withdrawn, false, &CLOCK);
    assert!(text.contains("  192.168.10.10/24  eth0  nowhere (parked)\n"), "{text}");
    assert!(
        verbose.contains(
            "  192.168.10.1  active  eth0  192.168.10.110  41.0 us  97.0 us       900   899    1     0\n"
        ),
        "{verbose}"
    );
    assert!(verbose.contains("RING FULL"), "{verbose}");
}

#[test]
fn an_event_line_tells_when_what_why_and_how_fast() {
    let mut record = link_down(3_250_000_000);
    record.decided_at = Some(ipmp_common::engine::time::Timestamp(3_250_212_000));
    let event = Event::new(&record, &Names::in_snapshot(&snapshot()));
    assert_eq!(
        events::line(&event, &CLOCK),
        "1970-01-02T00:00:03.250Z link-down     ipmp0 eth0: carrier lost (netlink) [after the evidence: decided 212 us]"
    );
}

#[test]
fn evidence_without_a_time_of_its_own_is_no_delay_of_nothing() {
    let text = |applied_at| {
        let mut record = link_down(3_250_000_000);
        (record.decided_at, record.applied_at) = (record.evidence_at, applied_at);
        let line = events::line(&Event::new(&record, &Names::in_snapshot(&snapshot())), &CLOCK);
        line.split_once(" [").expect("the times").1.to_owned()
    };
    assert_eq!(text(None), "since when is not known]");
    let applied = Some(ipmp_common::engine::time::Timestamp(3_250_512_000));
    assert_eq!(text(applied), "since when is not known; after the verdict: applied 512 us]");
}

#[test]
fn an_explanation_has_the_reason_the_rungs_and_the_history() {
    let document = document();
    let event = Event::new(&link_down(1_000_000_000), &Names::in_snapshot(&snapshot()));
    let text = explain::text("ipmp0", &document.groups[0].interfaces[0], &VecDeque::from([event]), &CLOCK);
    let start = "\
eth0 of group ipmp0 is failed since 1970-01-02T00:00:01.000Z (9s ago)
  because: carrier lost (poll)
  link down, probing ok
evidence: replies by xdp-native, carrier by poll
  not better because: fentry: refused by this kernel (EPERM)
targets:
";
    assert!(text.starts_with(start), "{text}");
    let end = "last events:\n  1970-01-02T00:00:01.000Z link-down     ipmp0 eth0: carrier lost (netlink)\n";
    assert!(text.ends_with(end), "{text}");
}

/// Whether it was the cable is the first question, so the driver's counters stand beside the reason.
#[test]
fn a42_an_explanation_has_the_links_error_counters_beside_the_reason() {
    let mut document = document();
    let interface = &mut document.groups[0].interfaces[0];
    let mut link = LinkReport::default();
    let explained = |interface: &InterfaceStatus| explain::text("ipmp0", interface, &VecDeque::new(), &CLOCK);
    interface.diagnosis = Some(Box::new(Diagnosis { link: link.clone(), findings: Vec::new() }));
    assert!(!explained(interface).contains("errors counted"), "{}", explained(interface));
    (link.counters.rx_errors, link.counters.rx_crc_errors) = (12, 12);
    interface.diagnosis = Some(Box::new(Diagnosis { link, findings: Vec::new() }));
    let beside = "  because: carrier lost (poll)\n  link down, probing ok\n  errors counted since the interface exists: 12 bad frames received, 12 CRC errors\n";
    assert!(explained(interface).contains(beside), "{}", explained(interface));
}

#[test]
fn a_state_that_was_always_so_has_no_age() {
    let mut document = document();
    document.groups[0].interfaces[0].since_ns = 0;
    let page = status::text(&document, false, &CLOCK);
    assert!(page.contains("xdp-native/poll  -    carrier lost"), "{page}");
    let text = explain::text("ipmp0", &document.groups[0].interfaces[0], &VecDeque::new(), &CLOCK);
    assert!(text.starts_with("eth0 of group ipmp0 is failed\n  because: carrier lost (poll)\n"), "{text}");
    assert!(text.ends_with("last events:\n  none\n"), "{text}");
}

#[test]
fn names_from_a_file_cannot_steer_the_terminal() {
    let mut table = Table::new(&["A"]);
    table.row(["\u{1b}[2J"]);
    assert_eq!(table.text(0), "A\n?[2J\n");
}

const REFERENCE: &str = include_str!("../../../docs/reference.md");

#[test]
fn the_reference_has_every_command_and_option() {
    let missing = |command: &clap::Command, line: &str| -> Vec<String> {
        let options = command.get_arguments().filter(|argument| !argument.is_global_set());
        let long =
            options.filter_map(clap::Arg::get_long).filter(|long| !matches!(*long, "help" | "version"));
        long.filter(|long| !line.contains(&format!("--{long}"))).map(str::to_owned).collect()
    };
    for command in ClientArgs::command().get_subcommands() {
        let name = command.get_name();
        let heading = format!("| `ipmp {name}");
        let line = REFERENCE.lines().find(|line| line.starts_with(&heading));
        let line = line.unwrap_or_else(|| panic!("no line for ipmp {name}"));
        assert_eq!(missing(command, line), [""; 0], "of ipmp {name}");
    }
    assert_eq!(missing(&DaemonArgs::command(), REFERENCE), [""; 0], "of ipmpd");
    assert!(REFERENCE.contains("`ipmp [--runtime-dir DIR] [--json] COMMAND`"));
}

#[test]
fn the_reference_has_every_key_of_the_configuration() {
    for section in ["", "[daemon]\n", "[group.g]\n", "[group.g.interface.eth0]\n"] {
        let text = format!("{section}xxxxxxxxxxxxxxxxxxxxxxxx = 1\n");
        let told = config::parse("f", text.as_bytes()).unwrap_err().to_string();
        let keys = told.split("known here: ").nth(1).unwrap_or_else(|| panic!("{told}"));
        for key in keys.lines().next().unwrap().split(", ") {
            assert!(REFERENCE.contains(&format!("`{key}`")), "{key} in {section:?}");
        }
    }
}

fn finding(severity: Severity) -> Finding {
    Finding {
        severity,
        check: "rp-filter".to_owned(),
        subject: "eth0".to_owned(),
        what: "strict\u{1b}".to_owned(),
        why: "answers are dropped".to_owned(),
        fix: "loosen it".to_owned(),
    }
}

#[test]
fn the_worst_finding_is_the_doctors_exit_code() {
    assert_eq!((doctor::code(&[]), doctor::text(&[]).as_str()), (0, "nothing gets in the way\n"));
    for (severity, code) in [(Severity::Note, 0), (Severity::Warning, 1), (Severity::Problem, 2)] {
        assert_eq!(doctor::code(&[finding(Severity::Note), finding(severity)]), code);
    }
    let text = "problem: eth0: strict?\n  why it matters: answers are dropped\n  what to do: loosen it\n";
    assert_eq!(doctor::text(&[finding(Severity::Problem)]), text);
}

#[test]
fn top_has_the_time_the_status_and_the_events() {
    let last = VecDeque::from(["something happened".to_owned()]);
    let page = top::text(&document(), &last, &CLOCK);
    assert!(page.starts_with("ipmp top, 1970-01-02T00:00:10.000Z\n\nipmp0: degraded"), "{page}");
    assert!(page.ends_with("\nlast events:\n  something happened\n"), "{page}");
}
