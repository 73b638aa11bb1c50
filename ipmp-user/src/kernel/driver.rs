//! What a driver says of its interface, by ethtool's ioctl (linux/ethtool.h).

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// `struct ethtool_drvinfo` (linux/ethtool.h).
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rest: [u8; 64],
}

/// Asks the drivers of the network namespace in which it was made.
#[derive(Debug)]
pub(super) struct Drivers(OwnedFd);

impl Drivers {
    pub(super) fn new() -> io::Result<Self> {
        ioctl_socket().map(Self)
    }

    /// Whether the link is up (`ETHTOOL_GLINK`).
    pub(super) fn link_up(&self, name: &str) -> io::Result<bool> {
        const ETHTOOL_GLINK: u32 = 0x0a;
        // struct ethtool_value: command, data.
        let mut value = [ETHTOOL_GLINK, 0];
        self.ask(name, &mut value)?;
        Ok(value[1] != 0)
    }

    /// Whether it is a bond, whose native XDP runs on its ports, with their ifindexes (`bond_xdp_set` in
    /// `drivers/net/bonding/bond_main.c`): our programs would take the frames for another interface's.
    pub(super) fn is_bond(&self, name: &str) -> bool {
        self.info(name).is_ok_and(|info| info.driver.starts_with(b"bonding\0"))
    }

    fn info(&self, name: &str) -> io::Result<DriverInfo> {
        const ETHTOOL_GDRVINFO: u32 = 3;
        let mut info = DriverInfo {
            command: ETHTOOL_GDRVINFO,
            driver: [0; 32],
            version: [0; 32],
            firmware: [0; 32],
            bus: [0; 32],
            rest: [0; 64],
        };
        self.ask(name, &mut info)?;
        Ok(info)
    }

    /// Has a structure filled in that begins with the command. It takes the RTNL lock (`dev_ethtool` in
    /// net/ethtool/ioctl.c).
    fn ask<T>(&self, name: &str, question: &mut T) -> io::Result<()> {
        const SIOCETHTOOL: libc::c_ulong = 0x8946;
        // SAFETY: a plain C structure, valid when zeroed.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_data = std::ptr::from_mut(question).cast();
        // SAFETY: the request and the structure it points to, as large as the kernel's, outlive the call.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Where a device is on its bus, such as `0000:3b:00.0`, as its driver says; none for a virtual one. Unlike sysfs this is of the
/// caller's network namespace.
pub fn bus_of(name: &str) -> Option<String> {
    let info = Drivers::new().ok()?.info(name).ok()?;
    let bus = CStr::from_bytes_until_nul(&info.bus).ok()?.to_str().ok()?;
    (!bus.is_empty()).then(|| bus.to_ascii_lowercase())
}

/// Any socket will do for ioctl(2) and for options of the namespace.
pub(super) fn ioctl_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned this descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

const _: () = assert!(size_of::<DriverInfo>() == 196);
