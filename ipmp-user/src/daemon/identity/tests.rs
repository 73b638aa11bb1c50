use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};

use super::*;
use crate::net::{inventory::Inventory, monitor::Change};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// An interface as the kernel tells of it.
fn link(permanent: Option<[u8; 6]>, mac: [u8; 6]) -> Link {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.attributes.push(LinkAttribute::IfName("eth7".into()));
    message.attributes.push(LinkAttribute::Address(mac.to_vec()));
    message.attributes.extend(permanent.map(|mac| LinkAttribute::PermAddress(mac.to_vec())));
    let mut inventory = Inventory::default();
    let news = inventory.update(rtnetlink::packet_route::RouteNetlinkMessage::NewLink(message));
    assert!(matches!(news, Some(Change::Link { .. })));
    inventory.link(7).unwrap().clone()
}

fn identities(dir: &Path, identity: Identity) -> Identities {
    Identities::load(dir, BTreeMap::from([("eth7".to_owned(), identity)]))
}

#[test]
fn b28_a_name_is_tied_to_a_hardware_address_if_so_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let by_mac = identities(dir.path(), Identity { mac: Some(MAC), pci: None });
    assert!(by_mac.accepts(&link(Some(MAC), [2; 6])), "the permanent one counts");
    assert!(by_mac.accepts(&link(None, MAC)), "a virtual device has no other");
    assert!(!by_mac.accepts(&link(Some([2; 6]), MAC)));
    let why = by_mac.refusal(&link(Some([2; 6]), MAC)).unwrap();
    assert_eq!(why, "its hardware address is 02:02:02:02:02:02, and mac says 52:54:00:12:34:56");
    let by_pci = identities(dir.path(), Identity { mac: None, pci: Some("0000:3b:00.0".into()) });
    assert_eq!(
        by_pci.refusal(&link(None, MAC)).unwrap(),
        "it is at no PCI device, and pci says 0000:3b:00.0"
    );
    assert!(identities(dir.path(), Identity::default()).accepts(&link(None, MAC)), "by its name alone");
}

#[test]
fn b28_a_name_that_means_other_hardware_is_noticed_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = || Identities::load(dir.path(), BTreeMap::new());
    let mut first = fresh();
    first.note(&link(None, MAC));
    assert_eq!(first.seen, BTreeMap::new(), "nothing tells virtual devices apart");
    first.note(&link(Some(MAC), MAC));
    let second = fresh();
    let known = second.seen.get("eth7").unwrap();
    assert_eq!(known.words(), "52:54:00:12:34:56");
    assert_ne!(known, &Seen::of(&link(Some([2; 6]), MAC)));
}
