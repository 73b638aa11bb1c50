//! A host with two of the machine's NICs, and a neighbour with the third, all on one segment.

use std::{cell::RefCell, fs};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::Daemon,
    netns::{Netns, ip_words},
    topology::{PREFIX4, PREFIX6, data4, data6, link_is_up, peer_link_local, peer4, peer6},
    wait,
};

use crate::monitor::Monitor;

/// `nicN NAME ADDRESS` a line: QEMU's name of each NIC, and the guest's at start-up.
const NICS: &str = "/run/ipmp-vm/nics";
/// Two members and a neighbour's.
const NEEDED: usize = 3;

pub(crate) struct Rig {
    /// The driver of all of them.
    pub(crate) driver: String,
    /// Where the first ones are, by the machine's own sysfs; no other network namespace shows it.
    pub(crate) functions: [String; 2],
    pub(crate) host: Netns,
    pub(crate) peer: Netns,
    monitor: RefCell<Monitor>,
}

impl Rig {
    /// `None` where there are no such NICs.
    pub(crate) fn new() -> Result<Option<Self>> {
        let Some(monitor) = Monitor::open()? else {
            return Ok(None);
        };
        let nics = fs::read_to_string(NICS).context(NICS)?;
        let addresses: Vec<&str> = nics.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
        ensure!(addresses.len() >= NEEDED, "{NEEDED} NICs are needed: give --nic as often: {addresses:?}");
        let names = names(&addresses)?;
        let driver = fs::read_link(format!("/sys/class/net/{}/device/driver", names[0]))
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .context("the driver's name")?;
        let rig = Self {
            driver,
            functions: [pci_function(&names[0])?, pci_function(&names[1])?],
            host: Netns::new("host")?,
            peer: Netns::new("peer")?,
            monitor: RefCell::new(monitor),
        };
        rig.wire(&names)?;
        Ok(Some(rig))
    }

    fn wire(&self, names: &[String]) -> Result<()> {
        for scope in ["all", "default"] {
            self.host.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "2")?;
        }
        self.peer.sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
        let places = [(&self.host, "eth0"), (&self.host, "eth1"), (&self.peer, "eth0")];
        for (name, (place, new)) in names.iter().zip(places) {
            ip_words(&format!("link set {name} netns {}", place.name()))?;
            if name != new {
                place.ip(&format!("link set {name} name {new}"))?;
            }
            place.ip(&format!("link set {new} up"))?;
        }
        for n in 0..2 {
            self.host.batch(&format!(
                "address add {}/{PREFIX4} brd + dev eth{n}\naddress add {}/{PREFIX6} dev eth{n} nodad",
                data4(n),
                data6(n)
            ))?;
        }
        self.peer.batch(&format!(
            "address add {}/{PREFIX4} brd + dev eth0\naddress add {}/{PREFIX6} dev eth0 nodad\n\
             address add {}/64 dev eth0 nodad",
            peer4(0),
            peer6(0),
            peer_link_local(0)
        ))?;
        for (place, name) in places {
            wait::until(&format!("{name} up in {}", place.name()), || link_is_up(place, name))?;
        }
        Ok(())
    }

    pub(crate) fn start_daemon(&self, fdt_ms: u64) -> Result<Daemon> {
        Daemon::start(&self.host, &Self::config(fdt_ms))
    }

    pub(crate) fn config(fdt_ms: u64) -> Config {
        // A driver that looks at its link every two seconds is slower than probes on suspicion.
        Config { fdt_ms, ..Config::active_active(fdt_ms) }.with("suspicion", "false")
    }

    /// How often the carrier of the members has changed, as the kernel counts it.
    pub(crate) fn carrier_changes(&self) -> Result<u64> {
        let shown = self.host.ip("-s -s -j link show")?;
        let links: serde_json::Value = serde_json::from_str(&shown)?;
        let links = links.as_array().context("a list of links")?;
        let members =
            links.iter().filter(|link| link["ifname"].as_str().is_some_and(|n| n.starts_with("eth")));
        let changes = |link: &serde_json::Value| link["stats64"]["tx"]["carrier_changes"].as_u64();
        members.map(|link| changes(link).with_context(|| format!("no carrier_changes in {link}"))).sum()
    }

    pub(crate) fn pull(&self, member: usize) -> Result<u64> {
        self.monitor.borrow_mut().set_link(&format!("nic{member}"), false)
    }

    pub(crate) fn plug(&self, member: usize) -> Result<u64> {
        self.monitor.borrow_mut().set_link(&format!("nic{member}"), true)
    }
}

/// `0000:00:10.0`, for a NIC of the machine's first network namespace.
fn pci_function(name: &str) -> Result<String> {
    let device = fs::canonicalize(format!("/sys/class/net/{name}/device")).context("the NIC's device")?;
    let mut parts = device.iter().rev().filter_map(|part| part.to_str());
    let function = parts.find(|part| part.len() == 12 && part.contains('.') && part.contains(':'));
    function.map(str::to_owned).with_context(|| format!("no PCI function in {}", device.display()))
}

/// What NICs are called. A namespace that ends gives its NICs back, in its own time and perhaps under other names.
fn names(addresses: &[&str]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    wait::until("the machine's NICs", || {
        let links: serde_json::Value = serde_json::from_str(&ip_words("-j link show")?)?;
        let links = links.as_array().context("a list of links")?;
        let name = |address: &&str| {
            let link = links.iter().find(|link| link["address"] == **address)?;
            link["ifname"].as_str().map(str::to_owned)
        };
        names = addresses.iter().filter_map(name).collect();
        Ok(names.len() == addresses.len())
    })?;
    Ok(names)
}
