//! Sockets that name an interface without being bound to it, and answers that are looked at strictly.

use std::{fs, io, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{daemon::Daemon, flows::Flows};
use socket2::Socket;

use super::{FLOWS, INTERVAL, config, destinations, lab, off, rules::sources, spreading, wait_all_go_on};
use crate::Bed;

/// `IP_UNICAST_IF` (linux/in.h) and `IPV6_UNICAST_IF` (linux/in6.h): unlike a bound socket such a one hears all interfaces.
const IP_UNICAST_IF: libc::c_int = 50;
const IPV6_UNICAST_IF: libc::c_int = 76;

fn choose(socket: &Socket, nic: &str, ipv6: bool) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex(nic)?.to_be();
    let (level, option) =
        if ipv6 { (libc::IPPROTO_IPV6, IPV6_UNICAST_IF) } else { (libc::IPPROTO_IP, IP_UNICAST_IF) };
    let length = size_of_val(&index) as libc::socklen_t;
    // SAFETY: the kernel reads as many bytes as the index has.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const index).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn b29_a_socket_that_names_an_interface_for_its_packets_sends_as_without_spreading() -> Result<()> {
    let Some(lab) = lab()? else { return Ok(()) };
    let daemon = Daemon::start(&lab.host, &off())?;
    daemon.wait_healthy()?;
    let bed = Bed { daemon, lab };
    let without = sources(&bed.lab.host, choose)?;
    ensure!(without.iter().any(|line| line.contains("Ok")), "{without:#?}");
    bed.reload(&config())?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    let with = sources(&bed.lab.host, choose)?;
    ensure!(with == without, "{without:#?} without, {with:#?} with");
    Ok(())
}

/// Answers come by the NIC that has the address, whichever the flow leaves by. The kernel looks for the way back as this host's
/// own packets go (`__fib_validate_source` in `net/ipv4/fib_frontend.c`), and any NIC of the group is right.
#[test]
fn b29_answers_pass_strict_reverse_path_filtering() -> Result<()> {
    let Some(bed) = spreading()? else { return Ok(()) };
    let strict = || {
        ["all", "eth0", "eth1"]
            .iter()
            .try_for_each(|nic| fs::write(format!("/proc/sys/net/ipv4/conf/{nic}/rp_filter"), "1"))
    };
    bed.lab.host.run(strict)?.context("rp_filter")?;
    let flows = Flows::start(&bed.lab, &destinations()?, FLOWS, INTERVAL)?;
    wait_all_go_on(&flows)?;
    let both = flows.left_by();
    ensure!([0, 1].iter().all(|nic| both.values().any(|nics| nics == &[*nic])), "{both:?}");
    bed.lab.cut(0)?;
    bed.wait_outbound(&["eth1"])?;
    wait_all_go_on(&flows)?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_outbound(&["eth0", "eth1"])?;
    wait_all_go_on(&flows)?;
    ensure!(flows.broken().is_empty(), "{:?}", flows.broken());
    Ok(())
}
