//! Namespaces, interfaces, snapshots, and a small builder of wanted states.

use std::{
    net::IpAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ipmp_common::engine::{
    action::PlacedAddress,
    ids::{GroupId, MemberId},
};
use ipmp_user::net::{
    apply::{Applier, Job, Outcome},
    inventory::Inventory,
    plan::{MemberLink, Wanted},
    socket::Socket,
};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tempfile::TempDir;

/// Conditions are polled until then; generous, for a loaded machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a test in a new network namespace, in a thread of its own: the namespace goes with the thread.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("SKIPPED: no network namespace can be made: {error}");
            return;
        }
        ip("link set lo up");
        test();
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip ARGUMENTS` and returns what it printed.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip(8) can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8(output.stdout).expect("ip prints text")
}

/// What `ip -j ARGUMENTS` printed.
pub(crate) fn ip_json(arguments: &str) -> Vec<Value> {
    let text = ip(&format!("-j {arguments}"));
    if text.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(&text).expect("ip -j prints JSON")
}

/// Makes veth interfaces with these names; their far ends are called `peer-NAME` and have no addresses.
pub(crate) fn interfaces(names: &[&str]) {
    for name in names {
        ip(&format!("link add {name} type veth peer name peer-{name}"));
        std::fs::write(format!("/proc/sys/net/ipv6/conf/peer-{name}/disable_ipv6"), "1").expect("sysctl");
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0").expect("sysctl");
        ip(&format!("link set peer-{name} up"));
        ip(&format!("link set {name} up"));
    }
    settled();
}

/// Polls until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until every interface has carrier and no address is tentative.
pub(crate) fn settled() {
    eventually("no tentative address", || {
        let up = |link: &Value| link["operstate"] == "UP" || link["ifname"] == "lo";
        let tentative =
            |link: &Value| link["addr_info"].as_array().into_iter().flatten().any(|a| a["tentative"] == true);
        ip_json("addr show").iter().all(|link| up(link) && !tentative(link))
    });
}

/// Addresses in kernel order and routes in kernel order. The local table, broadcast entries apart, and the link-local
/// routes are the kernel's own: their content is compared; their order, which depends on which interface came up last, is
/// not.
pub(crate) fn snapshot() -> Vec<Value> {
    let mut all = ip_json("addr show");
    for family in ["-4", "-6"] {
        let routes = ip_json(&format!("{family} -d route show table all"));
        let own = |r: &Value| (r["table"] == "local" && r["type"] != "broadcast") || r["dst"] == "fe80::/64";
        let (mut local, rest): (Vec<Value>, Vec<Value>) = routes.into_iter().partition(own);
        local.sort_by_key(ToString::to_string);
        all.extend(rest);
        all.extend(local);
    }
    all
}

/// Compares two snapshots and shows only what differs.
pub(crate) fn assert_same(before: &[Value], after: &[Value], what: &str) {
    if before == after {
        return;
    }
    let lost: Vec<String> = before.iter().filter(|v| !after.contains(v)).map(ToString::to_string).collect();
    let new: Vec<String> = after.iter().filter(|v| !before.contains(v)).map(ToString::to_string).collect();
    panic!(
        "{what}\nonly before:\n{}\nonly after:\n{}\n(none: the order differs)\n{after:#?}",
        lost.join("\n"),
        new.join("\n")
    );
}

/// A group of interfaces under test.
pub(crate) struct Group {
    names: Vec<String>,
    data: Vec<(String, usize)>,
    test: Vec<(String, usize)>,
    /// Whether outbound flows are spread.
    pub(crate) spreads: bool,
    /// Whether each placement is foreseen, as those are that failures and repairs lead to.
    pub(crate) foresees: bool,
    pub(crate) applier: Applier,
    directory: TempDir,
    epoch: u64,
}

impl Group {
    /// `data`: address and home, as in `("10.0.0.1/24", "eth0")`.
    pub(crate) fn new(names: &[&str], data: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let applier = Applier::open(directory.path()).expect("an applier");
        let index = |name: &str| names.iter().position(|n| *n == name).expect("a member");
        let data = data.iter().map(|(address, home)| ((*address).to_owned(), index(home))).collect();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, data, test: Vec::new(), spreads: false, foresees: true, applier, directory, epoch: 0 }
    }

    /// Adds test addresses.
    pub(crate) fn with_test(mut self, test: &[(&str, &str)]) -> Self {
        let index = |name: &str| self.names.iter().position(|n| n == name).expect("a member");
        self.test = test.iter().map(|(address, on)| ((*address).to_owned(), index(on))).collect();
        self
    }

    /// A daemon that ended and was started anew.
    pub(crate) fn restart(&mut self) {
        self.applier = Applier::open(self.directory.path()).expect("an applier");
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub(crate) fn ifindex(name: &str) -> u32 {
        nix::net::if_::if_nametoindex(name).expect("an interface")
    }

    /// The wanted state in which the addresses of the `failed` members are on `on`.
    pub(crate) fn wanted(&self, failed: &[&str], on: &str) -> Wanted {
        let id = |index: usize| MemberId(index as u32);
        let present = |name: &String| nix::net::if_::if_nametoindex(name.as_str()).ok();
        let member = |name: &str| id(self.names.iter().position(|n| n == name).expect("a member"));
        let links = self.names.iter().enumerate().filter_map(|(index, name)| {
            Some(MemberLink { group: GroupId(0), member: id(index), ifindex: present(name)? })
        });
        let place = |(address, home): &(String, usize)| PlacedAddress {
            address: address.parse().expect("an address"),
            home: id(*home),
            on: if failed.contains(&self.names[*home].as_str()) { member(on) } else { id(*home) },
        };
        Wanted {
            withdrawn: Vec::new(),
            outbound: if self.spreads { self.active(failed) } else { Vec::new() },
            failed: Vec::new(),
            members: links.collect(),
            data: self.data.iter().map(place).collect(),
            test: self
                .test
                .iter()
                .map(|(ip, on)| (id(*on), ip.parse::<IpAddr>().expect("an address")))
                .collect(),
            unusable: failed.iter().map(|name| member(name)).collect(),
        }
    }

    fn active(&self, failed: &[&str]) -> Vec<MemberId> {
        let names = self.names.iter().enumerate();
        names
            .filter(|(_, n)| !failed.contains(&n.as_str()))
            .map(|(index, _)| MemberId(index as u32))
            .collect()
    }

    pub(crate) fn apply(&mut self, wanted: Wanted) -> Outcome {
        self.epoch += 1;
        let mut socket = Socket::open().expect("a socket");
        let inventory = Inventory::dump(&mut socket).expect("the kernel can be read");
        let neighbours = wanted.members.iter().flat_map(|m| inventory.neighbours_on(m.ifindex)).collect();
        if self.foresees {
            self.foresee(wanted.clone());
        }
        let job = Job { group: GroupId(0), epoch: self.epoch, wanted, neighbours };
        self.applier.apply(&job)
    }

    /// Has made ready what may come next.
    pub(crate) fn foresee(&mut self, wanted: Wanted) {
        self.applier.foresee(GroupId(0), vec![wanted]);
        self.applier.make_ready(|| false);
    }

    /// Everything at home; nothing may fail.
    pub(crate) fn home(&mut self) -> Outcome {
        self.settle(self.wanted(&[], ""))
    }

    /// The addresses of `failed` on `on`; nothing may fail.
    pub(crate) fn fail(&mut self, failed: &[&str], on: &str) -> Outcome {
        self.settle(self.wanted(failed, on))
    }

    /// Applies without errors, and once more without changes.
    fn settle(&mut self, wanted: Wanted) -> Outcome {
        let outcome = self.apply(wanted.clone());
        assert_eq!(outcome.errors, [], "carrying out {wanted:?}");
        let again = self.apply(wanted);
        assert_eq!((again.changes, again.errors.len()), (0, 0), "the same wanted twice changes nothing");
        outcome
    }
}

/// Two members, the first with addresses of both families, a default route of each and one that names its source.
pub(crate) fn dual_stack_pair() -> Group {
    interfaces(&["eth0", "eth1"]);
    for line in [
        "addr add 10.0.0.10/24 brd + dev eth0",
        "addr add 10.0.0.11/24 brd + dev eth0 label eth0:1",
        "addr add 2001:db8::10/64 dev eth0",
        "route add default via 10.0.0.1 dev eth0",
        "route add 192.0.2.0/24 via 10.0.0.2 dev eth0 src 10.0.0.11",
        "-6 route add default via fe80::1 dev eth0",
    ] {
        ip(line);
    }
    settled();
    Group::new(
        &["eth0", "eth1"],
        &[("10.0.0.10/24", "eth0"), ("10.0.0.11/24", "eth0"), ("2001:db8::10/64", "eth0")],
    )
}

/// Addresses of an interface as `ip addr` lists them.
pub(crate) fn addresses(name: &str) -> Vec<String> {
    let links = ip_json(&format!("addr show dev {name}"));
    let infos = links.iter().flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default());
    infos.filter(|a| a["scope"] != "link").filter_map(|a| a["local"].as_str().map(str::to_owned)).collect()
}
