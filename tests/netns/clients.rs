//! Clients of the control socket that never read, flood or talk nonsense, and who may do what.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt as _},
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, address_on, healthy},
    skip,
    topology::{Lab, Shape, data},
    wait,
};
use nix::unistd::Group;
use serde_json::Value;

use crate::Bed;

/// The shortest that the issue names.
const FDT_MS: u64 = 20;
/// Failovers with and without clients.
const ROUNDS: usize = 5;
/// So many of them must meet the failure detection time; not all, for this machine has other work too.
const IN_TIME: usize = 3;
const CLIENTS: usize = 200;
/// `nobody`, and its group.
const NOBODY: u32 = 65534;

/// Clients that never read, kept up by one thread until dropped.
struct Horde {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Horde {
    /// Silent ones, followers, ones that ask without end, ones that send garbage, ones that never end a line.
    fn start(socket: PathBuf) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            let mut clients: Vec<Option<UnixStream>> = (0..CLIENTS).map(|_| None).collect();
            while !stopped.load(Ordering::Relaxed) {
                for (number, client) in clients.iter_mut().enumerate() {
                    if press(number, client, &socket).is_err() {
                        // Sent away, or dropped: it comes again.
                        *client = None;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                // A flood of some ten thousand writes a second leaves the machine something to do it with.
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { stop, sent, thread: Some(thread) }
    }

    fn wait_under_way(&self) -> Result<()> {
        let before = self.sent.load(Ordering::Relaxed);
        wait::until("each client has come three times", || {
            Ok(self.sent.load(Ordering::Relaxed) - before >= 3 * CLIENTS as u64)
        })
    }
}

impl Drop for Horde {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn press(number: usize, client: &mut Option<UnixStream>, socket: &PathBuf) -> io::Result<()> {
    let words: &[u8] = match number % 5 {
        0 => b"",
        1 => b"{\"version\":1,\"command\":\"events\",\"follow\":true}\n",
        2 => b"{\"version\":1,\"command\":\"status\"}\n",
        3 => b"\xff\xfe{]\n",
        _ => b"{\"version\":1,\"command\":",
    };
    if client.is_none() {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        *client = Some(stream);
    }
    let Some(stream) = client else { return Ok(()) };
    match stream.write(words) {
        // The daemon reads no further calls of a client that takes no answers.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result.map(drop),
    }
}

/// How long verdicts took, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// From the cut.
    from_cut: u64,
    /// From the last good reply, as the verdict itself has it: what the failure detection time is a promise about.
    from_evidence: u64,
}

/// Cuts the first path and mends it.
fn failover(bed: &Bed) -> Result<Times> {
    let cut_ns = bed.lab.cut(0)?;
    let failed = bed.daemon.wait_event("the failure", cut_ns, |event| {
        event["kind"] == "failed" && event["interface"] == "eth0"
    })?;
    // The last failback may be told later than that.
    let moved = bed.daemon.wait_event("the address moved", cut_ns, |event| {
        event["kind"] == "moved" && event["decided_ns"].as_u64() > Some(cut_ns)
    })?;
    assert_eq!(moved["interface"], "eth1", "{moved}");
    let decided_ns = failed["decided_ns"].as_u64().context("the time of the verdict")?;
    let evidence_ns = failed["evidence_ns"].as_u64().context("the time of the last reply")?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    Ok(Times { from_cut: decided_ns - cut_ns, from_evidence: decided_ns - evidence_ns })
}

fn failovers(bed: &Bed) -> Result<Vec<Times>> {
    (0..ROUNDS).map(|_| failover(bed)).collect()
}

/// The middle time from the cut, and how many verdicts came within the failure detection time.
fn judged(times: &[Times], fdt_ns: u64) -> Result<(u64, usize)> {
    let mut from_cut: Vec<u64> = times.iter().map(|times| times.from_cut).collect();
    from_cut.sort_unstable();
    let in_time = times.iter().filter(|times| times.from_evidence <= fdt_ns).count();
    Ok((from_cut.get(times.len() / 2).copied().context("a middle one")?, in_time))
}

/// Among the clients, three failovers of five meet the detection time of 20 ms, from the last good reply to the verdict, as
/// the verdicts themselves have it; where the machine is so loaded that fewer do without any client, as many as then. And
/// the middle one takes, from the cut, no longer than the detection time, or twice what it takes without clients.
#[test]
fn two_hundred_clients_that_never_read_delay_no_failover() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let fdt_ns = config.fdt_ms * 1_000_000;
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let quiet = failovers(&bed)?;
    let (quiet_ns, quiet_in_time) = judged(&quiet, fdt_ns)?;
    let horde = Horde::start(bed.daemon.files().runtime().join("ipmpd.sock"));
    horde.wait_under_way()?;
    // Among them the administrator is served: each wait of this test is a client, too.
    let pressed = failovers(&bed)?;
    drop(horde);
    let (pressed_ns, in_time) = judged(&pressed, fdt_ns)?;
    let figures = format!("{pressed:?} among {CLIENTS} clients, {quiet:?} without");
    assert!(in_time >= quiet_in_time.min(IN_TIME), "{in_time} in time: {figures}");
    assert!(pressed_ns <= (2 * quiet_ns).max(fdt_ns), "{figures}");
    let events = bed.daemon.events()?;
    let of_sibling = |event: &&Value| event["kind"] == "failed" && event["interface"] == "eth1";
    assert_eq!(events.iter().find(of_sibling), None, "nobody else was taken to have failed");
    Ok(())
}

/// `ipmp` as a user without privileges, in these groups.
fn as_nobody(daemon: &Daemon, program: &PathBuf, gid: u32, arguments: &[&str]) -> Result<Output> {
    Command::new(program)
        .arg("--runtime-dir")
        .arg(daemon.files().runtime())
        .args(arguments)
        .uid(NOBODY)
        .gid(gid)
        .output()
        .context("running ipmp")
}

#[test]
fn the_control_group_may_read_and_only_root_may_change() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let Some(group) = Group::from_gid(NOBODY.into()).context("groups")? else {
        skip::say("there is no group 65534 on this system");
        return Ok(());
    };
    let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
    let config = format!("{}\n[daemon]\ncontrol-group = {:?}\n", Config::active_active(200), group.name);
    let daemon = Daemon::start_from(&lab.host, &config, ipmp_tests::daemon::bin_dir()?)?;
    daemon.wait_for("a healthy group", healthy)?;
    // The way to the socket, and a copy of the program where another user may run it.
    let dir = daemon.files().dir.clone();
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).context("permissions")?;
    let program = dir.join("ipmp");
    let copied = Command::new("cp").arg(daemon.files().bin_dir.join("ipmp")).arg(&program).status();
    assert!(copied.context("running cp")?.success());

