//! Offsets of a few fields in the running kernel's structures, from its own type information
//! (Documentation/bpf/btf.rst). Rust has no CO-RE relocations, so these go to the programs through `.rodata`.

use std::{fs, io};

use super::namespace::Namespace;

/// Where the kernel shows its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Anonymous structures are looked into this deep.
const MAX_DEPTH: usize = 8;

const MAGIC: u16 = 0xeb9f;
// BTF_KIND_*
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;

/// Byte offsets; `u32::MAX` where the kernel does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) device_ifindex: u32,
    pub(super) device_net: u32,
    pub(super) device_state: u32,
    pub(super) namespace_cookie: u32,
    pub(super) namespace_inode: u32,
}

impl Offsets {
    /// What the programs take for "unknown".
    pub(super) const UNKNOWN: Self = Self {
        device_ifindex: u32::MAX,
        device_net: u32::MAX,
        device_state: u32::MAX,
        namespace_cookie: u32::MAX,
        namespace_inode: u32::MAX,
    };

    /// Those of the running kernel.
    pub(super) fn of_running_kernel() -> io::Result<Self> {
        let data = fs::read(VMLINUX)?;
        let types = Types::parse(&data)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed type information"))?;
        let find = |name, field| types.field_offset(name, field).unwrap_or(u32::MAX);
        Ok(Self {
            device_ifindex: find("net_device", "ifindex"),
            // possible_net_t: a structure whose one member, at offset 0, is the pointer.
            device_net: find("net_device", "nd_net"),
            device_state: find("net_device", "state"),
            namespace_cookie: find("net", "net_cookie"),
            namespace_inode: types
                .field_offset("net", "ns")
                .zip(types.field_offset("ns_common", "inum"))
                .map_or(u32::MAX, |(common, inode)| common + inode),
        })
    }

    /// With only what tells a namespace by the name that it goes by: the programs read the cookie where they are told of it.
    pub(super) const fn to_tell(self, namespace: Namespace) -> Self {
        match namespace {
            Namespace::Cookie(_) => Self { namespace_inode: u32::MAX, ..self },
            Namespace::Inode(_) => Self { namespace_cookie: u32::MAX, ..self },
            Namespace::Unknown => Self::UNKNOWN,
        }
    }

    /// Whether the carrier programs can work with these.
    pub(super) const fn complete(&self) -> bool {
        self.device_ifindex != u32::MAX
            && self.device_net != u32::MAX
            && self.device_state != u32::MAX
            && (self.namespace_cookie != u32::MAX || self.namespace_inode != u32::MAX)
    }
}

struct Types<'a> {
    records: &'a [u8],
    strings: &'a [u8],
    /// Offset of each record, by its number less one.
    index: Vec<usize>,
}

fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    data.get(offset..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// A structure's or union's header.
struct Header {
    name: u32,
    kind: u32,
    members: usize,
    /// Member offsets carry a bit-field size in their upper byte.
    bitfields: bool,
}

impl<'a> Types<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let magic = data.first_chunk().copied().map(u16::from_ne_bytes)?;
        if magic != MAGIC {
            return None;
        }
        let header = u32_at(data, 4)? as usize;
        let section = |offset_at| {
            let start = header + u32_at(data, offset_at)? as usize;
            data.get(start..start + u32_at(data, offset_at + 4)? as usize)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let mut index = Vec::new();
        let mut at = 0;
        while at < types.len() {
            index.push(at);
            at += record_len(types, at)?;
        }
        Some(Self { records: types, strings, index })
    }

    fn header(&self, at: usize) -> Option<Header> {
        let info = u32_at(self.records, at + 4)?;
        Some(Header {
            name: u32_at(self.records, at)?,
            kind: info >> 24 & 0x1f,
            members: (info & 0xffff) as usize,
            bitfields: info >> 31 == 1,
        })
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        self.strings
            .get(offset as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Offset in bytes of `field` in `struct name`, also inside anonymous members.
    fn field_offset(&self, name: &str, field: &str) -> Option<u32> {
        let structure = self.index.iter().copied().find(|&at| {
            self.header(at).is_some_and(|h| h.kind == STRUCT && h.members > 0 && self.is_named(h.name, name))
        })?;
        self.search(structure, field, 0).map(|bits| bits / 8)
    }

    fn search(&self, at: usize, field: &str, depth: usize) -> Option<u32> {
        let header = self.header(at)?;
        if depth > MAX_DEPTH || (header.kind != STRUCT && header.kind != UNION) {
            return None;
        }
        (0..header.members).find_map(|number| {
            let member = at + 12 + 12 * number;
            let raw = u32_at(self.records, member + 8)?;
            let offset = if header.bitfields { raw & 0x00ff_ffff } else { raw };
            let name = u32_at(self.records, member)?;
            if self.is_named(name, field) {
                return Some(offset);
            }
            if !self.is_named(name, "") {
                return None;
            }
            let inner = *self.index.get((u32_at(self.records, member + 4)? as usize).checked_sub(1)?)?;
            Some(offset + self.search(inner, field, depth + 1)?)
        })
    }
}

/// Bytes of the type record at `at`, at least its 12 bytes of header.
fn record_len(types: &[u8], at: usize) -> Option<usize> {
    let info = u32_at(types, at + 4)?;
    let count = (info & 0xffff) as usize;
    Some(
        12 + match info >> 24 & 0x1f {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            STRUCT | UNION | DATASEC | ENUM64 => 12 * count,
            ENUM | FUNC_PROTO => 8 * count,
            _ => 0,
        },
    )
}

#[cfg(test)]
mod tests;
