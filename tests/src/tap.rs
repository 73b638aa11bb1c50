//! A NIC whose driver says of its link what a test wants: the tun driver keeps whatever ethtool's ioctl sets, the partner's
//! modes included (`tun_set_link_ksettings` in drivers/net/tun.c).

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::netns::Netns;

/// `TUNSETIFF` (`linux/if_tun.h`) and `SIOCETHTOOL` (`linux/sockios.h`).
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// linux/ethtool.h
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const ETHTOOL_SLINKSETTINGS: u32 = 0x4d;
/// Words of `struct ethtool_link_settings` before its masks.
const SETTINGS_WORDS: usize = 12;
/// Words of each of its three masks at most; `link_mode_masks_nwords` is one signed byte.
const MASK_WORDS: usize = 127;

/// Bits of link modes (`enum ethtool_link_mode_bit_indices`).
pub mod mode {
    /// 10baseT/Half.
    pub const TEN_HALF: u32 = 1;
    /// 100baseT/Half.
    pub const HUNDRED_HALF: u32 = 1 << 2;
    /// 100baseT/Full.
    pub const HUNDRED_FULL: u32 = 1 << 3;
    /// 1000baseT/Full.
    pub const GIGABIT_FULL: u32 = 1 << 5;
    /// Autoneg.
    pub const AUTONEG: u32 = 1 << 6;
}

/// What the driver shall say.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// In 10⁶ bit/s.
    pub speed_mbps: u32,
    /// Full or half duplex.
    pub full: bool,
    /// Negotiation.
    pub autonegotiation: bool,
    /// Modes of the device.
    pub supported: u32,
    /// Modes that it offers.
    pub advertised: u32,
    /// Modes that its partner offers.
    pub partner: u32,
}

/// A tap device, there as long as this.
#[derive(Debug)]
pub struct Tap {
    name: String,
    _held: File,
}

impl Tap {
    /// A new device in `netns`, administratively up.
    ///
    /// # Errors
    /// When the kernel has no tun driver, for instance.
    pub fn new(netns: &Netns, name: &str) -> Result<Self> {
        let file = netns.run(|| -> Result<File> {
            let file =
                OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
            let mut request = request_for(name)?;
            request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
            // SAFETY: TUNSETIFF reads and writes one ifreq, and `request` is one.
            let made = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
            ensure!(made == 0, "TUNSETIFF: {}", io::Error::last_os_error());
            Ok(file)
        })??;
        netns.ip(&format!("link set {name} up"))?;
        Ok(Self { name: name.to_owned(), _held: file })
    }

    /// Makes its driver say so.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn says(&self, netns: &Netns, link: Link) -> Result<()> {
        netns.run(|| set(&self.name, link))?
    }
}

fn set(name: &str, link: Link) -> Result<()> {
    let mut settings = [0_u32; SETTINGS_WORDS + 3 * MASK_WORDS];
    settings[0] = ETHTOOL_GLINKSETTINGS;
    // Asked without masks, the kernel answers with minus the number of words that they have.
    ethtool(name, &mut settings)?;
    let [_, _, _, nwords] = settings[3].to_ne_bytes();
    let nwords = usize::from(nwords.cast_signed().unsigned_abs());
    ensure!((1..=MASK_WORDS).contains(&nwords), "{nwords} words");
    let bytes = |index: usize, values: [u8; 4]| (index, u32::from_ne_bytes(values));
    settings.fill(0);
    settings[0] = ETHTOOL_SLINKSETTINGS;
    settings[1] = link.speed_mbps;
    // duplex, port, phy_address, autoneg; mdio_support, eth_tp_mdix, eth_tp_mdix_ctrl, link_mode_masks_nwords
    for (index, word) in [
        bytes(2, [u8::from(link.full), 0, 0, u8::from(link.autonegotiation)]),
        bytes(3, [0, 0, 0, nwords as u8]),
    ] {
        settings[index] = word;
    }
    for (mask, modes) in [link.supported, link.advertised, link.partner].into_iter().enumerate() {
        settings[SETTINGS_WORDS + mask * nwords] = modes;
    }
    ethtool(name, &mut settings)
}

fn ethtool(name: &str, settings: &mut [u32]) -> Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_data = settings.as_mut_ptr().cast();
    // SAFETY: the request points to settings with room for the largest masks, which outlive the call.
    let done = unsafe { libc::ioctl(any.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    ensure!(done == 0, "SIOCETHTOOL on {name}: {}", io::Error::last_os_error());
    Ok(())
}

fn request_for(device: &str) -> Result<libc::ifreq> {
    let name = CString::new(device).context("a device name without NUL")?;
    // SAFETY: an ifreq is plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.as_bytes_with_nul();
    ensure!(bytes.len() <= request.ifr_name.len(), "{device}: longer than a device name may be");
    for (place, byte) in request.ifr_name.iter_mut().zip(bytes) {
        *place = *byte as libc::c_char;
    }
    Ok(request)
}
