use super::*;

/// A boot image with one set-up sector and a payload 16 bytes into the protected-mode part.
fn image(data: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 1024 + 16];
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
    let length = u32::try_from(data.len()).unwrap() + 4;
    image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
    image.extend_from_slice(data);
    image.extend_from_slice(&[0xaa; 4]);
    image
}

#[test]
fn the_payload_is_found_without_its_appended_size() {
    for (magic, compression) in [
        (b"\xfd7zXZ\0".as_slice(), Compression::Xz),
        (b"\x28\xb5\x2f\xfd..", Compression::Zstd),
        (b"\x1f\x8b....", Compression::Gzip),
    ] {
        let image = image(magic);
        let (range, found) = payload(&image).unwrap();
        assert_eq!(&image[range], magic);
        assert_eq!(found, compression);
    }
}

#[test]
fn what_is_no_boot_image_is_refused() {
    assert!(payload(b"\x7fELF").is_err());
    assert!(payload(&image(b"????")).is_err(), "an unknown compression");
    let mut cut = image(b"\xfd7zXZ\0");
    cut.truncate(1024 + 16 + 3);
    assert!(payload(&cut).is_err(), "a cut image");
}