    let reads = as_nobody(&daemon, &program, NOBODY, &["status"])?;
    assert_eq!(reads.status.code(), Some(0), "{}", String::from_utf8_lossy(&reads.stderr));
    let changes = as_nobody(&daemon, &program, NOBODY, &["offline", "eth0"])?;
    assert_eq!(changes.status.code(), Some(77));
    let text = String::from_utf8_lossy(&changes.stderr).into_owned();
    assert!(text.contains("not permitted") && text.contains("root"), "{text}");
    let outside = as_nobody(&daemon, &program, NOBODY - 1, &["status"])?;
    assert_eq!(outside.status.code(), Some(77), "{}", String::from_utf8_lossy(&outside.stderr));
    let doctor = as_nobody(&daemon, &program, NOBODY - 1, &["--json", "doctor"])?;
    let report: Value = serde_json::from_slice(&doctor.stdout).context("a report")?;
    let told = |check: &str| {
        report["findings"].as_array().and_then(|found| found.iter().find(|found| found["check"] == check))
    };
    let refused = told("daemon-unheard").with_context(|| format!("{report:#}"))?;
    assert!(refused["fix"].as_str().is_some_and(|fix| fix.contains("as root")), "{refused:#}");
    assert_eq!(told("no-daemon"), None, "it runs");
    let status = daemon.status()?;
    let address = data(0, false).to_string();
    assert_eq!(address_on(&status, &address), Some("eth0"), "nothing was changed");
    Ok(())
}
