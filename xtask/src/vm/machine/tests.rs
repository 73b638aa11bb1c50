use super::*;

#[test]
fn a_child_ends_at_the_time_limit() {
    let mut guest = Guarded::spawn(Command::new("sleep").arg("600")).unwrap();
    let pid = guest.child().id();
    assert!(matches!(guest.wait(Duration::from_millis(50)).unwrap(), Wait::TimeLimit));
    guest.kill().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
}

#[test]
fn a_dropped_child_is_gone() {
    let mut guest = Guarded::spawn(Command::new("sleep").arg("600")).unwrap();
    let pid = guest.child().id();
    drop(guest);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
}

#[test]
fn the_tail_is_the_last_lines_without_controls() {
    assert_eq!(tail(b"one\r\ntwo\r\n\x1bcthree\r\n", 2), "two\ncthree");
    assert_eq!(tail(b"", 5), "");
}

#[test]
fn output_is_read_to_its_end_although_nobody_wants_it() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut source = std::io::Cursor::new(vec![0; 1_000_000]);
    copy(Some(&mut source), &mut Closed);
    assert_eq!(source.position(), 1_000_000);
}
