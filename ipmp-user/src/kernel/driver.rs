//! What drives an interface, as far as that decides which hook serves, and where it is.

use std::{ffi::CStr, io, os::fd::AsRawFd as _};

use super::carrier::ioctl_socket;

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

/// Whether it is a bond, whose native XDP runs on its ports, with their ifindexes (`bond_xdp_set` in
/// `drivers/net/bonding/bond_main.c`): our programs would take the frames for another interface's.
pub(super) fn is_bond(name: &str) -> bool {
    info(name).is_ok_and(|info| info.driver.starts_with(b"bonding\0"))
}

/// Where a device is on its bus, such as `0000:3b:00.0`, as its driver says; none for a virtual one. Unlike sysfs this is of the
/// caller's network namespace.
pub fn bus_of(name: &str) -> Option<String> {
    let info = info(name).ok()?;
    let bus = CStr::from_bytes_until_nul(&info.bus).ok()?.to_str().ok()?;
    (!bus.is_empty()).then(|| bus.to_ascii_lowercase())
}

fn info(name: &str) -> io::Result<DriverInfo> {
    const ETHTOOL_GDRVINFO: u32 = 3;
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    let socket = ioctl_socket()?;
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        rest: [0; 64],
    };
    // SAFETY: a plain C structure, valid when zeroed.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: the request and the structure it points to, as large as the kernel's, outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
}

const _: () = assert!(size_of::<DriverInfo>() == 196);
