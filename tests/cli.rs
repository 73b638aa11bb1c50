//! The command lines of `ipmpd` and `ipmp` as a script sees them: exit codes, texts, pipes. Needs no privileges:
//! where a daemon is wanted, a few lines of this file answer in its stead.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test that cannot go on fails the test"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{net::UnixListener, process::CommandExt as _},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use ipmp_tests::daemon::bin_dir;
use tempfile::TempDir;

const GOOD: &str = "\
[group.ipmp0]
failure-detection-time = \"100ms\"
[group.ipmp0.interface.eth0]
data = [\"192.168.10.10/24\"]
test = [\"192.168.10.110\"]
[group.ipmp0.interface.eth1]
standby = true
";

fn program(name: &str) -> Command {
    Command::new(bin_dir().unwrap().join(name))
}

fn ipmpd(config: &str, more: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ipmpd.toml");
    fs::write(&file, config).unwrap();
    // The directory's name changes with every run; the file's does not.
    let mut command = program("ipmpd");
    command.current_dir(&dir).args(["--config", "ipmpd.toml"]).args(more);
    command.output().unwrap()
}

fn ipmp(runtime_dir: &Path, arguments: &[&str]) -> Output {
    program("ipmp").arg("--runtime-dir").arg(runtime_dir).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("not killed")
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A runtime directory in which every client is answered with `lines`, whatever it asks.
fn answering(lines: Vec<String>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("ipmpd.sock")).unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut call = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut call).unwrap();
            for line in &lines {
                // The client may have seen enough.
                if writeln!(stream, "{line}").is_err() {
                    break;
                }
            }
        }
    });
    dir
}

fn status_answer(state: &str) -> Vec<String> {
    let interface = |name: &str, state: &str| {
        serde_json::json!({"name": name, "ifindex": 4, "state": state, "active": true, "standby": false, "link": "up",
            "probe": "ok", "reason": "start", "why": {"why": "start"}, "since_ns": 0, "reply_evidence": "xdp-native",
            "carrier_evidence": "netlink", "notes": [], "counters": null, "targets": []})
    };
    let status = serde_json::json!({"version": 1, "at_ns": 1, "stalls": 0, "groups": [{
        "name": "ipmp0", "state": state, "fdt_ns": 100_000_000, "fdt_configured_ns": 100_000_000,
        "interfaces": [interface("eth0", "failed"), interface("eth1", "ok")],
        "addresses": [{"address": "192.168.10.10/24", "home": "eth0", "on": "eth1"}]}]});
    vec![serde_json::json!({"version": 1, "answer": "status", "status": status}).to_string()]
}

#[test]
fn usage_errors_exit_64() {
    for (name, arguments) in [
        ("ipmpd", &["--no-such-option"][..]),
        ("ipmpd", &["--check", "extra"]),
        ("ipmpd", &["--config"]),
        ("ipmp", &[]),
        ("ipmp", &["dance"]),
        ("ipmp", &["events", "--since", "yesterday"]),
        ("ipmp", &["offline"]),
    ] {
        let output = program(name).args(arguments).output().unwrap();
        assert_eq!(code(&output), 64, "{name} {arguments:?}: {}", err(&output));
        assert!(err(&output).starts_with("ipmp: usage: "), "{name} {arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "");
    }
    let output = ipmpd(GOOD, &["--log", "a=b=c"]);
    assert_eq!(code(&output), 64, "{}", err(&output));
}

/// As `getopt(3C)` and the program itself: the complaint, the usage, and 1.
#[test]
fn a35_if_mpadm_and_ipmpstat_tell_their_usage() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, arguments: &[&str]| {
        let link = dir.path().join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(bin_dir().unwrap().join("ipmp"), &link).unwrap();
        }
        Command::new(link).args(arguments).output().unwrap()
    };
    for arguments in
        [&[][..], &["-d"], &["-r"], &["-x"], &["-d", "eth0", "-r", "eth0"], &["-d", "eth0", "eth1"]]
    {
        let output = run("if_mpadm", arguments);
        let usage = "Usage: if_mpadm [-d | -r] <interface>\n";
        assert_eq!(code(&output), 1, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(usage), "{arguments:?}: {}", err(&output));
    }
    let output = run("ipmpstat", &["-n"]);
    assert_eq!(code(&output), 1);
    assert_eq!(err(&output), "usage: ipmpstat [-n] [-o <field> [-P]] -a|-g|-i|-p|-t\n");
    for (arguments, wanted) in [
        (&["-a", "-g"][..], "ipmpstat: only one output format may be specified\n"),
        (&["-a", "-P"], "ipmpstat: output fields must be specified in parsable mode\n"),
        (&["-a", "-P", "-o", "all"], "ipmpstat: output field `all' invalid in parsable mode\n"),
        (&["-a", "-P", "-o", "address,colour"], "ipmpstat: unknown output field: `colour'\n"),
        (&["-a", "-o", "colour"], "ipmpstat: no valid output fields\n"),
        (
            &["-i", "--runtime-dir", "/nonexistent"],
            "ipmpstat: cannot contact in.mpathd(1M) -- is IPMP in use?\n",
        ),
    ] {
        let output = run("ipmpstat", arguments);
        assert_eq!((code(&output), err(&output)), (1, wanted), "{arguments:?}");
    }
}

