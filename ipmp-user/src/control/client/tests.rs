use super::*;

/// Stopped is not the same as gone: what to do differs.
#[test]
fn a_daemon_that_says_nothing_is_told_apart_from_one_that_broke_off() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let patience = Duration::from_millis(50);
    let mut client = Client { path: "/run/ipmp/x".into(), stream: BufReader::new(ours) };
    let error = client.call(Command::Status, Some(patience)).unwrap_err();
    assert!(matches!(error, ClientError::Silent { after, .. } if after >= patience), "{error}");
    drop(theirs);
    let error = client.status().unwrap_err();
    assert!(matches!(error, ClientError::Lost { .. }), "{error}");
}

/// On a quiet host nothing comes for long.
#[test]
fn who_follows_waits_without_end() {
    for follow in [true, false] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut client =
            Client { path: "/run/ipmp/x".into(), stream: BufReader::new(ours.try_clone().unwrap()) };
        let other = thread::spawn(move || {
            let mut call = String::new();
            BufReader::new(theirs).read_line(&mut call).unwrap();
        });
        client.events(None, follow, |_| true).unwrap_err();
        assert_eq!(ours.read_timeout().unwrap().is_none(), follow);
        other.join().unwrap();
    }
}
