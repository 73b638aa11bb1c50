use super::*;

/// Stopped is not the same as gone: what to do differs.
#[test]
fn a_daemon_that_says_nothing_is_told_apart_from_one_that_broke_off() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let patience = Duration::from_millis(50);
    ours.set_read_timeout(Some(patience)).unwrap();
    let mut client = Client { path: "/run/ipmp/x".into(), stream: BufReader::new(ours) };
    let error = client.status().unwrap_err();
    assert!(matches!(error, ClientError::Silent { after, .. } if after >= patience), "{error}");
    drop(theirs);
    let error = client.status().unwrap_err();
    assert!(matches!(error, ClientError::Lost { .. }), "{error}");
}
