//! Random numbers from the kernel: the engine's seed, and what makes our probes ours.

use std::io;

use anyhow::Context as _;

/// Draws tokens and identifiers.
#[derive(Debug)]
pub(super) struct Draw {
    /// ICMP identifiers count up from a random start, so that two daemons on a link rarely share one; the
    /// token is what a reply is recognised by.
    next_id: u16,
}

impl Draw {
    pub(super) fn new() -> anyhow::Result<Self> {
        let start = random().context("cannot draw random numbers")?;
        Ok(Self { next_id: start as u16 })
    }

    /// A token, never zero, and an ICMP identifier.
    pub(super) fn session(&mut self) -> (u64, u16) {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        // The kernel's generator cannot fail once it has worked (getrandom(2)); should it, the counter keeps
        // tokens distinct.
        (random().unwrap_or(0) ^ u64::from(id) | 1 << 63, id)
    }
}

/// 64 bits of the kernel's generator.
pub(super) fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is as long as stated and outlives the call.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == bytes.len() as isize { Ok(u64::from_ne_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}
