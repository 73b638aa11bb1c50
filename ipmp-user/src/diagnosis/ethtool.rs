//! What the driver says of a link, by ethtool's netlink interface (Documentation/networking/ethtool-netlink.rst, kernel
//! 5.6). Only `GET` requests are in this file: a setting is never changed. They need no privilege.
//!
//! The generic netlink framing is netlink-packet-generic's. The messages are read here, because the `ethtool` crate keeps
//! of our own modes only the advertised ones and knows no link states (why there is no link), and brings a second
//! version of the asynchronous netlink stack along.

use std::io;

use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use rtnetlink::{
    packet_core::{
        DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NlasIterator, ParseableParametrized, parse_string,
        parse_u8, parse_u32,
    },
    sys::protocols::NETLINK_GENERIC,
};
use serde::{Deserialize, Serialize};

use super::netlink::{Asker, bytes_of};

// include/uapi/linux/ethtool_netlink.h
const MSG_LINKMODES_GET: u8 = 4;
const MSG_LINKSTATE_GET: u8 = 6;
const HEADER_DEV_INDEX: u16 = 1;
/// The first attribute of every request.
const HEADER: u16 = 1;
const LINKMODES_AUTONEG: u16 = 2;
const LINKMODES_OURS: u16 = 3;
const LINKMODES_PEER: u16 = 4;
const LINKMODES_SPEED: u16 = 5;
const LINKMODES_DUPLEX: u16 = 6;
const LINKSTATE_EXT_STATE: u16 = 5;
const LINKSTATE_EXT_SUBSTATE: u16 = 6;
const BITSET_BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// `SPEED_UNKNOWN`.
const SPEED_UNKNOWN: u32 = u32::MAX;

/// Whether both ends may send at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplex {
    /// One at a time.
    Half,
    /// Both.
    Full,
}

/// What the driver says of a link. Empty where it says nothing, as most virtual devices do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    /// In 10⁶ bit/s; null while there is no link, or if the driver cannot tell.
    pub speed_mbps: Option<u32>,
    /// Null while there is no link, or if the driver cannot tell.
    pub duplex: Option<Duplex>,
    /// Whether the link's mode is negotiated; null if the device knows no negotiation.
    pub autonegotiation: Option<bool>,
    /// Modes of the device, in ethtool's names (`1000baseT/Full`).
    pub supported: Vec<String>,
    /// Those that are offered to the partner.
    pub advertised: Vec<String>,
    /// Those that the partner offers; empty also where the driver cannot tell.
    pub partner: Vec<String>,
    /// Why there is no link, in the words of ethtool(8); null if there is one, or if the driver cannot tell.
    pub no_link_because: Option<String>,
}

/// In modes: the device, or the partner, can negotiate.
pub(super) const AUTONEG: &str = "Autoneg";

/// A request or an answer: attributes behind the generic netlink header.
#[derive(Debug)]
struct Message {
    command: u8,
    attributes: Vec<u8>,
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        "ethtool"
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        if let Some(room) = buffer.get_mut(..self.attributes.len()) {
            room.copy_from_slice(&self.attributes);
        }
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(buffer: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { command: header.cmd, attributes: buffer.to_vec() })
    }
}

/// A way to the drivers.
#[derive(Debug)]
pub(super) struct Ethtool {
    asker: Asker,
    family: u16,
}

