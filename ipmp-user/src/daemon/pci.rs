//! Which interfaces are on one PCI device: the ports of a card are removed together.

use std::path::Path;

/// Each interface's directory.
pub(super) const CLASS_NET: &str = "/sys/class/net";

/// The interfaces among `names` on a device such as `0000:3b:00` (all its functions) or `0000:3b:00.1` (one).
pub(super) fn interfaces_of<'n>(
    class_net: &Path,
    names: impl Iterator<Item = &'n str>,
    device: &str,
) -> Vec<String> {
    let wanted = device.to_ascii_lowercase();
    let on_it = |name: &&str| {
        function_of(class_net, name).is_some_and(|function| {
            function == wanted || function.split_once('.').is_some_and(|(slot, _)| slot == wanted)
        })
    };
    names.filter(on_it).map(str::to_owned).collect()
}

/// The PCI function (`domain:bus:slot.function`) that an interface belongs to; virtio and others lie below theirs.
pub(super) fn function_of(class_net: &Path, name: &str) -> Option<String> {
    let path = class_net.join(name).join("device").canonicalize().ok()?;
    let parts = path.components().rev().filter_map(|part| part.as_os_str().to_str());
    parts.map(str::to_owned).find(|part| is_function(part))
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
