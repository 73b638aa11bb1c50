//! Ethernet II with up to two VLAN tags.

use super::bytes::{Bytes, be16};

/// A 48-bit hardware address.
pub type Mac = [u8; 6];

/// All stations.
pub const BROADCAST: Mac = [0xff; 6];
/// RFC 894.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// RFC 826.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// RFC 2464.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// IEEE 802.1Q customer tag.
const TAG_CUSTOMER: u16 = 0x8100;
/// IEEE 802.1ad service tag.
const TAG_SERVICE: u16 = 0x88a8;
/// Tags looked through: 802.1ad has one service and one customer tag.
const MAX_TAGS: usize = 2;
/// Both addresses and the ethertype.
pub(super) const HEADER_LEN: usize = 14;
/// Tag control information and the inner ethertype.
const TAG_LEN: usize = 4;

/// The ethertype behind at most two VLAN tags, and the offset of what it describes.
#[inline(always)]
pub(super) fn payload<B: Bytes + ?Sized>(frame: &B) -> Option<(u16, usize)> {
    let mut ethertype = be16(frame, HEADER_LEN - 2)?;
    let mut at = HEADER_LEN;
    for _ in 0..MAX_TAGS {
        if ethertype == TAG_CUSTOMER || ethertype == TAG_SERVICE {
            ethertype = be16(frame, at + TAG_LEN - 2)?;
            at += TAG_LEN;
        }
    }
    Some((ethertype, at))
}
