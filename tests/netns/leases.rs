//! B26: addresses that others renew, by DHCP or by router advertisements, are left alone, and that is said.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddrV6},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::Config,
    daemon::interface,
    netns::Netns,
    skip,
    topology::{data, peer_link_local},
    wait::{self, now_ns},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Bed, FDT_MS, Traffic, detach::client};

/// As the scripts of dhclient(8) and dhcpcd(8) do it: an address with the lease's lifetime. Each call is noted.
const SCRIPT: &str = r#"#!/bin/sh
echo "$1" >> "$0.log"
case $1 in
bound|renew) ip address replace "$ip/$mask" dev "$interface" valid_lft "$lease" preferred_lft "$lease" ;;
esac
"#;

/// A process of a test, ended with it.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().map(Self).with_context(|| quiet.get_program().display().to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// busybox with one of its applets in a namespace; none if that is not to be had.
fn busybox(netns: &Netns, applet: &str) -> Result<Option<Command>> {
    let Some(program) = skip::find_program("busybox") else { return Ok(None) };
    let listed = Command::new(&program).arg("--list").output().context("busybox --list")?;
    if !String::from_utf8_lossy(&listed.stdout).lines().any(|line| line == applet) {
        return Ok(None);
    }
    let mut command = netns.command(program)?;
    command.arg(applet);
    Ok(Some(command))
}

/// A server at the neighbour, which leases one address, and a client on the host's first NIC.
fn dhcp(bed: &Bed, dir: &Path) -> Result<Option<(Running, Running)>> {
    let (Some(mut server), Some(mut client)) =
        (busybox(bed.lab.peer(), "udhcpd")?, busybox(&bed.lab.host, "udhcpc")?)
    else {
        skip::say("busybox with udhcpd and udhcpc is missing: run `cargo xtask setup`");
        return Ok(None);
    };
    let (config, script) = (dir.join("udhcpd.conf"), dir.join("script"));
    let leases = dir.join("leases").display().to_string();
    fs::write(&leases, "")?;
    fs::write(
        &config,
        format!(
            "start 192.168.10.200\nend 192.168.10.200\ninterface eth0\nlease_file {leases}\npidfile {}\n\
             option subnet 255.255.255.0\noption lease 3600\n",
            dir.join("pid").display()
        ),
    )?;
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    server.arg("-f").arg(&config);
    let server = Running::start(server)?;
    client.args(["-f", "-i", "eth0", "-t", "20", "-T", "1", "-s"]).arg(&script);
    Ok(Some((server, Running::start(client)?)))
}

/// `ip -j` of an address on an interface.
fn find(bed: &Bed, nic: &str, address: &str) -> Result<Option<Value>> {
    let shown: Value = serde_json::from_str(&bed.lab.host.ip(&format!("-j address show dev {nic}"))?)?;
    let list = shown[0]["addr_info"].as_array().context("a list of addresses")?;
    Ok(list.iter().find(|entry| entry["local"].as_str().is_some_and(|ip| ip.starts_with(address))).cloned())
}

/// The first NIC's own addresses are those found on it.
fn adopting() -> Config {
    let mut config = Config::active_active(FDT_MS);
    config.members[0].data.clear();
    config
}

fn start(config: &Config) -> Result<Option<Bed>> {
    // The lab gives addresses to as many NICs as are home to some.
    let mut both = config.clone();
    both.members[0].data.clone_from(&Config::active_active(FDT_MS).members[0].data);
    let Some(bed) = Bed::start(&both)? else { return Ok(None) };
    fs::write(bed.daemon.files().config(), config.to_string())?;
    let (code, said) = client(&bed, &["reload"])?;
    anyhow::ensure!(code == Some(0), "{said}");
    bed.daemon.wait_healthy()?;
    Ok(Some(bed))
}

