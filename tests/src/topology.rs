//! The lab: a host with several NICs, a bridge as the switch, and neighbours.
//!
//! ```text
//!   host            switch               peer0              peer1 (optional)
//!   eth0 ───────── p0 ┐            ┌ n0 ───── eth0   ┌ n1 ───── eth0
//!   eth1 ───────── p1 ┼── br0 ─────┤                 │
//!   ...               ┘            └─────────────────┘
//! ```
//!
//! The two ends of a host's cable carry the same ifindex: with different ones the kernel takes the host's NIC for a
//! stacked device and reports every carrier change at once, where for a real NIC it reports about one a second
//! (`linkwatch_urgent_event` in `net/core/link_watch.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};

use crate::{
    fault::{self, BRIDGE, Fault},
    netns::{Netns, ip_words},
    wait,
};

/// The most NICs and neighbours a lab takes: keeps the address plan below within its gaps.
const MAX_PORTS: usize = 8;
/// The ifindex of both ends of the host's first cable.
pub const FIRST_CABLE_INDEX: usize = 101;
/// The prefix length of the lab's IPv4 network, 192.168.10.0.
pub const PREFIX4: u8 = 24;
/// The prefix length of the lab's IPv6 network, `2001:db8:10::`.
pub const PREFIX6: u8 = 64;

/// What to build.
#[derive(Clone, Debug)]
pub struct Shape {
    /// NICs of the host.
    pub members: usize,
    /// How many of these NICs, from the first, carry a data address of each family.
    pub data_members: usize,
    /// Hosts on the other side of the switch.
    pub peers: usize,
    /// Namespaces under these fixed names (`PREFIX-host`, ...), which stay when the lab is dropped.
    pub keep_as: Option<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { members: 2, data_members: 1, peers: 1, keep_as: None }
    }
}

/// A lab that stands.
#[derive(Debug)]
pub struct Lab {
    /// The host whose NICs form the group.
    pub host: Netns,
    /// The switch.
    pub switch: Netns,
    peers: Vec<Netns>,
    members: usize,
}

impl Lab {
    /// Builds the lab and waits until every link is up.
    ///
    /// # Errors
    /// When the kernel refuses a device, or a link does not come up.
    pub fn new(shape: &Shape) -> Result<Self> {
        ensure!(
            (1..=MAX_PORTS).contains(&shape.members)
                && (1..=MAX_PORTS).contains(&shape.peers)
                && shape.data_members <= shape.members,
            "a lab has 1 to {MAX_PORTS} members and peers: {shape:?}"
        );
        let netns = |role: &str| match &shape.keep_as {
            Some(prefix) => Netns::kept(&format!("{prefix}-{role}")),
            None => Netns::new(role),
        };
        let lab = Self {
            host: netns("host")?,
            switch: netns("switch")?,
            peers: (0..shape.peers).map(|n| netns(&format!("peer{n}"))).collect::<Result<_>>()?,
            members: shape.members,
        };
        lab.wire_switch()?;
        lab.wire_host(shape.data_members)?;
        for (n, peer) in lab.peers.iter().enumerate() {
            lab.wire_peer(n, peer)?;
        }
        lab.wait_links()?;
        Ok(lab)
    }

    /// The first neighbour.
    pub fn peer(&self) -> &Netns {
        &self.peers[0]
    }

    /// All neighbours.
    pub fn peers(&self) -> &[Netns] {
        &self.peers
    }

    /// Pulls the cable of the host's NIC `n`: its carrier goes. Returns the moment (`CLOCK_MONOTONIC`, nanoseconds).
    ///
    /// # Errors
    /// What the kernel complains about; likewise below.
    pub fn pull(&self, n: usize) -> Result<u64> {
        self.inject(n, Fault::PortDown)
    }

    /// Plugs the cable of the host's NIC `n` in again. Returns the moment.
    pub fn plug(&self, n: usize) -> Result<u64> {
        self.inject(n, Fault::PortUp)
    }

    /// Cuts the path behind the host's NIC `n`: its carrier stays, its frames go nowhere. Returns the moment.
    pub fn cut(&self, n: usize) -> Result<u64> {
        self.inject(n, Fault::OffBridge)
    }

    /// Mends the path behind the host's NIC `n`. Returns the moment.
    pub fn mend(&self, n: usize) -> Result<u64> {
        self.inject(n, Fault::OnBridge)
    }

