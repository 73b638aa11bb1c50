//! `ipmp` under the names of Solaris's programs, as their scripts see it, and `ipmp import` as an administrator uses
//! it. Needs no privileges: a few lines of this file answer in the daemon's stead.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test that cannot go on fails the test"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use ipmp_tests::daemon::bin_dir;
use serde_json::json;
use tempfile::TempDir;

/// A directory with `ipmp` under its other names, and with a socket on which each call of a connection gets the
/// next of the answers, the last one again and again.
struct Stage {
    dir: TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ipmpstat", "if_mpadm"] {
            symlink(bin_dir().unwrap().join("ipmp"), dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    fn answering(answers: Vec<serde_json::Value>) -> Self {
        let stage = Self::new();
        let listener = UnixListener::bind(stage.dir.path().join("ipmpd.sock")).unwrap();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut calls = BufReader::new(stream.try_clone().unwrap()).lines();
                let last = answers.last().into_iter().cycle();
                for answer in answers.iter().chain(last) {
                    if !matches!(calls.next(), Some(Ok(_))) || writeln!(stream, "{answer}").is_err() {
                        break;
                    }
                }
            }
        });
        stage
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join(name));
        command.arg("--runtime-dir").arg(self.dir.path()).args(arguments);
        command
    }

    fn run(&self, name: &str, arguments: &[&str]) -> (i32, String, String) {
        told(&self.command(name, arguments).output().unwrap())
    }
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().expect("not killed"), text(&output.stdout), text(&output.stderr))
}

fn ipmp(arguments: &[&str]) -> (i32, String, String) {
    told(&Command::new(bin_dir().unwrap().join("ipmp")).args(arguments).output().unwrap())
}

/// `eth0` in the given state, `eth1` fine; `acked` answers from eth0's target.
fn status(state: &str, probe: &str, acked: u64) -> serde_json::Value {
    let interface = |name: &str, state: &str, acked: u64| {
        json!({"name": name, "ifindex": 4, "state": state, "active": state == "ok", "standby": false, "link": "up",
            "probe": probe, "reason": "start", "why": {"why": "start"}, "since_ns": 0, "reply_evidence": "xdp-native",
            "carrier_evidence": "netlink", "notes": [], "counters": null,
            "targets": [{"address": "192.168.10.1", "source": "192.168.10.110", "state": "active", "rtt_kernel_ns": 41_000,
                "rtt_daemon_ns": 97_000, "sent": acked, "acked": acked, "lost": 0, "unsent": 0}]})
    };
    let status = json!({"version": 1, "at_ns": acked * 1_000_000_000, "stalls": 0, "groups": [{
        "name": "ipmp0", "state": "ok", "fdt_ns": 100_000_000, "fdt_configured_ns": 100_000_000,
        "interfaces": [interface("eth0", state, acked), interface("eth1", "ok", 0)],
        "addresses": [{"address": "192.168.10.10/24", "home": "eth0", "on": "eth0"}]}]});
    json!({"version": 1, "answer": "status", "status": status})
}

#[test]
fn ipmpstat_shows_its_views_by_name() {
    let stage = Stage::answering(vec![status("ok", "ok", 1)]);
    let groups = "\
GROUP       GROUPNAME   STATE     FDT       INTERFACES
ipmp0       ipmp0       ok        0.10s     eth0 eth1
";
    assert_eq!(stage.run("ipmpstat", &["-g"]), (0, groups.to_owned(), String::new()));
    let flags = stage.run("ipmpstat", &["-i", "-P", "-o", "interface,flags,link"]);
    assert_eq!(flags, (0, "eth0:-------:up\neth1:-------:up\n".to_owned(), String::new()));
    // The same as a sub-command.
    let socket = stage.dir.path().to_str().unwrap();
    let sub = ipmp(&["--runtime-dir", socket, "stat", "-an", "-o", "address"]);
    assert_eq!(sub, (0, "ADDRESS\n192.168.10.10\n".to_owned(), String::new()));
}

