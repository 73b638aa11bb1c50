//! How long moving addresses takes: `cargo bench -p ipmp-tests --bench move` prints a Markdown table.
//!
//! Each figure stands beside what the kernel alone needs for the same addresses in the same run: all additions and
//! deletions as one netlink batch, without looking at the kernel's state first, without routes, announcements and make
//! before break. Ratios carry from machine to machine, times do not. Needs root for a network namespace, in which everything
//! happens.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends with its reason"
)]

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
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
    plan::{MemberLink, Op, Wanted},
    socket::{Request, Socket},
};
use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};

/// Moves there and back that are timed; fewer of those that take long.
const ROUNDS: [(usize, usize); 3] = [(1, 200), (100, 20), (1000, 7)];
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
    println!("| addresses | direction | raw batch | traffic moved | announced | all done | all done ÷ raw |");
    println!("|---|---|---|---|---|---|---|");
    for kind in [Kind::Ipv4, Kind::Ipv6, Kind::Ipv6OneGroup] {
        for (count, rounds) in ROUNDS {
            let in_namespace = move || {
                unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
                measure(kind, count, rounds);
            };
            thread::spawn(in_namespace).join().expect("measured");
        }
    }
}

/// What was measured in one direction, one entry a round.
#[derive(Default)]
struct Figures {
    raw: Vec<Duration>,
    applied: Vec<Duration>,
    announced: Vec<Duration>,
    done: Vec<Duration>,
}

fn measure(kind: Kind, count: usize, rounds: usize) {
    let nets: Vec<IpNet> = (0..count).map(|n| net(kind, n)).collect();
    let links = [interface("eth0"), interface("eth1")];
    let mut socket = Socket::open().expect("a netlink socket");
    let home: Vec<Op> =
        nets.iter().map(|net| Op::AddAddress(Address::new(links[0], *net).without_dad())).collect();
    send(&mut socket, &home);
    let (mut away, mut back) = (Figures::default(), Figures::default());
    let [raw_away, raw_back] = raw(&nets, links);
    for _ in 0..rounds {
        for (ops, figures) in [(&raw_away, &mut away), (&raw_back, &mut back)] {
            let requests: Vec<Request> = ops.iter().map(Op::request).collect();
            settle(kind);
            let start = Instant::now();
            let results = socket.batch(&requests);
            figures.raw.push(start.elapsed());
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut applier = Applier::open(directory.path()).expect("an applier");
    let mut turn = |on: MemberId| {
        let wanted = wanted(&nets, links, on);
        let job = Job { group: GroupId(0), epoch: 0, wanted, neighbours: BTreeMap::new() };
        settle(kind);
        let (start, start_ns) = (Instant::now(), monotonic_ns());
        let outcome = applier.carry_out(&job);
        let done = start.elapsed();
        applier.save();
        applier.look_ahead();
        assert_eq!(outcome.errors, []);
        let since = |at: u64| Duration::from_nanos(at.saturating_sub(start_ns));
        let announced = outcome.announced_at.map(|at| since(at.0));
        (since(outcome.applied_at.0), announced, done, outcome.moved.len())
    };
    turn(HOME);
    for _ in 0..rounds {
        for (on, figures) in [(FOSTER, &mut away), (HOME, &mut back)] {
            let (routed, announced, done, moved) = turn(on);
            assert_eq!(moved, count);
            figures.applied.push(routed);
            figures.announced.push(announced.expect("moved addresses are announced"));
            figures.done.push(done);
        }
    }
    row(kind, count, Direction::Away, &mut away);
    row(kind, count, Direction::Back, &mut back);
}

fn row(kind: Kind, count: usize, direction: Direction, figures: &mut Figures) {
    let [raw, applied, announced, done] =
        [&mut figures.raw, &mut figures.applied, &mut figures.announced, &mut figures.done]
            .map(|values| median(values));
    let family = match kind {
        Kind::Ipv4 => "IPv4",
        Kind::Ipv6 => "IPv6",
        Kind::Ipv6OneGroup => "IPv6, one group",
    };
    let way = if direction == Direction::Away { "failover" } else { "failback" };
    let micros = |value: Duration| format!("{:.0} µs", value.as_secs_f64() * 1e6);
    println!(
        "| {count} {family} | {way} | {} | {} | {} | {} | {:.2} |",
        micros(raw),
        micros(applied),
        micros(announced),
        micros(done),
        done.as_secs_f64() / raw.as_secs_f64()
    );
}

fn median(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
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

/// Waits until the kernel's work queue has installed what was added: it is no part of the next round.
fn settle(kind: Kind) {
    while kind != Kind::Ipv4 && ip("-6 addr show tentative").contains("inet6") {
        thread::yield_now();
    }
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
