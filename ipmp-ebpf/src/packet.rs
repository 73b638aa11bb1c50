//! The only pointer arithmetic: bounded reads of frames, as the verifier wants to see them.

use core::{hint, ptr};

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::bpf_skb_load_bytes,
    programs::{TcContext, XdpContext},
};
use ipmp_common::wire::Bytes;

/// A frame and the interface it is on.
pub(crate) trait Frame: Bytes {
    fn ifindex(&self) -> u32;
}

/// A frame at the XDP hook.
pub(crate) struct Xdp<'a>(&'a XdpContext);

impl<'a> Xdp<'a> {
    #[inline(always)]
    pub(crate) const fn new(ctx: &'a XdpContext) -> Self {
        Self(ctx)
    }
}

impl Frame for Xdp<'_> {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.0.ingress_ifindex() as u32
    }
}

impl Bytes for Xdp<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        direct(self.0.data(), self.0.data_end(), offset)
    }
}

/// A frame at a tc hook.
pub(crate) struct Skb<'a>(&'a TcContext);

impl<'a> Skb<'a> {
    #[inline(always)]
    pub(crate) const fn new(ctx: &'a TcContext) -> Self {
        Self(ctx)
    }
}

impl Frame for Skb<'_> {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0.skb.skb).ifindex }
    }
}

impl Bytes for Skb<'_> {
    /// Drivers may leave all but the headers outside the linear part: a helper reads those.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if let Some(bytes) = direct(self.0.data(), self.0.data_end(), offset) {
            return Some(bytes);
        }
        let mut bytes = [0; N];
        // SAFETY: the helper writes exactly N bytes to the buffer, or fails.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.0.as_ptr().cast(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        (result == 0).then_some(bytes)
    }
}

#[inline(always)]
fn direct<const N: usize>(start: usize, end: usize, offset: usize) -> Option<[u8; N]> {
    // Opaque, so that what is compared and what is read stays one pointer: the verifier's bounds hold for that
    // one only.
    let at = hint::black_box(start + offset);
    if at + N > end {
        return None;
    }
    // SAFETY: the N bytes at `at` are inside the frame, as compared just above; a byte array has no alignment.
    Some(unsafe { ptr::read(at as *const [u8; N]) })
}
