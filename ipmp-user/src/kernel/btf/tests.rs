use super::*;

/// Type information with `struct net_device { union { struct { u64 state; }; }; int ifindex; }`.
fn sample() -> Vec<u8> {
    let strings = b"\0net_device\0state\0ifindex\0u64\0";
    let name = |text: &str| {
        strings.windows(text.len()).position(|window| window == text.as_bytes()).map_or(0, |at| at as u32)
    };
    let types: Vec<u32> = [
        // 1: u64
        &[name("u64"), INT << 24, 8, 64][..],
        // 2: struct { u64 state; }
        &[0, STRUCT << 24 | 1, 8, name("state"), 1, 0],
        // 3: union { struct 2; }
        &[0, UNION << 24 | 1, 8, 0, 2, 0],
        // 4: struct net_device
        &[name("net_device"), STRUCT << 24 | 2, 24, 0, 3, 64, name("ifindex"), 1, 128],
    ]
    .concat();
    let words = [24, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32];
    let mut data = MAGIC.to_ne_bytes().to_vec();
    data.extend([1, 0]);
    data.extend(words.iter().chain(&types).flat_map(|word| word.to_ne_bytes()));
    data.extend(strings);
    data
}

#[test]
fn finds_fields_inside_anonymous_members() {
    let data = sample();
    let types = Types::parse(&data).unwrap();
    assert_eq!(types.field_offset("net_device", "state"), Some(8));
    assert_eq!(types.field_offset("net_device", "ifindex"), Some(16));
    assert_eq!(types.field_offset("net_device", "absent"), None);
    assert_eq!(types.field_offset("net", "ifindex"), None);
}

#[test]
fn truncated_information_is_refused_without_panic() {
    let data = sample();
    for len in 0..data.len() {
        if let Some(types) = Types::parse(&data[..len]) {
            assert_eq!(types.field_offset("net", "ifindex"), None);
        }
    }
}

#[test]
fn the_running_kernel_tells_its_offsets() {
    if !std::path::Path::new(VMLINUX).exists() {
        eprintln!("SKIPPED: {VMLINUX} is missing");
        return;
    }
    let offsets = Offsets::of_running_kernel().unwrap();
    for namespace in [Namespace::Cookie(1), Namespace::Inode(1)] {
        let told = offsets.to_tell(namespace);
        assert!(told.complete(), "{namespace:?}: {told:?}");
    }
    assert!(!offsets.to_tell(Namespace::Unknown).complete());
    assert_eq!(offsets.device_state % 8, 0);
}
