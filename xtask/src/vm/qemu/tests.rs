use super::*;

fn plan() -> Plan {
    Plan {
        kernel: "6.1.0-56-amd64".into(),
        image: "/kernels/vmlinux".into(),
        module_dir: "/kernels/lib/modules/6.1.0-56-amd64".into(),
        accelerator: Accelerator::Tcg { tsc_khz: Some(2_596_125) },
        cpus: 2,
        memory_mib: 1536,
        nics: Vec::new(),
        modules: Vec::new(),
        shares: vec!["/the/tree, really".into()],
        verbose: false,
    }
}

fn line(plan: &Plan) -> String {
    let words = plan.arguments(Path::new("/run/vm"));
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_root_is_read_only_and_the_tree_is_not() {
    let line = line(&plan());
    assert!(line.contains("id=root,path=/,security_model=none,multidevs=remap,readonly=on"), "{line}");
    assert!(
        line.contains("id=share0,path=/the/tree,, really,security_model=none,multidevs=remap -device"),
        "{line}"
    );
}

#[test]
fn only_emulation_is_told_the_clock() {
    assert!(line(&plan()).contains("tsc=reliable tsc_early_khz=2596125"));
    let kvm = line(&Plan { accelerator: Accelerator::Kvm, ..plan() });
    assert!(kvm.contains("-accel kvm -cpu host") && !kvm.contains("tsc"), "{kvm}");
}

#[test]
fn nics_share_a_segment_and_bring_the_monitor_into_the_guest() {
    assert!(!line(&plan()).contains("qmp"));
    let nics = vec![Nic::VirtioNet, Nic::VirtioNet, Nic::VirtioNet, Nic::Igb];
    let line = line(&Plan { nics, ..plan() });
    for part in [
        "hubport,id=hub0,hubid=0",
        "virtio-net-pci,netdev=hub0,id=nic0,mac=52:54:00:69:70:00,addr=10.0,multifunction=on ",
        "virtio-net-pci,netdev=hub1,id=nic1,mac=52:54:00:69:70:01,addr=10.1 ",
        "virtio-net-pci,netdev=hub2,id=nic2,mac=52:54:00:69:70:02 ",
        "pcie-root-port,id=port3,chassis=4",
        "igb,netdev=hub3,id=nic3,mac=52:54:00:69:70:03,bus=port3",
        "virtserialport,chardev=qmp,name=ipmp.qmp",
    ] {
        assert!(format!("{line} ").contains(part), "{part} in {line}");
    }
}