impl Ethtool {
    /// # Errors
    /// When the kernel has no such interface.
    pub(super) fn open() -> io::Result<Self> {
        let mut asker = Asker::open(NETLINK_GENERIC)?;
        let question = GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(Message::family_name().to_owned())],
        };
        let answer = asker.ask(GenlMessage::from_payload(question))?;
        let attributes = answer.map(|message| message.payload.nlas).unwrap_or_default();
        let id = |attribute: &GenlCtrlAttrs| {
            if let GenlCtrlAttrs::FamilyId(id) = attribute { Some(*id) } else { None }
        };
        let family = attributes.iter().find_map(id).ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { asker, family })
    }

    /// What the driver of an interface says of its link.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if it says nothing at all; `ENODEV` if it is gone.
    pub(super) fn modes(&mut self, ifindex: u32) -> io::Result<Modes> {
        let mut modes = Modes::default();
        let told = self.ask(MSG_LINKMODES_GET, ifindex)?;
        read_modes(&told, &mut modes).map_err(|error| malformed(&error))?;
        // Few drivers know why.
        if let Ok(told) = self.ask(MSG_LINKSTATE_GET, ifindex) {
            modes.no_link_because = read_state(&told).map_err(|error| malformed(&error))?;
        }
        Ok(modes)
    }

    fn ask(&mut self, command: u8, ifindex: u32) -> io::Result<Vec<u8>> {
        let device = DefaultNla::new(HEADER_DEV_INDEX, ifindex.to_ne_bytes().to_vec());
        let header = DefaultNla::new(HEADER | NLA_F_NESTED, bytes_of(&[device]));
        let mut message = GenlMessage::from_payload(Message { command, attributes: bytes_of(&[header]) });
        message.set_resolved_family_id(self.family);
        let answer = self.asker.ask(message)?;
        Ok(answer.map(|message| message.payload.attributes).unwrap_or_default())
    }
}

