//! Members that are no plain NICs: what is built upon them, and what they are a part of.

use anyhow::{Result, ensure};
use ipmp_tests::{
    config::Config,
    daemon::{Daemon, interface},
    skip,
    topology::{Lab, PREFIX4, PREFIX6, Shape, data, data4, data6, link_is_up, peer_link_local, peer4, peer6},
    wait,
};

use crate::{Bed, FDT_MS, Traffic};

/// How to make a member upon a NIC of the host: scripts of ip(8), where `N` is its number.
struct Kind {
    name: &'static str,
    host: &'static str,
    /// What the neighbour's addresses are on: by `vlan`, a device that tags as the members do.
    tagged: bool,
}

const VLAN: Kind = Kind { name: "VLAN", host: "link add link ethN name vN type vlan id 5", tagged: true };
const MACVLAN: Kind =
    Kind { name: "macvlan", host: "link add link ethN name vN type macvlan mode bridge", tagged: false };
const BOND: Kind = Kind {
    name: "bonding",
    host: "link add vN type bond mode active-backup miimon 50\nlink set ethN down\nlink set ethN master vN",
    tagged: false,
};

/// A lab whose members `v0` and `v1` are of a kind; `None` where the kernel has no such devices, which has been said.
fn bed(kind: &Kind) -> Result<Option<Bed>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let lab = Lab::new(&Shape { data_members: 0, ..Shape::default() })?;
    for n in 0..2 {
        if let Err(error) = lab.host.batch(&kind.host.replace('N', &n.to_string())) {
            skip::say(&format!("this kernel has no {}: {error:#}", kind.name));
            return Ok(None);
        }
        lab.host.batch(&format!(
            "link set v{n} up\naddress add {}/{PREFIX4} brd + dev v{n}\naddress add {}/{PREFIX6} dev v{n} nodad",
            data4(n),
            data6(n)
        ))?;
    }
    if kind.tagged {
        lab.peer().batch(&format!(
            "address flush dev eth0\nlink add link eth0 name v type vlan id 5\nlink set v addrgenmode none\n\
             link set v up\naddress add {}/{PREFIX4} brd + dev v\naddress add {}/{PREFIX6} dev v nodad\n\
             address add {}/64 dev v nodad",
            peer4(0),
            peer6(0),
            peer_link_local(0)
        ))?;
    }
    for n in 0..2 {
        wait::until(&format!("v{n} up"), || link_is_up(&lab.host, &format!("v{n}")))?;
    }
    let mut config = Config::active_active(FDT_MS);
    for (n, member) in config.members.iter_mut().enumerate() {
        member.name = format!("v{n}");
    }
    let daemon = Daemon::start(&lab.host, &config)?;
    Ok(Some(Bed { daemon, lab }))
}

/// Probed, failed over by a cut path and by a lost carrier, and failed back.
fn serves_as_a_member(kind: &Kind) -> Result<()> {
    let Some(bed) = bed(kind)? else {
        return Ok(());
    };
    let status = bed.daemon.wait_healthy()?;
    let shown = interface(&status, "v0");
    eprintln!(
        "{}: replies by {}, carrier by {}; {}",
        kind.name, shown["reply_evidence"], shown["carrier_evidence"], shown["notes"]
    );
    let traffic = Traffic::start(&bed.lab, false)?;
    let address = data(0, false).to_string();

    bed.lab.cut(0)?;
    bed.wait_address_on(&address, "v1")?;
    traffic.wait_flow()?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;

    let pulled_ns = bed.lab.pull(0)?;
    bed.wait_address_on(&address, "v1")?;
    traffic.wait_flow()?;
    let failed = bed
        .daemon
        .wait_event("v0 fails", pulled_ns, |event| event["kind"] == "failed" && event["interface"] == "v0")?;
    ensure!(failed.to_string().contains("carrier"), "{}: not by its carrier: {failed}", kind.name);
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn a_vlan_serves_as_a_member() -> Result<()> {
    serves_as_a_member(&VLAN)
}

#[test]
fn a_macvlan_serves_as_a_member() -> Result<()> {
    serves_as_a_member(&MACVLAN)
}

#[test]
fn a_bond_serves_as_a_member() -> Result<()> {
    serves_as_a_member(&BOND)
}

/// Its frames go to the bridge: an address on it hears nothing. It is refused, and taken once it is no port any more.
#[test]
fn a_bridge_port_is_refused_with_a_reason() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
    lab.host.batch("link add b0 type bridge\nlink set b0 up\nlink set eth1 master b0")?;
    let daemon = Daemon::start(&lab.host, &Config::active_active(FDT_MS))?;
    daemon.wait_for("eth0 works and eth1 does not serve", |status| {
        interface(status, "eth0")["state"] == "ok" && interface(status, "eth1")["state"] == "absent"
    })?;
    let log = daemon.log_tail();
    ensure!(log.contains("a port of b0 (bridge)"), "{log}");
    let shown = daemon.status()?;
    let reason = &interface(&shown, "eth1")["reason"];
    ensure!(reason == "it is a port of b0 (bridge), which takes its frames", "{reason}");
    for words in [&["offline", "eth1"][..], &["detach", "eth1"], &["attach", "eth1"]] {
        let output = daemon.client(words)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(69) && said.contains("it is a port of b0"), "{words:?}: {said}");
    }
    lab.host.batch("link set eth1 nomaster")?;
    daemon.wait_healthy().map(drop)
}
