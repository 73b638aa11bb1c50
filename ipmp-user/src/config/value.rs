//! One value of the file → one checked value. Each function notes its problem and returns `None`.

use std::net::IpAddr;

use ipmp_common::engine::{config::OnGroupFailure, time::Nanos};
use ipnet::IpNet;
use toml::{Spanned, de::DeValue};

use super::problem::{Problems, nearest};

/// A value and its place in the text.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// A value of the file, with the key it belongs to.
pub(super) struct Field<'v, 'i> {
    pub(super) key: &'v str,
    pub(super) at: usize,
    pub(super) value: &'v DeValue<'i>,
}

impl Field<'_, '_> {
    /// `failback is a string`.
    fn found(&self) -> String {
        let kind = match self.value {
            DeValue::String(text) => return format!("{} is the string {text:?}", self.key),
            DeValue::Integer(number) => return format!("{} is the number {}", self.key, number.as_str()),
            DeValue::Float(number) => return format!("{} is the number {}", self.key, number.as_str()),
            DeValue::Boolean(truth) => return format!("{} is {truth}", self.key),
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        format!("{} is {kind}", self.key)
    }

    pub(super) fn boolean(&self, problems: &mut Problems<'_>) -> Option<bool> {
        if let DeValue::Boolean(truth) = self.value {
            return Some(*truth);
        }
        let meant = self.value.as_str().and_then(|text| match text {
            "true" | "yes" | "on" => Some("true"),
            "false" | "no" | "off" => Some("false"),
            _ => None,
        });
        let remedy = match meant {
            Some(meant) => format!("write {} = {meant} without quotes", self.key),
            None => "write true or false without quotes".to_owned(),
        };
        problems.add(self.at, self.found(), remedy);
        None
    }

    pub(super) fn text(&self, problems: &mut Problems<'_>) -> Option<&str> {
        let text = self.value.as_str();
        if text.is_none() {
            problems.add(self.at, self.found(), "write a string in double quotes");
        }
        text
    }

    /// A hardware address.
    pub(super) fn mac(&self, problems: &mut Problems<'_>) -> Option<[u8; 6]> {
        let text = self.text(problems)?;
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        let byte = |part: &str| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok()).flatten();
        let whole =
            mac.iter_mut().all(|place| parts.next().and_then(byte).map(|byte| *place = byte).is_some());
        if whole && parts.next().is_none() {
            // IEEE 802, section 8.2: the first bit says that it is a group's, as the broadcast address is.
            if mac[0] & 1 == 0 && mac != [0; 6] {
                return Some(mac);
            }
            let what = format!("{text:?} is the hardware address of no single interface");
            problems.add(self.at, what, "write the interface's own, as `ip link` shows it");
            return None;
        }
        let remedy = "write it as `ip link` shows it, such as \"52:54:00:12:34:56\"";
        problems.add(self.at, format!("{text:?} is no hardware address"), remedy);
        None
    }

    /// A PCI function.
    pub(super) fn pci(&self, problems: &mut Problems<'_>) -> Option<String> {
        let text = self.text(problems)?.to_ascii_lowercase();
        if crate::daemon::is_pci_function(&text) {
            return Some(text);
        }
        let remedy =
            "write domain, bus, slot and function as `lspci -D` shows them, such as \"0000:3b:00.0\"";
        problems.add(self.at, format!("{text:?} is no PCI function"), remedy);
        None
    }

