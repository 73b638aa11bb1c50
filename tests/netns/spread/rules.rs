//! Which packets are not spread: those of sockets that have chosen their NIC, forwarded ones, multicast, and whatever a route
//! or rule of somebody else's says more precisely.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    call_fault::{self, CallFault, CallFaults, Failing},
    config::Config,
    daemon::Daemon,
    flows::Flows,
    netns::{Netns, ip_words},
    skip,
    topology::{data4, data6, peer4, peer6},
    wait,
};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use super::{BEYOND, FLOWS, INTERVAL, config, destinations, lab, off, spreading, wait_all_go_on};
use crate::{Bed, FDT_MS};

/// linux/rtnetlink.h.
const RTM_NEWRULE: u16 = 32;
const RTM_NEWNEXTHOP: u16 = 104;
/// Of as many fair choices all fall on one side once in 32,000 times.
const PORTS: u16 = 16;

/// The NICs by which the kernel lets flows to an address leave.
fn ways(host: &Netns, to: &str, more: &str) -> Result<BTreeSet<String>> {
    let way = |port| {
        let said = host.ip(&format!("route get {to} ipproto udp sport {port} dport 9 {more}"))?;
        let nic = said.split_whitespace().skip_while(|word| *word != "dev").nth(1);
        nic.map(str::to_owned).with_context(|| said.clone())
    };
    (0..PORTS).map(|n| way(40_000 + n)).collect()
}

fn only(nic: &str) -> BTreeSet<String> {
    BTreeSet::from([nic.to_owned()])
}

fn both() -> BTreeSet<String> {
    BTreeSet::from(["eth0".to_owned(), "eth1".to_owned()])
}

/// Makes a socket choose a NIC; whether it is one for IPv6.
pub(super) type Choose = fn(&Socket, &str, bool) -> std::io::Result<()>;

fn bind(socket: &Socket, nic: &str, _ipv6: bool) -> std::io::Result<()> {
    socket.bind_device(Some(nic.as_bytes()))
}

/// The source of a socket that has chosen a NIC, or why it cannot send there.
pub(super) fn sources(host: &Netns, choose: Choose) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    for nic in ["eth0", "eth1"] {
        for to in destinations()? {
            let source = host.run(|| -> std::io::Result<IpAddr> {
                let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
                let socket = Socket::new(domain, Type::DGRAM, None)?;
                choose(&socket, nic, to.is_ipv6())?;
                socket.connect(&SocketAddr::new(to, 9).into())?;
                let local = socket.local_addr()?.as_socket().ok_or(std::io::ErrorKind::InvalidData)?;
                Ok(local.ip())
            })?;
            seen.push(format!("{nic} → {to}: {source:?}"));
        }
    }
    Ok(seen)
}

#[test]
fn b29_a_socket_bound_to_an_interface_sends_as_without_spreading() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let daemon = Daemon::start(&lab.host, &off())?;
    daemon.wait_healthy()?;
    let bed = Bed { daemon, lab };
    let without = sources(&bed.lab.host, bind)?;
    bed.reload(&config())?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    let with = sources(&bed.lab.host, bind)?;
    ensure!(with == without, "{without:#?} without, {with:#?} with");
    ensure!(
        with.iter().any(|line| line.contains(&format!("eth1 → {}: Ok({})", peer4(0), data4(1)))),
        "{with:#?}"
    );
    // Answers find it.
    for to in [IpAddr::from(peer4(0)), peer6(0).into()] {
        let listener = bed.lab.peer().run(|| TcpListener::bind((to, 0)))??;
        let at = listener.local_addr()?;
        bed.lab.host.run(|| -> Result<()> {
            let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
            let socket = Socket::new(domain, Type::STREAM, None)?;
            socket.bind_device(Some(b"eth1"))?;
            socket.connect_timeout(&at.into(), Duration::from_secs(20)).context(to)
        })??;
    }
    Ok(())
}

/// At once: the daemon does nothing meanwhile.
#[test]
fn b29_a_more_specific_route_of_somebody_wins_at_once() -> Result<()> {
    let Some(bed) = spreading()? else { return Ok(()) };
    let host = &bed.lab.host;
    for to in BEYOND {
        ensure!(ways(host, to, "")? == both(), "{to}");
    }
    bed.daemon.signal(Signal::SIGSTOP)?;
    host.batch(&format!(
        "route add 203.0.113.0/25 via {0} dev eth1\nroute add 2001:db8:ff::/64 via {1} dev eth1\n\
         route add 192.168.10.128/25 dev eth0\nroute add unreachable 203.0.113.128/25",
        peer4(0),
        peer6(0)
    ))?;
    for to in BEYOND {
        ensure!(ways(host, to, "")? == only("eth1"), "{to}");
    }
    ensure!(ways(host, "192.168.10.200", "")? == only("eth0"));
    ensure!(ways(host, "203.0.113.200", "").is_err(), "unreachable");
    ensure!(ways(host, "203.0.114.1", "")? == both(), "what is beside it is spread");
    // And so does a rule.
    host.batch(
        "route add default via 192.168.10.1 dev eth0 table 100\nrule add to 203.0.113.0/24 lookup 100",
    )?;
    ensure!(ways(host, BEYOND[0], "")? == only("eth0"));
    bed.daemon.signal(Signal::SIGCONT)
}

