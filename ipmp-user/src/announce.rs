//! Tells the neighbours where an address is now: gratuitous ARP and unsolicited neighbour advertisements, all frames
//! of a move handed to the kernel in one go.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::net::NetError;

/// Ethernet header and ARP packet.
const ARP_FRAME: usize = 14 + 28;
/// Ethernet header, IPv6 header, neighbour advertisement with its link-layer address option.
const ADVERTISEMENT_FRAME: usize = 14 + 40 + 32;
/// Frames for one sendmmsg; the kernel takes 1024 (`UIO_MAXIOV`) at most.
const BURST: usize = 512;

/// One address and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The interface.
    pub ifindex: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The address.
    pub ip: IpAddr,
}

/// The packet socket. It receives nothing (protocol 0).
#[derive(Debug)]
pub struct Announcer {
    socket: OwnedFd,
}

impl Announcer {
    /// Opens it in the network namespace of the calling thread; needs `CAP_NET_RAW`.
    pub fn open() -> Result<Self, NetError> {
        // SAFETY: no pointers are passed; the result is checked before it is used.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(NetError::io(
                "opening a packet socket",
                io::Error::last_os_error(),
            ));
        }
        // SAFETY: the descriptor was just opened and belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { socket })
    }

    /// Hands all announcements to their interfaces. Stops at the first that an interface refuses.
    pub fn send(&mut self, announcements: &[Announcement]) -> Result<(), NetError> {
        for burst in announcements.chunks(BURST) {
            self.burst(burst)?;
        }
        Ok(())
    }

    fn burst(&self, announcements: &[Announcement]) -> Result<(), NetError> {
        let mut frames: Vec<Vec<u8>> = announcements.iter().map(frame).collect();
        let mut places: Vec<libc::sockaddr_ll> = announcements.iter().map(|a| place(a.ifindex)).collect();
        let mut vectors: Vec<libc::iovec> = frames
            .iter_mut()
            .map(|f| libc::iovec {
                iov_base: f.as_mut_ptr().cast(),
                iov_len: f.len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = places
            .iter_mut()
            .zip(&mut vectors)
            .map(|(place, vector)| {
                // SAFETY: all-zero is a valid mmsghdr: null pointers with zero lengths.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_name = std::ptr::from_mut(place).cast();
                message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let mut done = 0;
        while done < messages.len() {
            let rest = &mut messages[done..];
            // SAFETY: every header points into `places` and `vectors`, and those into `frames`; all outlive the call
            // and none is moved in between.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if let Ok(sent) = usize::try_from(sent) {
                done += sent;
                continue;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(NetError::io("sending announcements", error));
            }
        }
        Ok(())
    }
}

fn place(ifindex: u32) -> libc::sockaddr_ll {
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = ifindex.cast_signed();
    address
}

fn frame(announcement: &Announcement) -> Vec<u8> {
    match announcement.ip {
        IpAddr::V4(ip) => gratuitous_arp(announcement.mac, ip).to_vec(),
        IpAddr::V6(ip) => unsolicited_advertisement(announcement.mac, ip).to_vec(),
    }
}

/// An ARP announcement: a request whose sender and target protocol addresses are both the announced one
/// (RFC 826, RFC 5227 section 3).
fn gratuitous_arp(mac: [u8; 6], ip: Ipv4Addr) -> [u8; ARP_FRAME] {
    let mut frame = [0; ARP_FRAME];
    frame[0..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&0x0806_u16.to_be_bytes());
    // Ethernet, IPv4, their address lengths, request.
    frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&ip.octets());
    frame[38..42].copy_from_slice(&ip.octets());
    frame
}

/// A neighbour advertisement to all nodes with the override flag set, so that caches change their entry
/// (RFC 4861 sections 4.4 and 7.2.6).
fn unsolicited_advertisement(mac: [u8; 6], ip: Ipv6Addr) -> [u8; ADVERTISEMENT_FRAME] {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ICMPV6: u8 = 58;
    let mut frame = [0; ADVERTISEMENT_FRAME];
    frame[0..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&0x86dd_u16.to_be_bytes());
    frame[14] = 0x60;
    frame[18..20].copy_from_slice(&32_u16.to_be_bytes());
    frame[20] = ICMPV6;
    // Receivers drop neighbour discovery with any other hop limit (RFC 4861 7.1.2).
    frame[21] = 255;
    frame[22..38].copy_from_slice(&ip.octets());
    frame[38..54].copy_from_slice(&ALL_NODES.octets());
    // Type 136, override.
    frame[54] = 136;
    frame[58] = 0x20;
    frame[62..78].copy_from_slice(&ip.octets());
    // Target link-layer address, one unit of eight octets.
    frame[78..80].copy_from_slice(&[2, 1]);
    frame[80..86].copy_from_slice(&mac);
    let sum = checksum(&frame[22..54], &frame[54..86], ICMPV6);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The checksum over the pseudo-header and the message (RFC 8200 section 8.1).
fn checksum(addresses: &[u8], message: &[u8], next_header: u8) -> u16 {
    let words = addresses.chunks(2).chain(message.chunks(2));
    let sum: u32 = words
        .map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)))
        .sum();
    let mut sum = sum + message.len() as u32 + u32::from(next_header);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests;