#[test]
fn ipmpstat_fails_with_1_and_its_own_words() {
    let stage = Stage::answering(vec![status("ok", "disabled", 1)]);
    for (arguments, text) in [
        (&["-p"][..], "probe-based failure detection is disabled"),
        (&["-a", "-g"], "only one output format may be specified"),
        (&["-g", "-P"], "output fields must be specified in parsable mode"),
        (&["-g", "-P", "-o", "all"], "output field `all' invalid in parsable mode"),
    ] {
        let wanted = (1, String::new(), format!("ipmpstat: {text}\n"));
        assert_eq!(stage.run("ipmpstat", arguments), wanted, "{arguments:?}");
    }
    let (code, _, errors) = stage.run("ipmpstat", &["-x"]);
    assert_eq!(code, 1);
    assert!(errors.starts_with("ipmpstat: usage: "), "{errors}");
    let warned = stage.run("ipmpstat", &["-g", "-o", "state,x"]);
    let warning = "ipmpstat: warning: ignoring unknown output field: `x'\n";
    assert_eq!(warned, (0, "STATE\nok\n".to_owned(), warning.to_owned()));
    let absent = Stage::new().run("ipmpstat", &["-g"]);
    let text = "ipmpstat: cannot contact in.mpathd(1M) -- is IPMP in use?\n";
    assert_eq!(absent, (1, String::new(), text.to_owned()));
}

#[test]
fn ipmp_stat_fails_with_ipmps_codes() {
    let stage = Stage::answering(vec![status("ok", "disabled", 1)]);
    let socket = stage.dir.path().to_str().unwrap();
    let code = |arguments: &[&str]| ipmp(&[&["--runtime-dir", socket, "stat"], arguments].concat()).0;
    assert_eq!(code(&["-g"]), 0);
    assert_eq!(code(&["-p"]), 69);
    assert_eq!(code(&[]), 64);
    assert_eq!(code(&["-ag"]), 64);
    assert_eq!(code(&["-g", "-P"]), 64);
    let nobody = tempfile::tempdir().unwrap();
    assert_eq!(ipmp(&["--runtime-dir", nobody.path().to_str().unwrap(), "stat", "-g"]).0, 3);
}

