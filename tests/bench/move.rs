//! How long moving addresses takes: `cargo bench -p ipmp-tests --bench move` prints a Markdown table.
//!
//! Each figure stands beside what the kernel alone needs for the same addresses in the same round: all additions and
//! deletions as one netlink batch, serialised beforehand, without looking at the kernel's state first, without routes,
//! announcements and make before break; and the same with the change of the connected route, without which no traffic
//! moves. Ratios to the former are in parentheses; they carry from machine to machine, times do not. Before each of them the
//! same is done as before a move (the kernel's state is read), and as many listen to notifications, so caches are as warm,
//! and the kernel has as much to do. As the daemon's own thread does, it runs with real-time priority where that is
//! permitted. Needs root for a network namespace, in which everything happens.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends with its reason"
)]

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{GroupId, MemberId},
};
use ipmp_user::net::{
    address::Address,
    apply::{Applier, Job},
    plan::{MemberLink, Op, Wanted, stages::AT_ONCE},
    route::Route,
    socket::{Batch, Request, Socket},
};
use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};

/// Moves there and back that are timed; fewer of those that take long.
const ROUNDS: [(usize, usize); 3] = [(1, 1000), (100, 20), (1000, 5)];
/// Between moves of many addresses with solicited-node groups of their own: as long as groups that were left are still to be
/// reported, the kernel searches them for each that is joined. Twice the unsolicited report interval of a second
/// (`mldv2_unsolicited_report_interval`), and some more.
const MLD_REST: Duration = Duration::from_secs(3);
const HOME: MemberId = MemberId(0);
const FOSTER: MemberId = MemberId(1);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ipv4,
    /// Each address has a solicited-node multicast group of its own (RFC 4291 section 2.7.1).
    Ipv6,
    /// All share one, because their last 24 bits are equal.
    Ipv6OneGroup,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Away,
    Back,
}

fn main() {
    println!("Median / 99th percentile (median ÷ median of the raw batch)");
    println!("| addresses | direction | raw batch | with the route | traffic moved | announced | all done |");
    println!("|---|---|---|---|---|---|---|");
    let in_namespace = |kind, (count, rounds), note| {
        let run = move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
            real_time();
            measure(kind, count, rounds, note);
        };
        thread::spawn(run).join().expect("measured");
    };
    for kind in [Kind::Ipv4, Kind::Ipv6, Kind::Ipv6OneGroup] {
        for size in ROUNDS {
            in_namespace(kind, size, "");
        }
    }
    let [one, ..] = ROUNDS;
    let crowd = Crowd::gather();
    for kind in [Kind::Ipv4, Kind::Ipv6] {
        in_namespace(kind, one, ", RTNL contended");
    }
    crowd.disperse();
}

/// Somebody who adds and deletes an address all the time, in a namespace of his own: the kernel has one RTNL lock for all.
struct Crowd {
    busy: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Crowd {
    fn gather() -> Self {
        let busy = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&busy);
        let run = move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
            let mut socket = Socket::open().expect("a netlink socket");
            let address = Address::new(interface("eth0"), net(Kind::Ipv4, 0));
            let ops = [Op::AddAddress(address.clone()), Op::DelAddress(address)];
            while still.load(Ordering::Relaxed) {
                send(&mut socket, &ops);
            }
        };
        Self { busy, thread: thread::spawn(run) }
    }

    fn disperse(self) {
        self.busy.store(false, Ordering::Relaxed);
        self.thread.join().expect("it only adds and deletes");
    }
}

/// What was measured in one direction, one entry a round.
#[derive(Default)]
struct Figures {
    raw: Vec<Duration>,
    routed: Vec<Duration>,
    applied: Vec<Duration>,
    announced: Vec<Duration>,
    done: Vec<Duration>,
}