#[test]
fn help_goes_to_standard_output_and_exits_0() {
    let help = program("ipmpd").arg("--help").output().unwrap();
    assert_eq!(code(&help), 0);
    for wanted in
        ["--config", "--check", "--runtime-dir", "--pin-dir", "--log", "/etc/ipmp/ipmpd.toml", "SIGHUP"]
    {
        assert!(out(&help).contains(wanted), "{wanted}: {}", out(&help));
    }
    let help = program("ipmp").arg("--help").output().unwrap();
    assert_eq!(code(&help), 0);
    for wanted in ["status", "events", "explain", "offline", "online", "--json", "/run/ipmp"] {
        assert!(out(&help).contains(wanted), "{wanted}: {}", out(&help));
    }
}

#[test]
fn a_good_configuration_is_shown_as_understood() {
    let output = ipmpd(GOOD, &["--check"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let wanted = "\
group ipmp0: failure detection time 100 ms, failback yes, on group failure keep, quiet period 40.0 s, suspicion on, outbound spreading on, targets discovered
  eth0: data 192.168.10.10/24; test 192.168.10.110
  eth1: data those found on it; test none, standby
";
    assert!(out(&output).starts_with(wanted), "{}", out(&output));
}

#[test]
fn a_bad_configuration_exits_65_and_names_every_place() {
    let bad = GOOD.replace("standby = true", "standbye = true").replace("\"100ms\"", "100");
    for arguments in [&["--check"][..], &[]] {
        let output = ipmpd(&bad, arguments);
        assert_eq!(code(&output), 65, "{}", err(&output));
        let lines: Vec<&str> = err(&output).lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("ipmp: invalid configuration: ipmpd.toml:2:26: "), "{lines:?}");
        assert_eq!(
            lines[1],
            "ipmp: invalid configuration: ipmpd.toml:7:1: unknown key \"standbye\" in [group.ipmp0.interface.eth1]; did you mean \"standby\"?"
        );
    }
    let output = program("ipmpd").args(["--config", "/nonexistent/ipmpd.toml"]).output().unwrap();
    assert_eq!(code(&output), 65);
    assert!(err(&output).contains("/nonexistent/ipmpd.toml"), "{}", err(&output));
}

#[test]
fn a_control_group_that_does_not_exist_is_refused_before_the_start() {
    let output = ipmpd(&format!("{GOOD}\n[daemon]\ncontrol-group = \"no-such-group\"\n"), &["--check"]);
    assert_eq!(code(&output), 65, "{}", err(&output));
    assert!(err(&output).contains("there is no such group on this system"), "{}", err(&output));
}

#[test]
fn without_privileges_the_missing_capabilities_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ipmpd.toml");
    fs::write(&file, GOOD).unwrap();
    let mut command = program("ipmpd");
    command.arg("--config").arg(&file).arg("--runtime-dir").arg(dir.path());
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            drop_capabilities();
            Ok(())
        })
    };
    let output = command.output().unwrap();
    assert_eq!(code(&output), 77, "{}", err(&output));
    for capability in ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"] {
        assert!(err(&output).contains(capability), "{}", err(&output));
    }
    assert!(!dir.path().join("ipmpd.sock").exists(), "nothing was begun");
}

