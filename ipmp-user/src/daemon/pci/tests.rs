use std::{fs, os::unix::fs::symlink, path::Path};

use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};

use super::{function_of, interfaces_of, mac_text};
use crate::net::inventory::{Inventory, Link};

/// A kernel's interfaces, numbered from 1; the number is the address's last byte, too.
fn links(names: &[&str]) -> Vec<Link> {
    let mut inventory = Inventory::default();
    for (ifindex, name) in (1..).zip(names) {
        let mut message = LinkMessage::default();
        message.header.index = u32::from(ifindex);
        message.attributes.push(LinkAttribute::IfName((*name).to_owned()));
        message.attributes.push(LinkAttribute::Address([2, 0, 0, 0, 0, ifindex].to_vec()));
        inventory.update(RouteNetlinkMessage::NewLink(message));
    }
    inventory.links.into_values().collect()
}

/// An interface's directory, and the device it is on.
fn show(class: &Path, link: &Link, device: Option<&Path>) {
    let dir = class.join(&link.name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("ifindex"), format!("{}\n", link.ifindex)).unwrap();
    fs::write(dir.join("address"), format!("{}\n", mac_text(link.mac.unwrap()))).unwrap();
    if let Some(device) = device {
        fs::create_dir_all(device).unwrap();
        symlink(device, dir.join("device")).unwrap();
    }
}

#[test]
fn b11_all_ports_of_a_card_are_found_by_its_device() {
    let root = tempfile::tempdir().unwrap();
    let class = root.path().join("class");
    let devices = root.path().join("devices/pci0000:3a/0000:3a:00.0");
    let links = links(&["ens3", "eth0", "eth1", "eth2", "veth0", "lo"]);
    let places = [
        Some("0000:00:03.0/virtio0"),
        Some("0000:3b:00.0"),
        Some("0000:3b:00.1"),
        Some("0000:3c:00.0"),
        None,
    ];
    for (link, place) in links.iter().zip(places) {
        show(&class, link, place.map(|place| devices.join(place)).as_deref());
    }
    let on = |device: &str| interfaces_of(links.iter(), device, |link| function_of(&class, link));
    assert_eq!(on("0000:3b:00"), ["eth0", "eth1"]);
    assert_eq!(on("0000:3B:00.1"), ["eth1"]);
    assert_eq!(on("0000:00:03"), ["ens3"]);
    assert_eq!(on("0000:3b"), Vec::<String>::new());
    assert_eq!(function_of(&class, &links[4]), None);
}

#[test]
fn the_sysfs_of_another_network_namespace_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let (class, device) = (root.path().join("class"), root.path().join("devices/0000:3b:00.0"));
    let theirs = links(&["eth0", "eth1"]);
    show(&class, &theirs[0], Some(&device));
    show(&class, &theirs[1], Some(&device));
    let function = |link: &Link| function_of(&class, link);
    let mut ours = theirs.clone();
    ours[0].ifindex = 7;
    ours[1].mac = Some([2; 6]);
    assert_eq!(interfaces_of(theirs.iter(), "0000:3b:00", function).len(), 2);
    assert_eq!(interfaces_of(ours.iter(), "0000:3b:00", function), Vec::<String>::new());
}
