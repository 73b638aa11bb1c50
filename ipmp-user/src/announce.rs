//! Tells the neighbours where an address is now: gratuitous ARP and unsolicited neighbour advertisements, all frames
//! of a move handed to the kernel in one go.

use std::{collections::BTreeMap, fs::File, io, net::IpAddr, os::unix::fs::FileExt as _};

use ipmp_common::wire::{ARP_FRAME_LEN, Frame, Mac, NA_FRAME_LEN, gratuitous_arp, unsolicited_advertisement};

use crate::{
    frames::{FrameSocket, Outgoing},
    net::NetError,
};

/// One address and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The interface.
    pub ifindex: u32,
    /// Its hardware address.
    pub mac: Mac,
    /// The address.
    pub ip: IpAddr,
}

/// The packet socket. It receives nothing.
#[derive(Debug)]
pub struct Announcer {
    socket: FrameSocket,
    settings: Settings,
}

impl Announcer {
    /// Opens it in the network namespace of the calling thread; needs `CAP_NET_RAW`.
    pub fn open() -> Result<Self, NetError> {
        let socket = FrameSocket::open().map_err(|error| NetError::io("opening a packet socket", error))?;
        Ok(Self { socket, settings: Settings::default() })
    }

    /// Hands all announcements to their interfaces. One that is refused does not keep back the others; the first refusal
    /// is the error.
    pub fn send(&mut self, announcements: &[Announcement]) -> Result<(), NetError> {
        let mut routers = BTreeMap::new();
        let settings = &mut self.settings;
        let mut frame = |announcement: &Announcement| {
            let ifindex = announcement.ifindex;
            Ready::new(announcement, || {
                *routers.entry(ifindex).or_insert_with(|| settings.is_router(ifindex))
            })
        };
        let frames: Vec<Ready> = announcements.iter().map(&mut frame).collect();
        let mut first = None;
        self.socket.send(&frames, |_, outcome| {
            if let Err(error) = outcome {
                first.get_or_insert(error);
            }
        });
        first.map_or(Ok(()), |error| Err(NetError::io("sending announcements", error)))
    }
}

#[derive(Debug)]
struct Ready {
    ifindex: u32,
    frame: Announced,
}

#[derive(Debug)]
enum Announced {
    V4(Frame<ARP_FRAME_LEN>),
    V6(Frame<NA_FRAME_LEN>),
}

impl Ready {
    fn new(announcement: &Announcement, is_router: impl FnOnce() -> bool) -> Self {
        let frame = match announcement.ip {
            IpAddr::V4(ip) => Announced::V4(gratuitous_arp(announcement.mac, ip)),
            IpAddr::V6(ip) => Announced::V6(unsolicited_advertisement(announcement.mac, ip, is_router())),
        };
        Self { ifindex: announcement.ifindex, frame }
    }
}

impl Outgoing for Ready {
    fn bytes(&self) -> &[u8] {
        match &self.frame {
            Announced::V4(frame) => frame,
            Announced::V6(frame) => frame,
        }
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }
}

/// Settings that are read for each announcement. They are kept open, because opening takes longer than the announcement.
#[derive(Debug, Default)]
struct Settings(BTreeMap<u32, File>);

impl Settings {
    /// Whether the host forwards IPv6 packets that arrive there. An advertisement must say so (RFC 4861 section 4.4): with
    /// the flag missing, neighbours drop the host from their default routers (section 7.2.5).
    fn is_router(&mut self, ifindex: u32) -> bool {
        let known = self.0.get(&ifindex).and_then(|file| is_set(file).ok());
        // That of an interface that was renamed, or has gone, can be read no more (`proc_sys_read`: ENOENT).
        known.unwrap_or_else(|| self.open(ifindex).unwrap_or(false))
    }

    fn open(&mut self, ifindex: u32) -> io::Result<bool> {
        self.0.retain(|known, file| *known != ifindex && is_set(file).is_ok());
        let name = nix::net::if_::if_indextoname(ifindex)?;
        let file = File::open(format!("/proc/sys/net/ipv6/conf/{}/forwarding", name.to_string_lossy()))?;
        let set = is_set(&file)?;
        self.0.insert(ifindex, file);
        Ok(set)
    }
}

fn is_set(file: &File) -> io::Result<bool> {
    let mut value = [0; 1];
    file.read_exact_at(&mut value, 0)?;
    Ok(value != *b"0")
}

#[cfg(test)]
mod tests;