#[test]
fn ipmpstat_streams_probes_until_its_reader_goes() {
    let stage = Stage::new();
    let listener = UnixListener::bind(stage.dir.path().join("ipmpd.sock")).unwrap();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut calls = BufReader::new(stream.try_clone().unwrap()).lines();
        calls.next();
        writeln!(stream, "{}", status("ok", "ok", 1)).unwrap();
        assert!(calls.next().unwrap().unwrap().contains(r#""command":"probes""#));
        let probe = |seconds: u64| {
            json!({"version": 1, "answer": "probe", "probe": {"start_ns": seconds * 1_000_000_000, "interface": "eth0",
                "source": "192.168.10.110", "target": "192.168.10.1", "answered": true, "rtt_kernel_ns": 41_000,
                "rtt_daemon_ns": 97_000}})
        };
        // The reader goes when it has seen enough.
        for seconds in 2.. {
            if writeln!(stream, "{}", probe(seconds)).is_err() {
                break;
            }
        }
    });
    let mut child = stage
        .command("ipmpstat", &["-pn", "-o", "time,interface,probe,netrtt,rtt,target"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(next(), "TIME      INTERFACE   PROBE  NETRTT    RTT       TARGET");
    assert_eq!(next(), "1.00s     eth0        2      0.04ms    0.10ms    192.168.10.1");
    assert_eq!(next(), "2.00s     eth0        3      0.04ms    0.10ms    192.168.10.1");
    drop(lines);
    let (code, _, errors) = told(&child.wait_with_output().unwrap());
    assert_eq!((code, errors.as_str()), (0, ""));
}

#[test]
fn a35_if_mpadm_takes_an_interface_offline_and_back() {
    let done = json!({"version": 1, "answer": "done", "message": "eth0: done"});
    let stage = Stage::answering(vec![status("ok", "ok", 1), done.clone()]);
    assert_eq!(stage.run("if_mpadm", &["-d", "eth0"]), (0, String::new(), String::new()));
    let not = stage.run("if_mpadm", &["-r", "eth0"]);
    assert_eq!(not, (1, String::new(), "if_mpadm: fatal: interface eth0 is not offline\n".to_owned()));
    let stage = Stage::answering(vec![status("offline", "ok", 1), done]);
    assert_eq!(stage.run("if_mpadm", &["-r", "eth0"]), (0, String::new(), String::new()));
    let already = stage.run("if_mpadm", &["-d", "eth0"]);
    assert_eq!(
        already,
        (1, String::new(), "if_mpadm: fatal: interface eth0 is already offline\n".to_owned())
    );
}

#[test]
fn a35_if_mpadm_refuses_in_solariss_words() {
    let text =
        "eth0: no other functioning interfaces are in its IPMP group: repair one first, or use --force";
    let refused = json!({"version": 1, "answer": "error", "error": {"code": "refused", "text": text}});
    let stage = Stage::answering(vec![status("ok", "ok", 1), refused]);
    for (interface, why) in [
        ("eth0", "no other functioning interfaces are in its IPMP group"),
        ("eth7", "not a physical interface or not in an IPMP group"),
    ] {
        let wanted = format!("if_mpadm: fatal: cannot offline {interface}: {why}\n");
        assert_eq!(stage.run("if_mpadm", &["-d", interface]), (1, String::new(), wanted));
    }
    let ungrouped = stage.run("if_mpadm", &["-r", "eth7"]);
    assert_eq!(ungrouped, (1, String::new(), "if_mpadm: fatal: interface eth7 is not offline\n".to_owned()));
    for arguments in [&[][..], &["-d"], &["-d", "eth0", "-r", "eth0"], &["eth0"]] {
        let (code, out, errors) = stage.run("if_mpadm", arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}");
        assert!(errors.starts_with("if_mpadm: usage: "), "{arguments:?}: {errors}");
        let told = errors.contains("\nUsage: if_mpadm [-d | -r] <interface>\n");
        assert!(told || arguments == ["-d"], "{arguments:?}: {errors}");
    }
}

#[test]
fn status_can_be_shown_as_by_ifconfig() {
    let stage = Stage::answering(vec![status("ok", "ok", 1)]);
    let (code, out, _) = ipmp(&["--runtime-dir", stage.dir.path().to_str().unwrap(), "status", "--solaris"]);
    assert_eq!(code, 0);
    let first = "ce0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4>".replace("ce0", "eth0");
    assert!(out.starts_with(&first), "{out}");
}

#[test]
fn a60_an_imported_configuration_passes_ipmpds_check() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ipmp-user/src/import/fixtures");
    let mut checked = 0;
    for entry in fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let from = path.file_name().unwrap().to_str().unwrap();
        let from = if from == "bonding" || from == "team" { from } else { "solaris" };
        let (code, toml, notes) = ipmp(&["import", "--from", from, path.to_str().unwrap()]);
        assert_eq!(code, 0, "{}: {notes}", path.display());
        assert!(notes.lines().all(|note| note.starts_with("ipmp: import: ")), "{notes}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ipmpd.toml");
        fs::write(&file, toml).unwrap();
        let check =
            Command::new(bin_dir().unwrap().join("ipmpd")).arg("--check").arg("--config").arg(&file).output();
        let (code, _, errors) = told(&check.unwrap());
        assert_eq!(code, 0, "{}: {errors}", path.display());
        checked += 1;
    }
    assert!(checked >= 13, "only {checked} fixtures");
    assert_eq!(ipmp(&["import", "/nonexistent"]).0, 65);
    assert_eq!(ipmp(&["import", "/proc/self", "--rename", "ce0"]).0, 64);
}