/// A pulled cable with `address`, which others renew, on the first NIC: it stays, what is ours moves.
fn pull(bed: &Bed, address: &str) -> Result<()> {
    let net = |status: &Value| interface(status, "eth0")["device"]["left_alone"].to_string();
    let status = bed.daemon.wait_for("status tells of it", |status| net(status).contains(address))?;
    assert!(!status["groups"][0]["addresses"].to_string().contains(address), "{status:#}");
    let (_, said) = client(bed, &["status"])?;
    assert!(said.contains("on eth0 is renewed by others"), "{said}");
    let from_ns = now_ns();
    bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    let told = bed.daemon.wait_event("it is told", from_ns, |event| event["kind"] == "left-alone")?;
    assert_eq!((&told["interface"], &told["why"]["why"]), (&"eth0".into(), &"renewed".into()), "{told:#}");
    assert!(told["address"].as_str().is_some_and(|net| net.starts_with(address)), "{told:#}");
    wait::until("what is ours has left", || Ok(find(bed, "eth0", &data(0, false).to_string())?.is_none()))?;
    assert!(find(bed, "eth0", address)?.is_some(), "{address} stays");
    assert!(find(bed, "eth1", address)?.is_none(), "{address} is not moved");
    assert_eq!(bed.count("left-alone", from_ns)?, 1);
    Ok(())
}

#[test]
fn b26_a_lease_stays_while_its_interface_fails_and_is_renewed_after_the_repair() -> Result<()> {
    let Some(bed) = start(&adopting())? else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let Some((_server, dhcp_client)) = dhcp(&bed, dir.path())? else { return Ok(()) };
    let lease = "192.168.10.200";
    wait::until("a lease", || Ok(find(&bed, "eth0", lease)?.is_some()))?;
    let traffic = Traffic::start(&bed.lab, false)?;
    pull(&bed, lease)?;
    traffic.wait_flow()?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    assert!(find(&bed, "eth0", lease)?.is_some(), "it is still there");
    kill(Pid::from_raw(dhcp_client.0.id() as i32), Signal::SIGUSR1)?;
    wait::until("the lease is renewed", || {
        Ok(fs::read_to_string(dir.path().join("script.log"))?.lines().any(|line| line == "renew"))
    })?;
    let renewed = find(&bed, "eth0", lease)?.context("it is still there")?;
    assert_eq!(renewed["valid_life_time"].as_u64().map(|left| left > 3000), Some(true), "{renewed}");
    assert_eq!(bed.count("put-back", 0)?, 0, "its routes and ours get along");
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

/// Advertises `2001:db8:77::/64` to all hosts (RFC 4861, sections 4.2 and 4.6.2).
fn advertise(router: &Netns) -> Result<()> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Prefix information: on link, autonomous, valid and preferred for an hour.
    message.extend([3, 4, 64, 0xc0]);
    message.extend([3600_u32.to_be_bytes(), 3600_u32.to_be_bytes(), [0; 4]].concat());
    message.extend("2001:db8:77::".parse::<Ipv6Addr>()?.octets());
    router.run(move || {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        let index = nix::net::if_::if_nametoindex("eth0")?;
        socket.bind(&SocketAddrV6::new(peer_link_local(0), 0, 0, index).into())?;
        socket.set_multicast_hops_v6(255)?;
        let all = SocketAddrV6::new("ff02::1".parse()?, 0, 0, index);
        socket.send_to(&message, &all.into())?;
        Ok::<_, anyhow::Error>(())
    })?
}

#[test]
fn b26_an_autoconfigured_address_stays_while_its_interface_fails() -> Result<()> {
    let Some(bed) = start(&adopting())? else { return Ok(()) };
    bed.lab.host.sysctl("net/ipv6/conf/eth0/accept_ra", "2")?;
    bed.lab.host.sysctl("net/ipv6/conf/eth0/autoconf", "1")?;
    let prefix = "2001:db8:77:";
    wait::until("an autoconfigured address", || {
        advertise(bed.lab.peer())?;
        Ok(find(&bed, "eth0", prefix)?.is_some_and(|entry| entry["tentative"].is_null()))
    })?;
    // Each interface makes one of its own.
    let own = find(&bed, "eth0", prefix)?.context("the address")?;
    let own = own["local"].as_str().context("the address")?;
    pull(&bed, own)?;
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    assert!(find(&bed, "eth0", own)?.is_some(), "it is still there");
    assert_eq!(bed.count("put-back", 0)?, 0);
    Ok(())
}