fn malformed(error: &DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn read_modes(attributes: &[u8], modes: &mut Modes) -> Result<(), DecodeError> {
    let mut autonegotiation = None;
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        match attribute.kind() {
            LINKMODES_AUTONEG => autonegotiation = Some(parse_u8(attribute.value())? != 0),
            LINKMODES_OURS => {
                let bits = read_bits(attribute.value())?;
                modes.advertised =
                    bits.iter().filter(|(_, set)| *set).map(|(name, _)| name.clone()).collect();
                modes.supported = bits.into_iter().map(|(name, _)| name).collect();
            }
            LINKMODES_PEER => {
                modes.partner = read_bits(attribute.value())?.into_iter().map(|(name, _)| name).collect();
            }
            LINKMODES_SPEED => {
                let speed = parse_u32(attribute.value())?;
                modes.speed_mbps = Some(speed).filter(|speed| !matches!(*speed, 0 | SPEED_UNKNOWN));
            }
            LINKMODES_DUPLEX => {
                modes.duplex = match parse_u8(attribute.value())? {
                    0 => Some(Duplex::Half),
                    1 => Some(Duplex::Full),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    // A device that cannot negotiate reports "off", which is no setting of anybody's.
    let can = modes.supported.iter().any(|mode| mode == AUTONEG);
    modes.autonegotiation = autonegotiation.filter(|on| *on || can);
    Ok(())
}

/// The named bits of a verbose bitset: those in its mask, or, without one, those that are set; and which are set.
fn read_bits(bitset: &[u8]) -> Result<Vec<(String, bool)>, DecodeError> {
    let mut bits = Vec::new();
    for attribute in NlasIterator::new(bitset) {
        let attribute = attribute?;
        if attribute.kind() != BITSET_BITS {
            continue;
        }
        for bit in NlasIterator::new(attribute.value()) {
            let bit = bit?;
            if bit.kind() != BIT {
                continue;
            }
            let (mut name, mut set) = (None, false);
            for property in NlasIterator::new(bit.value()) {
                let property = property?;
                match property.kind() {
                    BIT_NAME => name = Some(parse_string(property.value())?),
                    BIT_VALUE => set = true,
                    _ => {}
                }
            }
            bits.extend(name.map(|name| (name, set)));
        }
    }
    Ok(bits)
}

fn read_state(attributes: &[u8]) -> Result<Option<String>, DecodeError> {
    let (mut state, mut substate) = (None, None);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        match attribute.kind() {
            LINKSTATE_EXT_STATE => state = Some(parse_u8(attribute.value())?),
            LINKSTATE_EXT_SUBSTATE => substate = Some(parse_u8(attribute.value())?),
            _ => {}
        }
    }
    Ok(state.map(|state| state_text(state, substate)))
}

/// `enum ethtool_link_ext_state` and, for negotiation, `enum ethtool_link_ext_substate_autoneg`
/// (include/uapi/linux/ethtool.h).
fn state_text(state: u8, substate: Option<u8>) -> String {
    let text = match (state, substate) {
        (0, Some(1)) => "autonegotiation: no partner detected",
        (0, Some(2)) => "autonegotiation: acknowledgement not received",
        (0, Some(3)) => "autonegotiation: next page exchange failed",
        (0, Some(4)) => "autonegotiation: no partner detected in forced mode",
        (0, Some(5)) => "autonegotiation: forward error correction mismatch",
        (0, Some(6)) => "autonegotiation: no common mode",
        (0, _) => "autonegotiation failed",
        (1, _) => "link training failed",
        (2, _) => "logical mismatch",
        (3, _) => "bad signal integrity",
        (4, _) => "no cable",
        (5, _) => "cable issue",
        (6, _) => "module's EEPROM issue",
        (7, _) => "calibration failed",
        (8, _) => "power budget exceeded",
        (9, _) => "overheated",
        (10, _) => "module not ready",
        (other, _) => return format!("state {other}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> DefaultNla {
        DefaultNla::new(kind, value.to_vec())
    }

    fn bitset(bits: &[(&str, bool)]) -> Vec<u8> {
        let bits: Vec<DefaultNla> = bits
            .iter()
            .map(|(name, set)| {
                let mut properties = vec![attribute(BIT_NAME, format!("{name}\0").as_bytes())];
                properties.extend(set.then(|| attribute(BIT_VALUE, &[])));
                attribute(BIT | NLA_F_NESTED, &bytes_of(&properties))
            })
            .collect();
        bytes_of(&[attribute(BITSET_BITS | NLA_F_NESTED, &bytes_of(&bits))])
    }

    #[test]
    fn a36_a37_a38_speed_duplex_and_both_ends_modes_are_read() {
        let ours = bitset(&[("Autoneg", true), ("100baseT/Full", true), ("1000baseT/Full", false)]);
        let told = bytes_of(&[
            attribute(LINKMODES_AUTONEG, &[1]),
            attribute(LINKMODES_OURS, &ours),
            attribute(LINKMODES_PEER, &bitset(&[("100baseT/Full", false)])),
            attribute(LINKMODES_SPEED, &100_u32.to_ne_bytes()),
            attribute(LINKMODES_DUPLEX, &[0]),
        ]);
        let mut modes = Modes::default();
        read_modes(&told, &mut modes).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let wanted = Modes {
            speed_mbps: Some(100),
            duplex: Some(Duplex::Half),
            autonegotiation: Some(true),
            supported: names(&["Autoneg", "100baseT/Full", "1000baseT/Full"]),
            advertised: names(&["Autoneg", "100baseT/Full"]),
            partner: names(&["100baseT/Full"]),
            no_link_because: None,
        };
        assert_eq!(modes, wanted);
    }

    #[test]
    fn what_a_driver_cannot_tell_is_unknown() {
        let told = bytes_of(&[
            attribute(LINKMODES_AUTONEG, &[0]),
            attribute(LINKMODES_SPEED, &SPEED_UNKNOWN.to_ne_bytes()),
            attribute(LINKMODES_DUPLEX, &[0xff]),
        ]);
        let mut modes = Modes::default();
        read_modes(&told, &mut modes).unwrap();
        assert_eq!(modes, Modes::default());
        let told = bytes_of(&[attribute(LINKSTATE_EXT_STATE, &[0]), attribute(LINKSTATE_EXT_SUBSTATE, &[1])]);
        assert_eq!(read_state(&told).unwrap().as_deref(), Some("autonegotiation: no partner detected"));
        assert_eq!(read_state(&[]).unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics_the_reader(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = read_modes(&bytes, &mut Modes::default());
            let _ = read_state(&bytes);
        }
    }
}
