//! What the network stack offers, asked for by iproute2.

use ipmp_tests::netns::Netns;

use crate::{Finding, tried};

/// Tries each, and reads back where a kernel might ignore what it does not know.
pub(crate) fn try_all(netns: &Netns) -> Vec<(&'static str, Finding)> {
    vec![
        ("nexthop groups", nexthop_group(netns)),
        ("neighbours managed by the kernel (NTF_EXT_MANAGED)", managed_neighbour(netns)),
        ("netem", tried(netns, "tc", "qdisc add dev v3 root netem delay 1ms").map(drop)),
        ("VLAN", made(netns, "link add link v2 name w0 type vlan id 5")),
        ("macvlan", made(netns, "link add link v2 name w1 type macvlan mode bridge")),
        ("bond", made(netns, "link add w2 type bond mode active-backup")),
        ("bridge", made(netns, "link add w3 type bridge")),
    ]
}

fn nexthop_group(netns: &Netns) -> Finding {
    for arguments in [
        "nexthop add id 1 via 192.0.2.2 dev v2",
        "nexthop add id 2 via 192.0.2.3 dev v2",
        "nexthop add id 10 group 1/2",
        "route add 198.51.100.0/24 nhid 10",
    ] {
        tried(netns, "ip", arguments)?;
    }
    let route = tried(netns, "ip", "route show 198.51.100.0/24")?;
    if route.contains("nhid 10") { Ok(()) } else { Err(format!("the route reads back as {route}")) }
}

/// Kernels before 5.16 take the request and drop the flag.
fn managed_neighbour(netns: &Netns) -> Finding {
    tried(netns, "ip", "neigh add 192.0.2.9 dev v2 managed")?;
    let entry = tried(netns, "ip", "neigh show 192.0.2.9 dev v2")?;
    if entry.contains("managed") { Ok(()) } else { Err("the kernel takes the flag and drops it".into()) }
}

fn made(netns: &Netns, arguments: &str) -> Finding {
    tried(netns, "ip", arguments).map(drop)
}
