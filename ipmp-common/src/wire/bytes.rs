//! Bounded access to a frame, whatever holds it.

/// A frame that can be read in pieces of a size known at compile time (the verifier wants constants).
pub trait Bytes {
    /// The `N` bytes at `offset`, or `None` if the frame does not hold all of them.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

impl Bytes for [u8] {
    #[inline]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// A big-endian `u16` at `offset`.
#[inline(always)]
pub(super) fn be16<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Option<u16> {
    bytes.load(offset).map(u16::from_be_bytes)
}
