//! `/etc/hosts` and `/etc/netmasks` of the old system.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

/// Names of hosts, as in hosts(5).
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    by_name: BTreeMap<String, Vec<IpAddr>>,
    by_address: BTreeMap<IpAddr, String>,
}

impl Hosts {
    /// Adds the lines of a file; earlier ones win.
    pub(crate) fn add(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for (index, name) in words.enumerate() {
                if index == 0 {
                    self.by_address.entry(address).or_insert_with(|| name.to_owned());
                }
                self.by_name.entry(name.to_ascii_lowercase()).or_default().push(address);
            }
        }
    }

    /// The name's first address of the family.
    pub(super) fn address(&self, name: &str, ipv6: bool) -> Option<IpAddr> {
        let known = self.by_name.get(&name.to_ascii_lowercase())?;
        known.iter().copied().find(|address| address.is_ipv6() == ipv6)
    }

    /// The address's name.
    pub(crate) fn name(&self, address: IpAddr) -> Option<&str> {
        self.by_address.get(&address).map(String::as_str)
    }
}

/// Networks and their masks, as in Solaris's netmasks(5).
#[derive(Clone, Debug, Default)]
pub(super) struct Netmasks {
    masks: Vec<(Ipv4Addr, u8)>,
}

impl Netmasks {
    pub(super) fn add(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let pair = words.next().zip(words.next());
            let known = pair.and_then(|(net, mask)| Some((net.parse().ok()?, mask_length(mask)?)));
            self.masks.extend(known);
        }
    }

    /// The mask of `address`: of the entry for its smallest subnet, else of one for its classful network.
    pub(super) fn length(&self, address: Ipv4Addr) -> Option<u8> {
        let covers = |net: Ipv4Addr, length: u8| truncate(address, length) == net;
        let subnet =
            self.masks.iter().filter(|(net, length)| covers(*net, *length)).max_by_key(|(_, length)| *length);
        let classful = classful_length(address).map(|length| truncate(address, length));
        let network = || self.masks.iter().find(|(net, _)| Some(*net) == classful);
        subnet.or_else(network).map(|(_, length)| *length)
    }
}

/// The prefix length of a class A, B or C address.
pub(super) const fn classful_length(address: Ipv4Addr) -> Option<u8> {
    match address.octets()[0] {
        0..=127 => Some(8),
        128..=191 => Some(16),
        192..=223 => Some(24),
        224..=255 => None,
    }
}

/// The prefix length that `255.255.255.0` or `0xffffff00` stands for; none for a mask with holes.
pub(super) fn mask_length(text: &str) -> Option<u8> {
    let bits = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => u32::from(text.parse::<Ipv4Addr>().ok()?),
    };
    // At most 32.
    (bits.leading_ones() + bits.trailing_zeros() == u32::BITS).then_some(bits.leading_ones() as u8)
}

/// The network of `address`.
pub(super) fn truncate(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(u32::BITS - u32::from(length.min(32))).unwrap_or(0);
    Ipv4Addr::from(u32::from(address) & mask)
}
