//! Errors that an interface counts are told after the verdict.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use ipmp_tests::{config::Config, wait::now_ns};
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// Broadcast frames of IEEE 802's local experimental type, which no host knows: it drops and counts them.
fn unknown_frames(count: usize) -> io::Result<()> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned this descriptor to us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a plain C structure, valid when zeroed.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = nix::net::if_::if_nametoindex("eth0")?.cast_signed();
    let mut frame = [0_u8; 60];
    frame[..6].fill(0xff);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    for _ in 0..count {
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the frame and the address outlive the call, which only reads them.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                length,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[test]
fn errors_counted_since_the_verdict_before_are_told_after_a_failure() -> Result<()> {
    const FRAMES: usize = 40;
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let counted = |from_ns| {
        bed.daemon
            .wait_event("errors", from_ns, |event| event["kind"] == "errors" && event["interface"] == "eth0")
    };
    bed.lab.peer().run(|| unknown_frames(FRAMES))?.context("frames")?;
    let from_ns = bed.lab.cut(0)?;
    let told = counted(from_ns)?;
    assert_eq!(told["why"]["why"], "counted", "{told}");
    assert!(told["why"]["rx_dropped"].as_u64() >= Some(FRAMES as u64), "{told}");
    let reason = told["reason"].as_str().context("a reason")?;
    assert!(reason.starts_with("since ") && reason.contains(" rx dropped"), "{reason}");
    let events = bed.daemon.events_since(from_ns)?;
    let first = |kind: &str| events.iter().position(|event| event["kind"] == kind).context(kind.to_owned());
    assert!(first("failed")? < first("moved")? && first("moved")? < first("errors")?, "{events:#?}");
    bed.wait_log("IP interface eth0 of group ipmp0 has counted errors: since ")?;
    let explained = String::from_utf8(bed.daemon.client(&["explain", "eth0"])?.stdout)?;
    assert!(explained.contains(" rx dropped"), "{explained}");

    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    let from_ns = now_ns();
    bed.lab.pull(0)?;
    let told = counted(from_ns)?;
    assert_eq!(told["why"]["carrier_losses"], 1, "{told}");
    assert!(told["why"]["rx_dropped"].as_u64() < Some(FRAMES as u64), "told once: {told}");
    let of_sibling = |event: &&Value| event["kind"] == "errors" && event["interface"] == "eth1";
    assert_eq!(bed.daemon.events()?.iter().find(of_sibling), None, "it neither failed nor was repaired");
    Ok(())
}