#[test]
fn b29_multicast_leaves_as_without_spreading() -> Result<()> {
    let Some(bed) = Bed::healthy(&off())? else { return Ok(()) };
    let all = |bed: &Bed| -> Result<Vec<_>> {
        let to = ["239.1.2.3", "224.0.0.251", "255.255.255.255", "ff05::1", "ff02::fb"];
        to.iter().map(|to| ways(&bed.lab.host, to, "")).collect()
    };
    let without = all(&bed)?;
    bed.reload(&config())?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    let with = all(&bed)?;
    ensure!(with == without, "{without:?} without, {with:?} with");
    ensure!(with[0] == only("eth0"), "{with:?}");
    Ok(())
}

/// As a container's or a virtual machine's.
#[test]
fn b29_forwarded_flows_are_not_spread() -> Result<()> {
    let Some(bed) = spreading()? else { return Ok(()) };
    let (host, inner) = (&bed.lab.host, Netns::new("inner")?);
    ip_words(&format!(
        "link add name in0 netns {} type veth peer name eth0 netns {}",
        host.name(),
        inner.name()
    ))?;
    host.batch(
        "link set in0 up\naddress add 10.99.0.1/24 dev in0\naddress add 2001:db8:99::1/64 dev in0 nodad",
    )?;
    inner.batch(
        "link set eth0 up\naddress add 10.99.0.2/24 dev eth0\naddress add 2001:db8:99::2/64 dev eth0 nodad\n\
         route add default via 10.99.0.1\nroute add default via 2001:db8:99::1",
    )?;
    bed.lab.peer().batch(&format!(
        "route add 10.99.0.0/24 via {}\nroute add 2001:db8:99::/64 via {}",
        data4(0),
        data6(0)
    ))?;
    host.sysctl("net/ipv4/ip_forward", "1")?;
    host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    let flows = Flows::start_from(&inner, &bed.lab, &destinations()?, FLOWS / 2, INTERVAL)?;
    wait_all_go_on(&flows)?;
    let seen = flows.left_by();
    ensure!(seen.len() == flows.count(), "{} flows of {} were seen", seen.len(), flows.count());
    ensure!(seen.values().all(|nics| *nics == [0]), "{seen:?}");
    Ok(())
}

#[test]
fn b29_without_a_daemon_routes_say_where_flows_leave() -> Result<()> {
    let Some(mut bed) = spreading()? else { return Ok(()) };
    bed.daemon.signal(Signal::SIGTERM)?;
    bed.daemon.wait_exit()?;
    ensure!(bed.traces()?.is_empty(), "{}", bed.traces()?);
    ensure!(ways(&bed.lab.host, BEYOND[0], "")? == only("eth0"));
    bed.daemon.start_again(&bed.lab.host)?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    ensure!(ways(&bed.lab.host, BEYOND[0], "")? == both());
    // What an administrator does to a route counts while a daemon runs, too.
    bed.lab.host.batch("route del default\nroute add default via 192.168.10.7 dev eth0")?;
    wait::until("the new router is used", || {
        let said = bed.lab.host.ip(&format!("route get {}", BEYOND[0]))?;
        Ok(said.contains("via 192.168.10.7") && ways(&bed.lab.host, BEYOND[0], "")? == both())
    })
}

#[test]
fn b29_nothing_is_made_where_there_is_nothing_to_spread() -> Result<()> {
    let text = |config: &Config| config.to_string();
    for config in [off(), Config::active_standby(FDT_MS)] {
        let Some(bed) = Bed::healthy(&config)? else { return Ok(()) };
        bed.wait_state("eth1", "ok")?;
        ensure!(bed.traces()?.is_empty(), "{}\n{}", text(&config), bed.traces()?);
        ensure!(super::hash_policy(&bed.lab.host)? == ["0", "0"], "{}", text(&config));
    }
    Ok(())
}

/// An earlier version had routes to the halves of each destination, in the table main.
#[test]
fn b29_what_an_earlier_version_made_goes() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    lab.host.batch(
        "nexthop add id 1229999440 via 192.168.10.1 dev eth0 proto 73\n\
         nexthop add id 1229999441 group 1229999440 proto 73\n\
         route add 0.0.0.0/1 nhid 1229999441 metric 1229999440 proto 73\n\
         route add 128.0.0.0/1 nhid 1229999441 metric 1229999440 proto 73",
    )?;
    let daemon = Daemon::start(&lab.host, &config())?;
    let bed = Bed { daemon, lab };
    bed.daemon.wait_healthy()?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    let left = bed.lab.host.ip("route show table main proto 73")?;
    ensure!(left.is_empty(), "{left}");
    ensure!(ways(&bed.lab.host, BEYOND[0], "")? == both());
    Ok(())
}

/// The kernel's answer to what it does not know.
#[test]
fn b29_a_kernel_that_cannot_is_told_of_and_left_as_it_is() -> Result<()> {
    if let Some(reason) = call_fault::missing() {
        skip::say(reason);
        return Ok(());
    }
    for (kind, said) in [
        (RTM_NEWNEXTHOP, "outbound flows are not spread: this kernel has no nexthop objects"),
        (RTM_NEWRULE, "outbound flows are not spread: this kernel refuses the rules for it"),
    ] {
        let Some(bed) = Bed::healthy(&off())? else { return Ok(()) };
        let fault = CallFault::netlink(kind, [], Failing::Message);
        let faults = CallFaults::inject(bed.daemon.pid(), "ipmp-apply", vec![fault])?;
        bed.reload(&config())?;
        bed.wait_log(said)?;
        ensure!(faults.left()?.is_empty(), "{said}");
        bed.wait_no_traces()?;
        bed.wait_outbound(&[])?;
        ensure!(ways(&bed.lab.host, BEYOND[0], "")? == only("eth0"), "{said}");
        ensure!(bed.count("action-failed", 0)? == 0, "{said}: it is no failure");
    }
    Ok(())
}
