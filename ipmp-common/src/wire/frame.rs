//! A frame under construction, of fixed capacity.

use core::ops::Deref;

use super::ether::Mac;

/// At most `N` bytes that are ready to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Frame<N> {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// Appends `part`. What does not fit is left out: capacities are constants that the tests cover.
    pub(super) fn put(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + part.len()) {
            room.copy_from_slice(part);
            self.len += part.len();
        }
    }

    /// Appends an Ethernet header.
    pub(super) fn put_ethernet(&mut self, destination: Mac, source: Mac, ethertype: u16) {
        self.put(&destination);
        self.put(&source);
        self.put(&ethertype.to_be_bytes());
    }
}

impl<const N: usize> Deref for Frame<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

impl<const N: usize> AsRef<[u8]> for Frame<N> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