    /// An integer of `min..=max`.
    pub(super) fn small(&self, min: u8, max: u8, problems: &mut Problems<'_>) -> Option<u8> {
        let number = self
            .value
            .as_integer()
            .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok())
            .and_then(|number| u8::try_from(number).ok())
            .filter(|number| (min..=max).contains(number));
        if number.is_none() {
            problems.add(self.at, self.found(), format!("write a whole number from {min} to {max}"));
        }
        number
    }

    /// A duration with its unit, within `min..=max`.
    pub(super) fn duration(&self, min: Nanos, max: Nanos, problems: &mut Problems<'_>) -> Option<Nanos> {
        const EXAMPLES: &str = r#"durations are strings with a unit, such as "10s", "250ms" or "1m30s""#;
        if let DeValue::Integer(number) = self.value {
            // in.mpathd's FAILURE_DETECTION_TIME counts milliseconds.
            let remedy =
                format!(r#"{EXAMPLES}; if milliseconds were meant: {} = "{}ms""#, self.key, number.as_str());
            problems.add(self.at, format!("{}, without a unit", self.found()), remedy);
            return None;
        }
        let Some(text) = self.value.as_str() else {
            problems.add(self.at, self.found(), EXAMPLES);
            return None;
        };
        let Ok(parsed) = humantime::parse_duration(text) else {
            let (what, remedy) = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                let meant = format!(r#"{EXAMPLES}; if milliseconds were meant: {} = "{text}ms""#, self.key);
                (format!("{}, without a unit", self.found()), meant)
            } else {
                (format!("{}, not a duration", self.found()), EXAMPLES.to_owned())
            };
            problems.add(self.at, what, remedy);
            return None;
        };
        let span = Nanos(u64::try_from(parsed.as_nanos()).unwrap_or(u64::MAX));
        if (min..=max).contains(&span) {
            return Some(span);
        }
        problems.add(
            self.at,
            format!("{}, outside the range", self.found()),
            format!("write a duration from {} to {}", plain(min), plain(max)),
        );
        None
    }

    pub(super) fn on_group_failure(&self, problems: &mut Problems<'_>) -> Option<OnGroupFailure> {
        const WORDS: [&str; 2] = ["keep", "fail"];
        match self.value.as_str() {
            Some("keep") => Some(OnGroupFailure::Keep),
            Some("fail") => Some(OnGroupFailure::Fail),
            Some(other) => {
                let remedy = match nearest(other, &WORDS) {
                    Some(word) => format!("did you mean {word:?}?"),
                    None => r#"write "keep" (leave addresses where they are) or "fail" (withdraw them)"#
                        .to_owned(),
                };
                problems.add(self.at, self.found(), remedy);
                None
            }
            None => {
                problems.add(self.at, self.found(), r#"write "keep" or "fail""#);
                None
            }
        }
    }

    /// The strings of a list, each with its place.
    fn strings(&self, example: &str, problems: &mut Problems<'_>) -> Vec<At<&str>> {
        let DeValue::Array(items) = self.value else {
            let remedy = match self.value.as_str() {
                Some(text) => format!("write a list: {} = [{text:?}]", self.key),
                None => format!("write a list of strings: {} = [{example:?}]", self.key),
            };
            problems.add(self.at, self.found(), remedy);
            return Vec::new();
        };
        let mut strings = Vec::new();
        for item in items {
            let at = item.span().start;
            match item.get_ref().as_str() {
                Some(value) => strings.push(At { at, value }),
                None => problems.add(
                    at,
                    format!("an entry of {} is not a string", self.key),
                    format!("write it in double quotes, as in {example:?}"),
                ),
            }
        }
        strings
    }

    /// A list of data addresses, each with its prefix length.
    pub(super) fn data(&self, problems: &mut Problems<'_>) -> Vec<At<IpNet>> {
        let mut data = Vec::new();
        for At { at, value: text } in self.strings("192.168.10.10/24", problems) {
            match text.parse::<IpNet>().map_err(|_| network_fault(text)).and_then(usable_data) {
                Ok(value) => data.push(At { at, value }),
                Err((what, remedy)) => problems.add(at, format!("data address {text:?} {what}"), remedy),
            }
        }
        data
    }

    /// A list of addresses without prefix length; `role` is `test address` or `target`.
    pub(super) fn hosts(&self, role: &str, problems: &mut Problems<'_>) -> Vec<At<IpAddr>> {
        let mut hosts = Vec::new();
        for At { at, value: text } in self.strings("192.168.10.1", problems) {
            match text.parse::<IpAddr>().map_err(|_| host_fault(text)).and_then(usable_host) {
                Ok(value) => hosts.push(At { at, value }),
                Err((what, remedy)) => problems.add(at, format!("{role} {text:?} {what}"), remedy),
            }
        }
        hosts
    }
}

/// What is wrong, and what to do.
type Fault = (String, String);

fn fault(what: &str, remedy: impl Into<String>) -> Fault {
    (what.to_owned(), remedy.into())
}

/// The range's bounds as one would write them in the file.
fn plain(span: Nanos) -> String {
    format!("{:?}", humantime::format_duration(std::time::Duration::from_nanos(span.0)).to_string())
}

/// Why `text` is no address with prefix length.
fn network_fault(text: &str) -> Fault {
    let example = |ip: IpAddr| match ip {
        IpAddr::V4(_) => format!("{ip}/24"),
        IpAddr::V6(_) => format!("{ip}/64"),
    };
    if let Ok(ip) = text.parse::<IpAddr>() {
        return fault(
            "has no prefix length",
            format!("write it as on the interface, such as {:?}", example(ip)),
        );
    }
    match text.split_once('/') {
        Some((host, _)) if host.parse::<IpAddr>().is_ok() => {
            fault("has an impossible prefix length", "write 1 to 32 for IPv4, 1 to 128 for IPv6")
        }
        Some((host, _)) => host_fault(host),
        None => host_fault(text),
    }
}

/// Why `text` is no address.
fn host_fault(text: &str) -> Fault {
    if let Some((ip, _)) = text.split_once('/').filter(|(ip, _)| ip.parse::<IpAddr>().is_ok()) {
        return fault("has a prefix length", format!("write the address alone: {ip:?}"));
    }
    if let Some((ip, _)) = text.split_once('%').filter(|(ip, _)| ip.parse::<IpAddr>().is_ok()) {
        let remedy = format!("write {ip:?}: every interface of the group uses its own link");
        return fault("names a zone", remedy);
    }
    fault(
        "is not an IP address",
        r#"write one such as "192.168.10.1" or "2001:db8::1"; names are not looked up"#,
    )
}

/// A data address must be one that a host can own on a subnet and that can move to another interface.
fn usable_data(net: IpNet) -> Result<IpNet, Fault> {
    usable_host(net.addr())?;
    if net.prefix_len() == 0 {
        return Err(fault("would make the whole Internet on-link", "write the subnet's prefix length"));
    }
    match net {
        // RFC 3021: on a /31 both addresses are hosts.
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.network() => {
            Err(fault("is the subnet itself", "write the interface's own address, host bits included"))
        }
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.broadcast() => {
            Err(fault("is the subnet's broadcast address", "write the interface's own address"))
        }
        // RFC 4291, section 2.6.1: the subnet-router anycast address; RFC 6164: not so on a /127.
        IpNet::V6(v6) if v6.prefix_len() < 127 && v6.addr() == v6.network() => Err(fault(
            "is the subnet-router anycast address",
            "write the interface's own address, host bits included",
        )),
        IpNet::V6(v6) if v6.addr().is_unicast_link_local() => {
            Err(fault("is link-local and cannot move", "leave it out; every interface keeps its own"))
        }
        IpNet::V4(_) | IpNet::V6(_) => Ok(net),
    }
}

/// An address that one host can own.
fn usable_host(ip: IpAddr) -> Result<IpAddr, Fault> {
    let unicast = "write a unicast address of the link";
    match ip {
        _ if ip.is_unspecified() => Err(fault("is the unspecified address", unicast)),
        _ if ip.is_loopback() => Err(fault("is a loopback address", unicast)),
        _ if ip.is_multicast() => Err(fault("is a multicast address", unicast)),
        IpAddr::V4(v4) if v4.is_broadcast() => Err(fault("is the broadcast address", unicast)),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => {
                Err(fault("is an IPv4 address in IPv6 clothes", format!("write {:?}", v4.to_string())))
            }
            None => Ok(ip),
        },
        IpAddr::V4(_) => Ok(ip),
    }
}

/// The fields of a table in the order of the file.
pub(super) fn fields<'v, 'i>(
    table: &'v toml::de::DeTable<'i>,
) -> impl Iterator<Item = (At<&'v str>, Field<'v, 'i>)> {
    table.iter().map(|(key, value): (&Spanned<_>, &Spanned<_>)| {
        let name: &str = key.get_ref();
        let at = At { at: key.span().start, value: name };
        let field = Field { key: name, at: value.span().start, value: value.get_ref() };
        (at, field)
    })
}
