use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};

use super::*;
use crate::net::{Renames, inventory::Inventory, monitor::Change};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// An interface as the kernel tells of it.
fn link(permanent: Option<[u8; 6]>, mac: [u8; 6]) -> Link {
    let mut inventory = Inventory::default();
    add(&mut inventory, (7, "eth7"), permanent, mac);
    inventory.link(7).unwrap().clone()
}

fn add(inventory: &mut Inventory, (ifindex, name): (u32, &str), permanent: Option<[u8; 6]>, mac: [u8; 6]) {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes.push(LinkAttribute::IfName(name.into()));
    message.attributes.push(LinkAttribute::Address(mac.to_vec()));
    message.attributes.extend(permanent.map(|mac| LinkAttribute::PermAddress(mac.to_vec())));
    let news = inventory.update(rtnetlink::packet_route::RouteNetlinkMessage::NewLink(message));
    assert!(matches!(news, Some(Change::Link { .. })));
}

/// A file in which these sections are tied so.
fn file(sections: &[(&str, Identity)]) -> FileConfig {
    let mut text = String::new();
    for (name, identity) in sections {
        text.extend(["[group.g.interface.", name, "]\n"]);
        text.extend(identity.mac.map(|mac| format!("mac = \"{}\"\n", pci::mac_text(mac))));
        text.extend(identity.pci.as_ref().map(|pci| format!("pci = \"{pci}\"\n")));
    }
    crate::config::parse("it", text.as_bytes()).unwrap()
}

fn identities(dir: &Path, identity: Identity) -> Identities {
    Identities::load(dir, &file(&[("eth7", identity)]))
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
    let fresh = || Identities::load(dir.path(), &file(&[("eth9", Identity::default())]));
    let mut first = fresh();
    first.note(&link(None, MAC));
    assert_eq!(first.seen, BTreeMap::new(), "nothing tells virtual devices apart");
    first.note(&link(Some(MAC), MAC));
    let second = fresh();
    let known = second.seen.get("eth7").unwrap();
    assert_eq!(known.words(), "52:54:00:12:34:56");
    assert_ne!(known, &Seen::of(&link(Some([2; 6]), MAC)));
}

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

fn tied(mac: [u8; 6]) -> Identity {
    Identity { mac: Some(mac), pci: None }
}

/// The kernel's interfaces, each with its permanent address.
fn host(links: &[(&str, [u8; 6])]) -> Inventory {
    let mut inventory = Inventory::default();
    for (ifindex, (name, mac)) in (1..).zip(links) {
        add(&mut inventory, (ifindex, name), Some(*mac), *mac);
    }
    inventory
}

/// What the sections' hardware is called, and the renames since what was known before.
fn follow(
    identities: &mut Identities,
    file: &FileConfig,
    links: &[(&str, [u8; 6])],
) -> (Vec<String>, Renames) {
    let renames = identities.follow(&host(links), &file.engine);
    let config = identities.read(&file.engine);
    (config.groups[0].interfaces.iter().map(|interface| interface.name.clone()).collect(), renames)
}

fn renames(pairs: &[(&str, &str)]) -> Renames {
    pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

#[test]
fn b28_tied_hardware_is_found_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&[("eth0", tied(A)), ("eth1", tied(B))]);
    let mut identities = Identities::load(dir.path(), &file);
    let mut now = |links: &[(&str, [u8; 6])]| follow(&mut identities, &file, links);
    assert_eq!(now(&[("eth0", A), ("eth1", B)]), (vec!["eth0".into(), "eth1".into()], renames(&[])));
    let moved = (vec!["eth3".into(), "eth1".into()], renames(&[("eth0", "eth3")]));
    assert_eq!(now(&[("eth3", A), ("eth1", B)]), moved);
    let stays = (vec!["eth3".into(), "eth1".into()], renames(&[]));
    assert_eq!(now(&[("eth1", B), ("eth0", [9; 6])]), stays, "absent, it keeps its last name");
    let swapped = (vec!["eth1".into(), "eth0".into()], renames(&[("eth1", "eth0"), ("eth3", "eth1")]));
    assert_eq!(now(&[("eth0", B), ("eth1", A)]), swapped);
    let back = (vec!["eth0".into(), "eth1".into()], renames(&[("eth0", "eth1"), ("eth1", "eth0")]));
    assert_eq!(now(&[("eth1", B)]), back, "its last name is another's, so it has its section's");
    let (a, b) = (pci::mac_text(A), "eth0".into());
    let dead = (vec![a.clone(), b], renames(&[("eth0", &a), ("eth1", "eth0")]));
    assert_eq!(now(&[("eth0", B)]), dead, "no name of a link is left for it");
    identities.save();
    let later = Identities::load(dir.path(), &file);
    assert_eq!(later.present("eth1"), "eth0");
    assert_eq!(later.present("eth0"), pci::mac_text(A), "a later daemon knows it");
}

#[test]
fn b28_a_name_with_a_section_of_its_own_is_not_taken_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&[("eth0", tied(A)), ("eth1", Identity::default())]);
    let mut identities = Identities::load(dir.path(), &file);
    let (names, renames) = follow(&mut identities, &file, &[("eth1", A), ("eth0", B)]);
    assert_eq!((names, renames), (vec!["eth0".into(), "eth1".into()], Renames::new()));
    assert_eq!(
        identities.dispute("eth0").unwrap(),
        "its hardware is called eth1 now, and eth1 has a section of its own: tie that to its hardware, too (mac or pci)"
    );
    assert_eq!(identities.dispute("eth1"), None);
}

#[test]
fn b28_what_only_wears_an_address_stands_behind_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&[("eth0", tied(A))]);
    let mut identities = Identities::load(dir.path(), &file);
    let mut inventory = host(&[("eth3", A)]);
    add(&mut inventory, (8, "eth3.100"), None, A);
    add(&mut inventory, (9, "eth0"), None, A);
    identities.follow(&inventory, &file.engine);
    assert_eq!(identities.present("eth0"), "eth3");
    let mut copies = Inventory::default();
    add(&mut copies, (8, "veth1"), None, A);
    add(&mut copies, (9, "veth2"), None, A);
    identities.follow(&copies, &file.engine);
    assert_eq!(identities.present("eth0"), "eth3", "either may be meant, so neither is taken");
}