    /// Cuts the path to neighbour `n`: for the host every path to it fails at the same time. Returns the moment.
    pub fn cut_peer(&self, n: usize) -> Result<u64> {
        fault::inject(&self.switch, &format!("n{n}"), Fault::OffBridge)
    }

    /// Mends the path to neighbour `n`. Returns the moment.
    pub fn mend_peer(&self, n: usize) -> Result<u64> {
        fault::inject(&self.switch, &format!("n{n}"), Fault::OnBridge)
    }

    fn inject(&self, n: usize, fault: Fault) -> Result<u64> {
        fault::inject(&self.switch, &format!("p{n}"), fault)
    }

    fn wire_switch(&self) -> Result<()> {
        // A switch has no business in IPv6: no router solicitations or reports of its own.
        for scope in ["all", "default"] {
            self.switch.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
        }
        self.switch.batch(&format!(
            "link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set {BRIDGE} up"
        ))
    }

    fn wire_host(&self, data_members: usize) -> Result<()> {
        // What systemd sets on most distributions; strict would drop replies that arrive on the other NIC.
        for scope in ["all", "default"] {
            self.host.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "2")?;
        }
        for n in 0..self.members {
            let (index, host, switch) = (FIRST_CABLE_INDEX + n, self.host.name(), self.switch.name());
            ip_words(&format!(
                "link add name eth{n} index {index} netns {host} type veth peer name p{n} index {index} netns {switch}"
            ))?;
            self.switch.batch(&format!("link set p{n} master {BRIDGE}\nlink set p{n} up"))?;
            self.host.batch(&format!("link set eth{n} up"))?;
        }
        for n in 0..data_members {
            self.host.batch(&format!(
                "address add {}/{PREFIX4} brd + dev eth{n}\naddress add {}/{PREFIX6} dev eth{n} nodad",
                data4(n),
                data6(n)
            ))?;
        }
        if data_members > 0 {
            self.host.batch(&format!(
                "route add default via {} dev eth0\nroute add default via {} dev eth0",
                peer4(0),
                peer6(0)
            ))?;
        }
        Ok(())
    }

    fn wire_peer(&self, n: usize, peer: &Netns) -> Result<()> {
        peer.sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
        ip_words(&format!(
            "link add name eth0 netns {} type veth peer name n{n} netns {}",
            peer.name(),
            self.switch.name()
        ))?;
        self.switch.batch(&format!("link set n{n} master {BRIDGE}\nlink set n{n} up"))?;
        peer.batch(&format!(
            "link set eth0 addrgenmode none\nlink set eth0 up\n\
             address add {}/{PREFIX4} brd + dev eth0\n\
             address add {}/{PREFIX6} dev eth0 nodad\naddress add {}/64 dev eth0 nodad",
            peer4(n),
            peer6(n),
            peer_link_local(n)
        ))
    }

    fn wait_links(&self) -> Result<()> {
        let ends = (0..self.members)
            .map(|n| (&self.host, format!("eth{n}")))
            .chain(self.peers.iter().map(|peer| (peer, "eth0".to_owned())));
        for (netns, device) in ends {
            wait::until(&format!("{device} up in {}", netns.name()), || link_is_up(netns, &device))?;
        }
        Ok(())
    }
}

/// Whether a device reports carrier and operational state up.
///
/// # Errors
/// When ip(8) knows no such device.
pub fn link_is_up(netns: &Netns, device: &str) -> Result<bool> {
    let text = netns.ip(&format!("-j link show dev {device}"))?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    Ok(links[0]["operstate"] == "UP")
}

/// The IPv4 data address whose home is NIC `n`.
pub fn data4(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, 10 + n as u8)
}

/// The IPv6 data address whose home is NIC `n`.
pub fn data6(n: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x10 + n as u16)
}

/// The data address of NIC `n` in the family asked for.
pub fn data(n: usize, ipv6: bool) -> IpAddr {
    if ipv6 { data6(n).into() } else { data4(n).into() }
}

/// The IPv4 test address of NIC `n`.
pub fn test4(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, 110 + n as u8)
}

/// The IPv4 address of neighbour `n`; the first is also the host's default router.
pub fn peer4(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, 1 + n as u8)
}

/// The IPv6 address of neighbour `n`; the first is also the host's default router.
pub fn peer6(n: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 1 + n as u16)
}

/// The link-local address of neighbour `n`.
pub fn peer_link_local(n: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1 + n as u16)
}
