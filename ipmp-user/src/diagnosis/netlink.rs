//! One question to the kernel at a time, and its answers.

use std::{io, time::Duration};

use nix::sys::{
    socket::{setsockopt, sockopt},
    time::TimeVal,
};
use rtnetlink::{
    packet_core::{
        Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
        NetlinkPayload, NetlinkSerializable,
    },
    sys,
};

/// Drivers that ask their hardware over a slow bus take milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The kernel fills at most 32 KiB for one datagram of a dump (`netlink_dump` in `net/netlink/af_netlink.c`).
const DATAGRAM: usize = 64 << 10;
/// Answers to one question: an interface each, with room to spare.
const MAX_ANSWERS: usize = 16_384;

/// A socket in the network namespace of the calling thread.
#[derive(Debug)]
pub(super) struct Asker {
    socket: sys::Socket,
    sequence: u32,
}

impl Asker {
    /// `protocol` is a `NETLINK_*`.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = sys::Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&sys::SocketAddr::new(0, 0))?;
        let timeout = TimeVal::new(ANSWER_TIMEOUT.as_secs().cast_signed(), 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &timeout)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The answer to one message.
    pub(super) fn ask<M>(&mut self, message: M) -> io::Result<Option<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<M>>,
    {
        Ok(self.put(message, NLM_F_ACK)?.pop())
    }

    /// All of a table.
    pub(super) fn dump<M>(&mut self, message: M) -> io::Result<Vec<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<M>>,
    {
        self.put(message, NLM_F_DUMP)
    }

    fn put<M>(&mut self, message: M, flags: u16) -> io::Result<Vec<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<M>>,
    {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut question = NetlinkMessage::new(header, message.into());
        question.finalize();
        let mut bytes = vec![0; question.buffer_len()];
        question.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let mut datagram = Vec::with_capacity(DATAGRAM);
            self.socket.recv(&mut datagram, 0)?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let answer: NetlinkMessage<M> =
                    NetlinkMessage::deserialize(rest).map_err(|error| malformed(&error))?;
                let length = (answer.header.length as usize).next_multiple_of(4);
                rest = rest.get(length.max(1)..).unwrap_or_default();
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
                }
                if answers.len() > MAX_ANSWERS {
                    return Err(malformed("more answers than there can be interfaces"));
                }
            }
        }
    }
}

fn malformed(what: &(impl ToString + ?Sized)) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// Attributes one behind the other.
pub(super) fn bytes_of(attributes: &[impl Emitable]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for attribute in attributes {
        let start = bytes.len();
        bytes.resize(start + attribute.buffer_len(), 0);
        if let Some(room) = bytes.get_mut(start..) {
            attribute.emit(room);
        }
    }
    bytes
}
