//! ICMP (RFC 792) and `ICMPv6` (RFC 4443) echo messages; both share one layout.

/// Type, code, checksum, identifier, sequence number.
pub(super) const ECHO_HEADER_LEN: usize = 8;

/// Which echo message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What we send.
    Request,
    /// What a target answers.
    Reply,
}

impl Kind {
    /// The ICMP type (RFC 792: 8 and 0).
    #[inline(always)]
    pub(super) const fn icmp(self) -> u8 {
        match self {
            Self::Request => 8,
            Self::Reply => 0,
        }
    }

    /// The `ICMPv6` type (RFC 4443, sections 4.1 and 4.2).
    #[inline(always)]
    pub(super) const fn icmpv6(self) -> u8 {
        match self {
            Self::Request => 128,
            Self::Reply => 129,
        }
    }
}

/// An echo header with a zero checksum.
pub(super) fn echo_header(icmp_type: u8, identifier: u16, sequence: u16) -> [u8; ECHO_HEADER_LEN] {
    let [id_high, id_low] = identifier.to_be_bytes();
    let [seq_high, seq_low] = sequence.to_be_bytes();
    [icmp_type, 0, 0, 0, id_high, id_low, seq_high, seq_low]
}
