//! Which interfaces are on one PCI device: the ports of a card are removed together.

use std::{fs, path::Path};

use crate::{kernel, net::inventory::Link};

/// Each interface's directory.
const CLASS_NET: &str = "/sys/class/net";

/// The interfaces among `links` on a device such as `0000:3b:00` (all its functions) or `0000:3b:00.1` (one).
pub(super) fn interfaces_of<'l>(
    links: impl Iterator<Item = &'l Link>,
    device: &str,
    function: impl Fn(&Link) -> Option<String>,
) -> Vec<String> {
    let wanted = device.to_ascii_lowercase();
    let on_it = |link: &&Link| {
        function(link).is_some_and(|function| {
            function == wanted || function.split_once('.').is_some_and(|(slot, _)| slot == wanted)
        })
    };
    links.filter(on_it).map(|link| link.name.clone()).collect()
}

/// The PCI function (`domain:bus:slot.function`) that an interface belongs to: the driver's word, which is this network
/// namespace's; else sysfs, where what is behind another bus (USB) lies below its controller's function.
pub(super) fn function(link: &Link) -> Option<String> {
    let told = kernel::bus_of(&link.name).filter(|bus| is_function(bus));
    told.or_else(|| function_of(Path::new(CLASS_NET), link))
}

/// What sysfs says of it; virtio and others lie below their function.
///
/// A sysfs that was mounted in another network namespace shows that one's interfaces, which may have the same names and
/// numbers (sysfs(5); `nsenter --net` mounts none): it is believed only of an interface with the same address, too.
fn function_of(class_net: &Path, link: &Link) -> Option<String> {
    let dir = class_net.join(&link.name);
    let reads = |file: &str| fs::read_to_string(dir.join(file)).map(|text| text.trim().to_owned()).ok();
    if reads("ifindex") != Some(link.ifindex.to_string()) || reads("address") != link.mac.map(mac_text) {
        return None;
    }
    let path = dir.join("device").canonicalize().ok()?;
    let parts = path.components().rev().filter_map(|part| part.as_os_str().to_str());
    parts.map(str::to_owned).find(|part| is_function(part))
}

/// As ip(8) and sysfs write it.
pub(super) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Whether a text has the form `0000:3b:00.0`.
pub(crate) fn is_function(part: &str) -> bool {
    let hex = |text: &str, digits| text.len() == digits && text.chars().all(|c| c.is_ascii_hexdigit());
    let mut fields = part.split([':', '.']);
    let mut next = |digits| fields.next().is_some_and(|field| hex(field, digits));
    let shaped = next(4) && next(2) && next(2) && next(1);
    shaped && fields.next().is_none()
}

#[cfg(test)]
mod tests;
