//! Random set-ups and random histories: whatever happened, home looks as it did before.

use serde_json::Value;

use crate::harness::{Group, assert_same, eventually, in_namespace, ip, ip_json, snapshot};

/// Set-ups tried; each takes a namespace and about a second.
const SEEDS: u64 = 12;
/// Placements in one history.
const STEPS: u64 = 6;

/// splitmix64 (Steele, Lea, Flood 2014): enough to choose set-ups, and a seed says all.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.below(among.len() as u64) as usize]
    }
}

/// At least two of them make a group.
const MEMBERS: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];

/// Like `harness::interfaces`, without waiting for duplicate address detection.
fn interfaces(members: &[&str], promote: &str) {
    for name in members {
        ip(&format!("link add {name} type veth peer name peer-{name}"));
        let set = |interface: &str, setting: &str, value: &str| {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/{setting}"), value).expect("sysctl");
        };
        set(&format!("peer-{name}"), "disable_ipv6", "1");
        set(name, "accept_ra", "0");
        set(name, "accept_dad", "0");
        set(name, "dad_transmits", "0");
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/promote_secondaries"), promote)
            .expect("sysctl");
        ip(&format!("link set peer-{name} up"));
        ip(&format!("link set {name} up"));
    }
    let ready = |name: &&str| {
        let links = ip_json(&format!("-6 addr show dev {name}"));
        let infos = links.iter().flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
        infos.filter(|a| a["tentative"] != true).count() == 1
    };
    eventually("link-local addresses", || members.iter().all(ready));
}

/// Addresses of every kind on the first two members (others are standbys), routes of every kind, rules, and nexthop objects.
fn set_up(random: &mut Random) -> Vec<(String, String)> {
    let mut data = Vec::new();
    for (number, member) in MEMBERS[..2].iter().enumerate() {
        for host in 0..=random.below(3) {
            let subnet = random.below(2);
            let (v4, v6) = (
                format!("10.0.{subnet}.{}/24", 10 + 10 * number as u64 + host),
                format!("2001:db8:{subnet}::{number}:{}/64", host + 1),
            );
            let label = if random.below(2) == 0 { String::new() } else { format!(" label {member}:{host}") };
            let life = random.pick(&["", "", " preferred_lft 0"]);
            ip(&format!("addr add {v4} brd + dev {member}{label}{life}"));
            ip(&format!("addr add {v6} dev {member}{}", random.pick(&["", " nodad", " preferred_lft 0"])));
            data.push((v4, (*member).to_owned()));
            data.push((v6, (*member).to_owned()));
        }
    }
    // The kernel installs the local routes of IPv6 addresses from a work queue.
    eventually("local routes", || {
        let local = ip_json("-6 route show table local");
        data.iter().filter(|(net, _)| net.contains(':')).all(|(net, _)| {
            let address = net.parse::<ipnet::IpNet>().expect("an address").addr().to_string();
            local.iter().any(|route| route["dst"] == address)
        })
    });
    for number in 0..random.below(4) {
        add_nexthop(random, number + 1);
    }
    for number in 0..random.below(3) {
        ip(&format!("rule add from 10.0.{number}.0/24 table 100 priority {}", 1000 + number));
        ip(&format!("-6 rule add from 2001:db8:{number}::/64 table 100 priority {}", 1000 + number));
        let member = random.pick(&MEMBERS[..2]);
        ip(&format!("rule add iif {member} table 100 priority {}", 1010 + number));
    }
    for _ in 0..random.below(10) {
        add_route(random, &data);
    }
    data
}

/// A nexthop object with a route by it, and now and then a group of two with another.
fn add_nexthop(random: &mut Random, number: u64) {
    let member = random.pick(&MEMBERS[..2]);
    let gateway = random.below(3) + 1;
    if random.below(3) == 0 {
        ip(&format!("nexthop add id {number} via fe80::{gateway} dev {member}"));
        ip(&format!("-6 route add 2001:db8:{}::/48 nhid {number}", 0xa0 + number));
    } else {
        ip(&format!("nexthop add id {number} via 10.0.0.{gateway} dev {member} onlink"));
        ip(&format!("route add 203.0.113.{number} nhid {number}"));
        if random.below(2) == 0 {
            ip(&format!("nexthop add id {} group {number},2", 10 + number));
            ip(&format!("route add 203.0.113.{}/32 nhid {}", 10 + number, 10 + number));
        }
    }
}

