//! The messages in what the kernel sends.

use rtnetlink::{
    packet_core::{NLM_F_ACK_TLVS, NLM_F_REPLACE, NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
};

use super::HEADER;
use crate::net::{
    NetError,
    nexthop::{Attributes, DEL_NEXTHOP, NEW_BUCKET, NEW_NEXTHOP},
    route::TABLE_LOCAL,
};

/// `NLMSGERR_ATTR_MSG`: the kernel's explanation in an extended ACK.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Routes of the local table that are no broadcast entries, recognised before they are decoded: there is one or more for
/// each address.
pub(super) fn is_kernels_own(frame: &Frame<'_>) -> bool {
    /// Offsets in `struct rtmsg`.
    const TABLE: usize = 4;
    const TYPE: usize = 7;
    let is = |at: usize, value: u8| frame.payload.get(at).is_some_and(|byte| *byte == value);
    frame.kind == NEW_ROUTE && is(TABLE, TABLE_LOCAL as u8) && !is(TYPE, libc::RTN_BROADCAST)
}

/// `RTM_NEWROUTE`, `RTM_NEWRULE`, `RTM_DELRULE` (linux/rtnetlink.h).
const NEW_ROUTE: u16 = 24;
const NEW_RULE: u16 = 32;
const DEL_RULE: u16 = 33;

/// One netlink message in a datagram.
pub(in crate::net) struct Frame<'a> {
    pub(in crate::net) kind: u16,
    pub(in crate::net) flags: u16,
    /// Who asked for it; 0 = the kernel itself.
    pub(in crate::net) port: u32,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
    bytes: &'a [u8],
}

impl Frame<'_> {
    /// The message, if we know how to read it.
    pub(in crate::net) fn decode(&self) -> Option<RouteNetlinkMessage> {
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(self.bytes).map(|m| m.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => Some(message),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(kind = self.kind, %error, "netlink message not understood");
                None
            }
        }
    }

    /// Whether a route took another's place; the notification does not say whose.
    pub(in crate::net) const fn replaces_route(&self) -> bool {
        self.kind == NEW_ROUTE && self.flags & NLM_F_REPLACE != 0
    }

    /// Whether a bucket of a resilient group changed its object, of which nothing here depends.
    pub(in crate::net) const fn is_about_bucket(&self) -> bool {
        self.kind == NEW_BUCKET
    }

    /// Whether a nexthop object changed or went.
    pub(in crate::net) const fn is_about_nexthop(&self) -> bool {
        matches!(self.kind, NEW_NEXTHOP | DEL_NEXTHOP)
    }

    /// Whether a policy rule came or went.
    pub(in crate::net) const fn is_about_rule(&self) -> bool {
        matches!(self.kind, NEW_RULE | DEL_RULE)
    }

    /// For `NLMSG_ERROR`: none if it is an acknowledgement.
    pub(in crate::net) fn refusal(&self) -> Option<NetError> {
        let code = i32::from_ne_bytes(self.payload.get(..4)?.try_into().ok()?);
        if code == 0 {
            return None;
        }
        let explained = self.flags & NLM_F_ACK_TLVS != 0;
        let explanation = |attributes: &[u8]| {
            let (_, text) = Attributes(attributes).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?;
            Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
        };
        let text = self.payload.get(4 + HEADER..).filter(|_| explained).and_then(explanation);
        Some(NetError::Refused { errno: -code, text })
    }
}

/// The messages of a datagram; ends at the first that is cut short.
pub(in crate::net) struct Frames<'a>(pub(in crate::net) &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let header = self.0.get(..HEADER)?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = word(0) as usize;
        let bytes = self.0.get(..length).filter(|b| b.len() >= HEADER)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Frame {
            kind: half(4),
            flags: half(6),
            sequence: word(8),
            port: word(12),
            payload: &bytes[HEADER..],
            bytes,
        })
    }
}