fn measure(kind: Kind, count: usize, rounds: usize, note: &str) {
    let nets: Vec<IpNet> = (0..count).map(|n| net(kind, n)).collect();
    let links = [interface("eth0"), interface("eth1")];
    let mut socket = Socket::open().expect("a netlink socket");
    let home: Vec<Op> =
        nets.iter().map(|net| Op::AddAddress(Address::new(links[0], *net).without_dad())).collect();
    send(&mut socket, &home);
    let (mut away, mut back) = (Figures::default(), Figures::default());
    let [raw_away, raw_back] = raw(&nets, links);
    let [routed_away, routed_back] = routed(&raw_away, &raw_back, &connected(&nets, links), links[1]);
    // As /run, where the daemon keeps its state.
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let mut applier = Applier::open(directory.path()).expect("an applier");
    turn(&mut applier, kind, &job(&nets, links, HOME));
    for _ in 0..rounds {
        let mut time = |ops: &[Op], times: &mut Vec<Duration>| {
            let mut batch: Batch = ops.iter().map(Op::request).collect();
            settle(kind, count);
            applier.look_ahead();
            let start = Instant::now();
            let results = socket.exchange(&mut batch);
            times.push(start.elapsed());
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        };
        time(&raw_away, &mut away.raw);
        time(&raw_back, &mut back.raw);
        time(&routed_away, &mut away.routed);
        time(&routed_back, &mut back.routed);
        for (on, figures) in [(FOSTER, &mut away), (HOME, &mut back)] {
            let (times, moved) = turn(&mut applier, kind, &job(&nets, links, on));
            assert_eq!(moved, count);
            let lists = [&mut figures.applied, &mut figures.announced, &mut figures.done];
            lists.into_iter().zip(times).for_each(|(list, time)| list.push(time));
        }
    }
    for (direction, figures) in [(Direction::Away, &mut away), (Direction::Back, &mut back)] {
        row(&format!("{count} {}{note}", family(kind)), direction, figures);
    }
}

/// Carries a job out as the daemon does. Returns when traffic had moved, when that was announced, and when all was done; and
/// how many addresses moved.
fn turn(applier: &mut Applier, kind: Kind, job: &Job) -> ([Duration; 3], usize) {
    settle(kind, job.wanted.data.len());
    // What is done while nobody waits.
    applier.look_ahead();
    applier.foresee(job.group, vec![job.wanted.clone()]);
    applier.make_ready(|| false);
    let (start, start_ns) = (Instant::now(), monotonic_ns());
    let outcome = applier.carry_out(job);
    let done = start.elapsed();
    applier.save();
    assert_eq!(outcome.errors, []);
    let since = |at: u64| Duration::from_nanos(at.saturating_sub(start_ns));
    // The first one finds everything in its place.
    let announced = outcome.announced_at.map_or(Duration::ZERO, |at| since(at.0));
    assert_eq!(announced > Duration::ZERO, !outcome.moved.is_empty(), "what moves is announced");
    assert_eq!(outcome.foreseen, (1..=AT_ONCE).contains(&outcome.moved.len()), "small moves are made ready");
    ([since(outcome.applied_at.0), announced, done], outcome.moved.len())
}

/// Median and 99th percentile, and the median as a multiple of the raw batch's.
fn row(what: &str, direction: Direction, figures: &mut Figures) {
    let way = if direction == Direction::Away { "failover" } else { "failback" };
    let raw = quantile(&mut figures.raw, 50);
    let cells = [
        &mut figures.raw,
        &mut figures.routed,
        &mut figures.applied,
        &mut figures.announced,
        &mut figures.done,
    ];
    let cells = cells.map(|values| {
        let (median, worst) = (quantile(values, 50), quantile(values, 99));
        format!("{} / {} µs ({:.2})", median.as_micros(), worst.as_micros(), median.div_duration_f64(raw))
    });
    println!("| {what} | {way} | {} |", cells.join(" | "));
}

const fn family(kind: Kind) -> &'static str {
    match kind {
        Kind::Ipv4 => "IPv4",
        Kind::Ipv6 => "IPv6",
        Kind::Ipv6OneGroup => "IPv6, one group",
    }
}

fn quantile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// Addresses of one subnet.
fn net(kind: Kind, n: usize) -> IpNet {
    let text = match kind {
        Kind::Ipv4 => format!("10.1.{}.{}/16", n / 250, n % 250 + 1),
        Kind::Ipv6 => format!("2001:db8::1:{:x}/64", n + 1),
        Kind::Ipv6OneGroup => format!("2001:db8::{:x}:0:1/64", n + 1),
    };
    text.parse().expect("an address")
}

