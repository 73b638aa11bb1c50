//! Multicast follows the traffic: a program goes on hearing the groups that it joined on an interface that failed.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    config::Config,
    topology::{data, peer4},
    wait,
};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

use crate::{Bed, FDT_MS};

const PORT: u16 = 5353;
const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0x6970, 0x6d70);

/// A program of the host, which named the interface.
fn listener(bed: &Bed, group: IpAddr, nic: &str) -> Result<Socket> {
    bed.lab.host.run(|| -> Result<Socket> {
        let ifindex = if_nametoindex(nic).context(nic.to_owned())?;
        let domain = if group.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, None)?;
        let any: IpAddr =
            if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        socket.bind(&SocketAddr::new(any, PORT).into())?;
        match group {
            IpAddr::V4(group) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(ifindex))?;
            }
            IpAddr::V6(group) => socket.join_multicast_v6(&group, ifindex)?,
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?
}

/// The neighbour.
fn speaker(bed: &Bed, group: IpAddr) -> Result<Socket> {
    bed.lab.peer().run(|| -> Result<Socket> {
        let ifindex = if_nametoindex("eth0").context("the neighbour's eth0")?;
        let socket = match group {
            IpAddr::V4(_) => {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
                socket.set_multicast_if_v4(&peer4(0))?;
                socket
            }
            IpAddr::V6(_) => {
                let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
                socket.set_multicast_if_v6(ifindex)?;
                socket.set_multicast_hops_v6(5)?;
                socket
            }
        };
        socket.connect(&SocketAddr::new(group, PORT).into())?;
        Ok(socket)
    })?
}

/// Nothing from before counts.
fn wait_heard(listener: &Socket, speaker: &Socket, when: &str) -> Result<()> {
    let heard = || -> Result<bool> {
        match listener.recv(&mut [std::mem::MaybeUninit::uninit(); 16]) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context("receiving"),
        }
    };
    while heard()? {}
    wait::until(&format!("the group is heard {when}"), || {
        speaker.send(b"hello").context("sending")?;
        heard()
    })
}

fn groups_follow(group: IpAddr) -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let (listener, speaker) = (listener(&bed, group, "eth0")?, speaker(&bed, group)?);
    let is_joined = |nic: &str| -> Result<bool> {
        Ok(bed.lab.host.ip(&format!("maddress show dev {nic}"))?.contains(&group.to_string()))
    };
    wait_heard(&listener, &speaker, "at home")?;
    ensure!(is_joined("eth0")? && !is_joined("eth1")?, "joined where the program said");

    bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, group.is_ipv6()).to_string(), "eth1")?;
    wait_heard(&listener, &speaker, "by the stand-in")?;

    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    wait::until("the stand-in leaves the group", || Ok(!is_joined("eth1")?))?;
    wait_heard(&listener, &speaker, "at home again")
}

#[test]
fn multicast_groups_follow_the_traffic_ipv4() -> Result<()> {
    groups_follow(GROUP4.into())
}

#[test]
fn multicast_groups_follow_the_traffic_ipv6() -> Result<()> {
    groups_follow(GROUP6.into())
}