fn add_route(random: &mut Random, data: &[(String, String)]) {
    let member = random.pick(&MEMBERS[..2]);
    let gateway = random.below(3) + 1;
    let weight = random.below(3) + 1;
    let metric = random.pick(&["", " metric 5", " metric 50"]);
    let table = random.pick(&["", "", " table 100"]);
    let proto = random.pick(&["", " proto static", " proto bird"]);
    let limits = random.pick(&["", " mtu 1400", " advmss 1300", " mtu lock 1300 hoplimit 9"]);
    let sourced = random.pick(&MEMBERS[..2]);
    let source = |v6: bool, of: &str| {
        let first = data.iter().find(|(net, home)| home == of && net.contains(':') == v6);
        first.and_then(|(net, _)| net.split('/').next()).expect("each has one").to_owned()
    };
    let options = format!("{metric}{table}{proto}{limits}");
    let onlink = "onlink";
    let line = match random.below(8) {
        0 => format!("route append default via 10.0.0.{gateway} dev {member} {onlink}{options}"),
        1 => {
            format!("route append 172.16.{gateway}.0/24 via 10.0.1.{gateway} dev {member} {onlink}{options}")
        }
        2 => format!("-6 route append default via fe80::{gateway} dev {member}{options}"),
        3 => format!("-6 route append 2001:db8:f{gateway}::/48 via fe80::{gateway} dev {member}{options}"),
        4 => format!(
            "route append 172.17.0.0/16{options} nexthop via 10.0.0.{gateway} dev eth0 weight {weight} {onlink} \
             nexthop via 10.0.1.{gateway} dev eth1 {onlink}"
        ),
        5 => format!(
            "-6 route append 2001:db8:e{gateway}::/48{options} nexthop via fe80::{gateway} dev eth0 \
             nexthop via fe80::{weight} dev eth1"
        ),
        6 => format!(
            "route append 192.0.2.0/24 via 10.0.0.{gateway} dev {member} {onlink} src {}{options}",
            source(false, sourced)
        ),
        // Of the parts of a multipath route the kernel shows the first one's source only, so each member has a prefix of its own.
        _ => format!(
            "-6 route append 2001:db8:d{}::/48 via fe80::{gateway} dev {member} src {}{options}",
            member.trim_start_matches("eth"),
            source(true, member)
        ),
    };
    // The same route twice is refused; then there is one.
    let _ =
        std::process::Command::new("ip").args(line.split_whitespace()).output().expect("ip(8) can be run");
}

/// The snapshot with rules and nexthop objects, without what spreads outbound flows.
fn others() -> Vec<Value> {
    let mut all = everything();
    all.retain(|entry| entry["protocol"] != "73");
    all
}

/// The snapshot with rules and nexthop objects.
fn everything() -> Vec<Value> {
    let mut all = snapshot();
    for what in ["rule show", "-6 rule show", "nexthop show"] {
        all.extend(ip_json(what));
    }
    all
}

fn history(seed: u64) {
    let mut random = Random(seed);
    let members = &MEMBERS[..2 + random.below(3) as usize];
    // The daemon sets it where it may; without it the kernel deletes secondary addresses with their primary one.
    interfaces(members, random.pick(&["0", "1"]));
    let data = set_up(&mut random);
    let data: Vec<(&str, &str)> = data.iter().map(|(net, home)| (net.as_str(), home.as_str())).collect();
    let before = everything();
    let mut group = Group::new(members, &data);
    group.spreads = random.below(2) == 0;
    let changes = group.home().changes;
    assert_same(&before, &others(), &format!("seed {seed}, at the start"));
    assert_eq!(changes, 0, "seed {seed}: at home nothing is to be done");
    for step in 0..STEPS {
        group.foresees = random.below(2) == 0;
        match random.below(4) {
            0 => drop(group.home()),
            1 if members.len() > 2 => {
                let on = random.pick(&members[2..]);
                group.fail(&["eth0", "eth1"], on);
            }
            _ => {
                let failed = random.pick(&members[..2]);
                let others: Vec<&str> = members.iter().copied().filter(|name| *name != failed).collect();
                let on = random.pick(&others);
                group.fail(&[failed], on);
            }
        }
        if random.below(3) == 0 {
            group.restart();
        }
        if random.below(2) == 0 {
            group.home();
            assert_same(&before, &others(), &format!("seed {seed}, step {step}"));
        }
    }
    group.spreads = false;
    group.home();
    assert_same(&before, &everything(), &format!("seed {seed}, at the end"));
}

#[test]
fn home_looks_the_same_after_any_history() {
    for seed in 0..SEEDS {
        in_namespace(move || history(seed));
    }
}
