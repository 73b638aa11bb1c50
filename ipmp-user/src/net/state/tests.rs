use super::*;
use crate::net::fixtures::at_home;

#[test]
fn what_was_saved_is_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, mut base) = at_home();
    StateFile::new(directory.path()).save(&base).expect("saved");
    let loaded = StateFile::new(directory.path()).load().expect("loaded");
    // Only requests are saved, not what the kernel found; and a new start cannot say what happened to the carrier since.
    base.carrier_downs.clear();
    let requests = |base: &Base| -> Vec<_> { base.addresses.values().map(|o| o.address.request()).collect() };
    assert_eq!(requests(&loaded), requests(&base));
    assert_eq!((loaded.routes, loaded.order, loaded.names), (base.routes, base.order, base.names));
}

#[test]
fn no_file_is_an_empty_base() {
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(StateFile::new(directory.path()).load().expect("loaded"), Base::default());
}

#[test]
fn damaged_file_is_put_aside_and_reported() {
    for text in ["", "{", "{\"version\": 7}", "[]", "\u{fffd}"] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        fs::write(&path, text).expect("written");
        let error = StateFile::new(directory.path()).load().expect_err("damaged").to_string();
        assert!(error.contains("state.json.damaged"), "{error}");
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(directory.path().join("state.json.damaged")).expect("kept"), text);
    }
}

#[test]
fn every_shortened_or_altered_file_is_an_error_or_another_base() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, base) = at_home();
    StateFile::new(directory.path()).save(&base).expect("saved");
    let bytes = fs::read(directory.path().join("state.json")).expect("read");
    for length in 0..bytes.len() {
        let begun = &bytes[..length];
        assert!(decode(begun).is_err(), "cut at {length}");
        for rest in [&[0; 64][..], b"\xff\x00garbage}", &bytes] {
            assert!(
                decode(&[begun, rest].concat()).is_err() || length == 0,
                "cut at {length}, then {rest:?}"
            );
        }
    }
    for rest in [&[0_u8][..], b"}", &bytes] {
        assert!(decode(&[&bytes, rest].concat()).is_err(), "whole, then {rest:?}");
    }
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        drop(decode(&altered));
    }
}

#[test]
fn file_of_another_boot_means_nothing() {
    let (_, base) = at_home();
    let text = String::from_utf8(encode(&base).expect("encoded")).expect("text");
    let other = text.replace(&boot_id(), "00000000-0000-0000-0000-000000000000");
    assert_ne!(text, other);
    assert_eq!(decode(other.as_bytes()), Ok(None));
}

#[test]
fn unchanged_base_is_not_written_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, base) = at_home();
    let file = StateFile::new(directory.path());
    file.save(&base).expect("saved");
    let path = directory.path().join("state.json");
    fs::remove_file(&path).expect("removed");
    file.save(&base).expect("saved");
    assert!(!path.exists());
}