fn interface(name: &str) -> u32 {
    ip(&format!("link add {name} type veth peer name peer-{name}"));
    for side in [name.to_owned(), format!("peer-{name}")] {
        let addr_gen_mode = format!("/proc/sys/net/ipv6/conf/{side}/addr_gen_mode");
        fs::write(addr_gen_mode, "1").expect("no link-local addresses");
        ip(&format!("link set {side} up"));
    }
    nix::net::if_::if_nametoindex(name).expect("an interface")
}

/// Both directions as the kernel alone would do them.
fn raw(nets: &[IpNet], links: [u32; 2]) -> [Vec<Op>; 2] {
    let [home, foster] = links;
    let at_home = |net: &IpNet| Address::new(home, *net).without_dad();
    let away = |net: &IpNet| at_home(net).fostered(foster, "eth0", "eth1");
    let add_away = nets.iter().map(|net| Op::AddAddress(away(net)));
    let remove_home = nets.iter().rev().map(|net| Op::DelAddress(at_home(net)));
    let add_home = nets.iter().map(|net| Op::AddAddress(at_home(net)));
    let remove_away = nets.iter().rev().map(|net| Op::DelAddress(away(net)));
    [add_away.chain(remove_home).collect(), add_home.chain(remove_away).collect()]
}

/// The same with the connected route. What comes home brings it by itself.
fn routed(away: &[Op], back: &[Op], connected: &[Route], foster: u32) -> [Vec<Op>; 2] {
    let abroad = || connected.iter().map(|route| route.rerouted(|_| foster));
    let (add_away, remove_home) = away.split_at(away.len() / 2);
    let (add_home, remove_away) = back.split_at(back.len() / 2);
    let old = connected.iter().cloned().map(Op::DelRoute);
    let there = add_away.iter().cloned().chain(abroad().map(Op::AddRoute)).chain(old);
    let home_again = add_home.iter().cloned().chain(abroad().map(Op::DelRoute));
    [
        there.chain(remove_home.iter().cloned()).collect(),
        home_again.chain(remove_away.iter().cloned()).collect(),
    ]
}

/// The routes of an interface whose addresses are at home.
fn connected(nets: &[IpNet], links: [u32; 2]) -> Vec<Route> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut applier = Applier::open(directory.path()).expect("an applier");
    applier.apply(&job(nets, links, HOME));
    applier.base().all_routes().filter(|route| route.uses(links[0])).cloned().collect()
}

fn job(nets: &[IpNet], links: [u32; 2], on: MemberId) -> Job {
    Job { group: GroupId(0), epoch: 0, wanted: wanted(nets, links, on), neighbours: BTreeMap::new() }
}

fn wanted(nets: &[IpNet], links: [u32; 2], on: MemberId) -> Wanted {
    let link = |member, ifindex| MemberLink { group: GroupId(0), member, ifindex };
    Wanted {
        members: vec![link(HOME, links[0]), link(FOSTER, links[1])],
        data: nets.iter().map(|address| PlacedAddress { address: *address, home: HOME, on }).collect(),
        test: Vec::new(),
        unusable: if on == HOME { Vec::new() } else { vec![HOME] },
        ..Wanted::default()
    }
}

fn send(socket: &mut Socket, ops: &[Op]) {
    let requests: Vec<Request> = ops.iter().map(Op::request).collect();
    let results = socket.batch(&requests);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// Waits until the kernel's work queue has installed what was added, and reported what was left: it is no part of the next
/// round.
fn settle(kind: Kind, count: usize) {
    while kind != Kind::Ipv4 && ip("-6 addr show tentative").contains("inet6") {
        thread::yield_now();
    }
    if kind == Kind::Ipv6 && count >= 1000 {
        thread::sleep(MLD_REST);
    }
}

/// The priority of the daemon's thread, where it is permitted.
fn real_time() {
    let parameter = libc::sched_param { sched_priority: 10 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the structure outlives the call, which only reads it.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) };
}

fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip(8) can be run");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ip prints text")
}
