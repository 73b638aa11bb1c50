use super::*;

#[test]
fn the_release_is_read_from_os_release() {
    assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
    assert_eq!(codename("ID=arch\n"), None);
}

#[test]
fn a_program_with_a_loader_is_not_static() {
    assert!(!is_static(&std::env::current_exe().unwrap()));
    assert!(!is_static(Path::new("/no/such/program")));
}
