//! Random set-ups and random histories: whatever happened, home looks as it did before.

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

const MEMBERS: [&str; 3] = ["eth0", "eth1", "eth2"];

/// Like `harness::interfaces`, without waiting for duplicate address detection.
fn interfaces() {
    for name in MEMBERS {
        ip(&format!("link add {name} type veth peer name peer-{name}"));
        let set = |interface: &str, setting: &str, value: &str| {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/{setting}"), value).expect("sysctl");
        };
        set(&format!("peer-{name}"), "disable_ipv6", "1");
        set(name, "accept_ra", "0");
        set(name, "accept_dad", "0");
        set(name, "dad_transmits", "0");
        ip(&format!("link set peer-{name} up"));
        ip(&format!("link set {name} up"));
    }
    let ready = |name: &&str| {
        let links = ip_json(&format!("-6 addr show dev {name}"));
        let infos = links
            .iter()
            .flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
        infos.filter(|a| a["tentative"] != true).count() == 1
    };
    eventually("link-local addresses", || MEMBERS.iter().all(ready));
}

/// Addresses of every kind on the first two members (the third is a standby), and routes of every kind.
fn set_up(random: &mut Random) -> Vec<(String, String)> {
    let mut data = Vec::new();
    for (number, member) in MEMBERS[..2].iter().enumerate() {
        for host in 0..=random.below(3) {
            let subnet = random.below(2);
            let (v4, v6) = (
                format!("10.0.{subnet}.{}/24", 10 + 10 * number as u64 + host),
                format!("2001:db8:{subnet}::{number}:{}/64", host + 1),
            );
            let label = if random.below(2) == 0 {
                String::new()
            } else {
                format!(" label {member}:{host}")
            };
            ip(&format!("addr add {v4} brd + dev {member}{label}"));
            ip(&format!(
                "addr add {v6} dev {member}{}",
                random.pick(&["", " nodad", " preferred_lft 0"])
            ));
            data.push((v4, (*member).to_owned()));
            data.push((v6, (*member).to_owned()));
        }
    }
    for _ in 0..random.below(8) {
        let member = random.pick(&MEMBERS[..2]);
        let gateway = random.below(3) + 1;
        let metric = random.pick(&["", " metric 5", " metric 50"]);
        let table = random.pick(&["", "", " table 100"]);
        let proto = random.pick(&["", " proto static", " proto bird"]);
        let onlink = "onlink";
        let line = match random.below(4) {
            0 => format!("route append default via 10.0.0.{gateway} dev {member} {onlink}"),
            1 => format!(
                "route append 172.16.{gateway}.0/24 via 10.0.1.{gateway} dev {member} {onlink} mtu 1400"
            ),
            2 => format!("-6 route append default via fe80::{gateway} dev {member}"),
            _ => format!("-6 route append 2001:db8:f{gateway}::/48 via fe80::{gateway} dev {member}"),
        };
        // The same route twice is refused; then there is one.
        let words = format!("{line}{metric}{table}{proto}");
        let _ = std::process::Command::new("ip")
            .args(words.split_whitespace())
            .output()
            .expect("ip(8) can be run");
    }
    data
}

fn history(seed: u64) {
    let mut random = Random(seed);
    interfaces();
    let data = set_up(&mut random);
    let data: Vec<(&str, &str)> = data
        .iter()
        .map(|(net, home)| (net.as_str(), home.as_str()))
        .collect();
    let before = snapshot();
    let mut group = Group::new(&MEMBERS, &data);
    assert_eq!(
        group.home().changes,
        0,
        "seed {seed}: at home nothing is to be done"
    );
    for step in 0..STEPS {
        match random.below(4) {
            0 => drop(group.home()),
            1 => drop(group.fail(&["eth0", "eth1"], "eth2")),
            _ => {
                let failed = random.pick(&MEMBERS[..2]);
                let others: Vec<&str> = MEMBERS.into_iter().filter(|name| *name != failed).collect();
                let on = random.pick(&others);
                group.fail(&[failed], on);
            }
        }
        if random.below(3) == 0 {
            group.restart();
        }
        if random.below(2) == 0 {
            group.home();
            assert_same(&before, &snapshot(), &format!("seed {seed}, step {step}"));
        }
    }
    group.home();
    assert_same(&before, &snapshot(), &format!("seed {seed}, at the end"));
}

#[test]
fn home_looks_the_same_after_any_history() {
    for seed in 0..SEEDS {
        in_namespace(move || history(seed));
    }
}