/// The last capability's number is below 64 (capabilities(7)); the kernel refuses those it does not know.
fn drop_capabilities() {
    for capability in 0..64 {
        // SAFETY: prctl(PR_CAPBSET_DROP) takes plain numbers. It needs CAP_SETPCAP, without which there is
        // nothing to drop either.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: plain numbers; root's exec gains no capabilities then (SECBIT_NOROOT).
    unsafe { libc::prctl(libc::PR_SET_SECUREBITS, 1, 0, 0, 0) };
}

#[test]
fn without_a_daemon_the_client_exits_3() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["events"],
        &["explain", "eth0"],
        &["offline", "eth0"],
        &["online", "eth0"],
    ] {
        let output = ipmp(dir.path(), arguments);
        assert_eq!(code(&output), 3, "{arguments:?}: {}", err(&output));
        assert!(err(&output).starts_with("ipmp: no daemon: "), "{}", err(&output));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn the_exit_code_of_status_is_the_groups_state() {
    for (state, wanted) in [("ok", 0), ("degraded", 1), ("failed", 2)] {
        let dir = answering(status_answer(state));
        let output = ipmp(dir.path(), &["status"]);
        assert_eq!(code(&output), wanted, "{}", err(&output));
        assert!(out(&output).contains("eth1 (away)"), "{}", out(&output));
        let output = ipmp(dir.path(), &["status", "--json"]);
        assert_eq!(code(&output), wanted, "{}", err(&output));
        let document: serde_json::Value = serde_json::from_str(out(&output)).unwrap();
        assert_eq!(document["groups"][0]["state"], state);
        assert_eq!(document["version"], 1);
        assert_eq!(code(&ipmp(dir.path(), &["status", "other"])), 64);
    }
}

#[test]
fn an_answer_that_breaks_off_exits_74() {
    let output = ipmp(answering(Vec::new()).path(), &["status"]);
    assert_eq!(code(&output), 74, "{}", err(&output));
    let output = ipmp(answering(vec!["{\"version\":1,\"ans".to_owned()]).path(), &["status"]);
    assert_eq!(code(&output), 74, "{}", err(&output));
}

#[test]
fn refusals_have_their_exit_codes() {
    for (refusal, wanted) in
        [("refused", 69), ("not-supported", 69), ("busy", 69), ("not-permitted", 77), ("not-found", 64)]
    {
        let line = format!(
            r#"{{"version":1,"answer":"error","error":{{"code":"{refusal}","text":"what: where: do"}}}}"#
        );
        let output = ipmp(answering(vec![line]).path(), &["offline", "eth0"]);
        assert_eq!((code(&output), err(&output)), (wanted, "ipmp: what: where: do\n"));
    }
}

#[test]
fn a_reader_that_goes_away_ends_events_quietly() {
    let event = r#"{"version":1,"answer":"event","event":{"t_ns":1,"kind":"link-down","group":"ipmp0","interface":"eth0","reason":"carrier lost (poll)","why":{"why":"link-down","source":"poll","downs":1}}}"#;
    // More than any pipe holds.
    let dir = answering(vec![event.to_owned(); 50_000]);
    for arguments in [&["events"][..], &["events", "--json"], &["events", "--follow"]] {
        let mut child = program("ipmp")
            .arg("--runtime-dir")
            .arg(dir.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("carrier lost (poll)"), "{first}");
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_follower_whose_reader_goes_away_ends_although_nothing_happens() {
    let event = r#"{"version":1,"answer":"event","event":{"t_ns":1,"kind":"link-down","group":"ipmp0","interface":"eth0","reason":"carrier lost (poll)","why":{"why":"link-down","source":"poll","downs":1}}}"#;
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("ipmpd.sock")).unwrap();
    let mut child = program("ipmp")
        .arg("--runtime-dir")
        .arg(dir.path())
        .args(["events", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Held open to the end: the daemon has nothing more to say.
    let (mut stream, _) = listener.accept().unwrap();
    writeln!(stream, "{event}").unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("carrier lost (poll)"), "{first}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
