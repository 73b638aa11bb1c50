//! Requests that go to the kernel together, and their answers.

use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, NetlinkHeader, NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
};

use super::{HEADER, Socket};
use crate::net::{
    NetError,
    nexthop::{NEW_NEXTHOP, Nexthop},
};

/// Requests sent in one go. Their answers (under 1 KiB each with overhead) must fit the receive buffer, also the
/// default one of 208 KiB where a larger one is not permitted.
const CHUNK_REQUESTS: usize = 128;
/// Where a message has its sequence number (`struct nlmsghdr`).
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Body {
    /// A message that the netlink crate knows.
    Known(RouteNetlinkMessage),
    /// `RTM_NEWNEXTHOP`.
    Nexthop(Nexthop),
    /// Another that it does not know: kind and payload.
    Raw(u16, Vec<u8>),
}

/// One request of a batch.
#[derive(Clone, Debug)]
pub struct Request {
    /// The message.
    pub message: Body,
    /// `NLM_F_*` beyond request and acknowledgement.
    pub flags: u16,
}

/// Requests as they are sent, but for their sequence numbers.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message begins.
    starts: Vec<usize>,
}

impl Batch {
    /// Adds a request behind the others.
    pub fn push(&mut self, request: Request) {
        self.starts.push(self.bytes.len());
        let (flags, bytes) = (request.flags | NLM_F_ACK, &mut self.bytes);
        match request.message {
            Body::Known(message) => serialize(message, flags, 0, bytes),
            Body::Nexthop(nexthop) => serialize_raw(NEW_NEXTHOP, nexthop.to_bytes(), flags, 0, bytes),
            Body::Raw(kind, payload) => serialize_raw(kind, &payload, flags, 0, bytes),
        }
    }

    /// Adds another's requests behind these.
    pub fn append(&mut self, other: &Self) {
        let end = self.bytes.len();
        self.starts.extend(other.starts.iter().map(|start| end + start));
        self.bytes.extend_from_slice(&other.bytes);
    }

    /// As many requests as go together, from the one of this number on.
    fn chunk(&mut self, first: usize) -> (&mut [u8], &[usize]) {
        let last = (first + CHUNK_REQUESTS).min(self.starts.len());
        let end = self.starts.get(last).copied().unwrap_or(self.bytes.len());
        let starts = self.starts.get(first..last).unwrap_or_default();
        (self.bytes.get_mut(..end).unwrap_or_default(), starts)
    }
}

impl Extend<Request> for Batch {
    fn extend<T: IntoIterator<Item = Request>>(&mut self, requests: T) {
        requests.into_iter().for_each(|request| self.push(request));
    }
}

impl FromIterator<Request> for Batch {
    fn from_iter<T: IntoIterator<Item = Request>>(requests: T) -> Self {
        let mut batch = Self::default();
        batch.extend(requests);
        batch
    }
}

impl Socket {
    /// Sends requests in as few system calls as fit and collects every answer: one result a request, in order.
    /// A request that fails does not keep the kernel from the next.
    pub fn batch(&mut self, requests: &[Request]) -> Vec<Result<(), NetError>> {
        self.exchange(&mut requests.iter().cloned().collect())
    }

    /// The same with what was serialised before.
    pub fn exchange(&mut self, batch: &mut Batch) -> Vec<Result<(), NetError>> {
        let mut results = Vec::with_capacity(batch.starts.len());
        while results.len() < batch.starts.len() {
            let (bytes, starts) = batch.chunk(results.len());
            let first = self.sequence.wrapping_add(1);
            for start in starts {
                self.sequence = self.sequence.wrapping_add(1);
                if let Some(number) = bytes.get_mut(start + SEQUENCE.start..start + SEQUENCE.end) {
                    number.copy_from_slice(&self.sequence.to_ne_bytes());
                }
            }
            let begin = starts.first().copied().unwrap_or(bytes.len());
            results.extend(self.chunk(&bytes[begin..], first, starts.len()));
        }
        results
    }

    fn chunk(&mut self, bytes: &[u8], first: u32, count: usize) -> Vec<Result<(), NetError>> {
        let mut results: Vec<Option<Result<(), NetError>>> = (0..count).map(|_| None).collect();
        let mut missing = count;
        let mut failure = self.send(bytes).err();
        while missing > 0 && failure.is_none() {
            failure = self.receive().err();
            if failure.is_some() {
                break;
            }
            for frame in self.inbox.frames() {
                let index = frame.sequence.wrapping_sub(first) as usize;
                if let (NLMSG_ERROR, Some(slot @ None)) = (frame.kind, results.get_mut(index)) {
                    *slot = Some(frame.refusal().map_or(Ok(()), Err));
                    missing -= 1;
                }
            }
        }
        // Without an answer nobody knows whether it was done: the next dump tells.
        let errno = failure.map_or(0, |e| e.errno());
        let unanswered =
            || Err(NetError::Refused { errno, text: Some("no answer from the kernel".to_owned()) });
        results.into_iter().map(|result| result.unwrap_or_else(unanswered)).collect()
    }
}

/// Appends one message to others.
pub(in crate::net) fn serialize(message: RouteNetlinkMessage, flags: u16, sequence: u32, out: &mut Vec<u8>) {
    let mut header = NetlinkHeader::default();
    header.flags = flags | NLM_F_REQUEST;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let start = out.len();
    out.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut out[start..]);
}

/// The same for a message that the netlink crate does not know.
pub(super) fn serialize_raw(kind: u16, payload: &[u8], flags: u16, sequence: u32, out: &mut Vec<u8>) {
    out.extend(((HEADER + payload.len()) as u32).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0_u32.to_ne_bytes());
    out.extend(payload);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests;
