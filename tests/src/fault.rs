//! Faults at the switch, with the exact moment: an `ip` process would need milliseconds to start.

use std::{ffi::CString, io, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::{netns::Netns, wait::now_ns};

/// The switch's bridge.
pub(crate) const BRIDGE: &str = "br0";

/// Adds the device with an ifindex to a bridge, and removes it (linux/sockios.h); the libc crate lacks both.
const SIOCBRADDIF: libc::c_ulong = 0x89a2;
const SIOCBRDELIF: libc::c_ulong = 0x89a3;

/// What happens to a port of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The port goes down; the other end of the cable loses its carrier.
    PortDown,
    /// The port comes up.
    PortUp,
    /// The port leaves the bridge: it keeps its carrier, its frames go nowhere.
    OffBridge,
    /// The port joins the bridge.
    OnBridge,
}

/// Makes it happen, and returns the moment just before (`CLOCK_MONOTONIC`, nanoseconds).
pub(crate) fn inject(switch: &Netns, port: &str, fault: Fault) -> Result<u64> {
    switch.run(|| apply(port, fault))?.with_context(|| format!("{fault:?} of {port}"))
}

/// Sets a device of the calling thread's namespace up or down, as `inject` does it at the switch.
///
/// # Errors
/// What the kernel complains about.
pub fn set_device(device: &str, up: bool) -> Result<u64> {
    apply(device, if up { Fault::PortUp } else { Fault::PortDown }).with_context(|| device.to_owned())
}

fn apply(port: &str, fault: Fault) -> Result<u64> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = request_for(port)?;
    let call = |code, request: &mut libc::ifreq| {
        // SAFETY: `code` is an interface ioctl (netdevice(7)), which reads and writes at most one `ifreq`, and `request`
        // is one.
        let result = unsafe { libc::ioctl(any.as_raw_fd(), code, request) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    let code = match fault {
        Fault::PortDown | Fault::PortUp => {
            call(libc::SIOCGIFFLAGS, &mut request)?;
            // SAFETY: SIOCGIFFLAGS has just filled in the flags.
            let flags = unsafe { &mut request.ifr_ifru.ifru_flags };
            let up = libc::IFF_UP as libc::c_short;
            *flags = if fault == Fault::PortUp { *flags | up } else { *flags & !up };
            libc::SIOCSIFFLAGS
        }
        Fault::OffBridge | Fault::OnBridge => {
            call(libc::SIOCGIFINDEX, &mut request)?;
            // SAFETY: SIOCGIFINDEX has just filled in the index.
            let index = unsafe { request.ifr_ifru.ifru_ifindex };
            request = request_for(BRIDGE)?;
            request.ifr_ifru.ifru_ifindex = index;
            if fault == Fault::OnBridge { SIOCBRADDIF } else { SIOCBRDELIF }
        }
    };
    let at = now_ns();
    call(code, &mut request)?;
    Ok(at)
}

fn request_for(device: &str) -> Result<libc::ifreq> {
    let name = CString::new(device).context("a device name without NUL")?;
    let bytes = name.as_bytes_with_nul();
    // SAFETY: an ifreq is plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(bytes.len() <= request.ifr_name.len(), "{device}: longer than a device name may be");
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(request)
}
