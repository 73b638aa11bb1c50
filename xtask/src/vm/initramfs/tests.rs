use super::*;

const DEPENDENCIES: &str = "\
kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/netfs/netfs.ko
kernel/net/9p/9pnet.ko:
kernel/net/9p/9pnet_virtio.ko: kernel/net/9p/9pnet.ko kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/net/ethernet/intel/i40e-mod.ko:
";

#[test]
fn what_a_module_needs_is_loaded_before_it_and_once() {
    assert_eq!(
        load_order(DEPENDENCIES, &["9pnet_virtio", "9p", "built_in", "i40e_mod"]),
        [
            "kernel/drivers/virtio/virtio.ko",
            "kernel/drivers/virtio/virtio_ring.ko",
            "kernel/net/9p/9pnet.ko",
            "kernel/net/9p/9pnet_virtio.ko",
            "kernel/fs/netfs/netfs.ko",
            "kernel/fs/9p/9p.ko",
            "kernel/drivers/net/ethernet/intel/i40e-mod.ko",
        ]
    );
}

#[test]
fn an_archive_is_aligned_and_ends_with_its_trailer() {
    let mut archive = Archive::default();
    archive.entry("init", EXECUTABLE, b"12345");
    let data = archive.finish();
    // Header 110 + "init\0" = 115, padded to 116; then the content, padded to 124.
    assert_eq!(&data[..6], b"070701");
    assert_eq!(&data[116..121], b"12345");
    assert_eq!(&data[54..62], b"00000005", "the size's field");
    assert_eq!(&data[124..130], b"070701");
    assert_eq!(&data[124 + 110..124 + 120], b"TRAILER!!!");
    assert_eq!(data.len() % 4, 0);
}
