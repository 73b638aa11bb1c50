use std::{fs, os::unix::fs::symlink};

use super::{function_of, interfaces_of};

#[test]
fn b11_all_ports_of_a_card_are_found_by_its_device() {
    let root = tempfile::tempdir().unwrap();
    let class = root.path().join("class");
    let devices = root.path().join("devices/pci0000:3a/0000:3a:00.0");
    let device = |name: &str, path: &str| {
        fs::create_dir_all(devices.join(path)).unwrap();
        fs::create_dir_all(class.join(name)).unwrap();
        symlink(devices.join(path), class.join(name).join("device")).unwrap();
    };
    device("eth0", "0000:3b:00.0");
    device("eth1", "0000:3b:00.1");
    device("eth2", "0000:3c:00.0");
    device("ens3", "0000:00:03.0/virtio0");
    fs::create_dir_all(class.join("veth0")).unwrap();
    let names = ["ens3", "eth0", "eth1", "eth2", "veth0", "lo"];
    let on = |device: &str| interfaces_of(&class, names.into_iter(), device);
    assert_eq!(on("0000:3b:00"), ["eth0", "eth1"]);
    assert_eq!(on("0000:3B:00.1"), ["eth1"]);
    assert_eq!(on("0000:00:03"), ["ens3"]);
    assert_eq!(on("0000:3b"), Vec::<String>::new());
    assert_eq!(function_of(&class, "veth0"), None);
}
