use std::{os::unix::fs::symlink, thread};

use super::*;

const SOCKETS_FILE: &str = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
0000000000000000 15  812        00000000 0        0        0     2        0        17
0000000000000000 0   812        00000551 0        0        0     2        0        101
0000000000000000 0   4195116    00000551 0        0        0     2        0        102
0000000000000000 0   4294962345 00000000 0        0        0     2        0        103
";

/// A `/proc` with process 812, which holds socket 101, and process 812 + 2^22 of libnl, which is it, too.
fn proc() -> tempfile::TempDir {
    let proc = tempfile::tempdir().unwrap();
    let at = |path: &str| proc.path().join(path);
    fs::create_dir_all(at("thread-self/net")).unwrap();
    fs::write(at("thread-self/net/netlink"), SOCKETS_FILE).unwrap();
    fs::create_dir_all(at("812/fd")).unwrap();
    fs::write(at("812/comm"), "NetworkManager\n").unwrap();
    symlink("socket:[101]", at("812/fd/4")).unwrap();
    symlink("socket:[102]", at("812/fd/5")).unwrap();
    proc
}

fn author(port: u32) -> Author {
    Author { port, ifindex: Some(7), protocol: None, down: false }
}

fn of(author: Author) -> Option<(Class, Option<u32>)> {
    culprit(proc().path(), author).map(|culprit| (culprit.class, culprit.pid))
}

#[test]
fn a_program_that_lives_is_named() {
    let seen = culprit(proc().path(), author(812)).unwrap();
    let program = Some("NetworkManager".to_owned());
    assert_eq!(seen, Culprit { class: Class::NetworkManager, program, pid: Some(812) });
    assert_eq!(of(author(812 + (1 << LIBNL_PID_BITS))), Some((Class::NetworkManager, Some(812))), "by libnl");
}

#[test]
fn a_program_that_cannot_be_seen_is_not_guessed() {
    assert_eq!(of(author(4_294_962_345)), Some((Class::Program, None)), "its port is no process number");
    assert_eq!(of(author(4711)), Some((Class::Command, None)), "it has ended");
    let proc = proc();
    fs::remove_file(proc.path().join("812/fd/4")).unwrap();
    let other = culprit(proc.path(), author(812)).unwrap();
    assert_eq!(other, Culprit { class: Class::Program, program: None, pid: None }, "not its socket");
    fs::remove_file(proc.path().join("812/fd/5")).unwrap();
    let ending = culprit(proc.path(), author(812)).unwrap();
    assert_eq!(ending.pid, Some(812), "it is about to end, and has nothing any more");
}

#[test]
fn a_route_tells_who_made_it() {
    let route =
        |port, protocol| of(Author { protocol: Some(protocol), ..author(port) }).map(|(class, _)| class);
    assert_eq!(route(4711, 16), Some(Class::DhcpClient));
    assert_eq!(route(4711, 12), Some(Class::RoutingDaemon));
    assert_eq!(route(4711, 4), Some(Class::Command), "anybody's");
    assert_eq!(route(0, 9), Some(Class::Kernel), "a router advertisement");
    assert_eq!(route(0, 4), None, "by ioctl");
}

#[test]
fn the_kernel_is_named_only_where_it_is_known_to_have_done_it() {
    assert_eq!(of(author(0)), None);
    assert_eq!(of(Author { down: true, ..author(0) }), Some((Class::LinkDown, None)));
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::default() + Nanos::from_secs(seconds)
}

/// What was put back of interface 7 or 8, told at once or when it is known.
fn told(culprits: &mut Culprits, now: Timestamp, on: u32) -> Vec<Culprit> {
    culprits.put_back(PutBack::new(now, GroupId(0), 1, vec![on]));
    let started = std::time::Instant::now();
    loop {
        if let Some((_, by)) = culprits.told(now).pop() {
            return by;
        }
        assert!(started.elapsed().as_secs() < 20, "it is looked for");
        thread::yield_now();
    }
}

#[test]
fn each_is_reported_once_and_to_whom_it_concerns() {
    let proc = proc();
    let mut culprits = Culprits::start_in(proc.path().into()).unwrap();
    culprits.note(at(10), author(812));
    culprits.note(at(10), author(812));
    culprits.note(at(10), Author { ifindex: Some(8), ..author(813) });
    assert_eq!(told(&mut culprits, at(11), 7).len(), 1);
    assert_eq!(told(&mut culprits, at(11), 7), []);
    assert_eq!(told(&mut culprits, at(11), 8).len(), 1);
}

#[test]
fn who_did_something_long_ago_is_not_blamed() {
    let proc = proc();
    let mut culprits = Culprits::start_in(proc.path().into()).unwrap();
    culprits.note(at(10), author(812));
    assert_eq!(told(&mut culprits, at(16), 7), []);
}

#[test]
fn a_flood_of_changes_is_not_looked_into_one_by_one() {
    let proc = proc();
    let mut culprits = Culprits::start_in(proc.path().into()).unwrap();
    for port in 10_000..20_000 {
        culprits.note(at(10), author(port));
    }
    assert_eq!(culprits.seen.len(), MAX_LOOKUPS);
}

/// A `/proc` that does not answer: neither the caller nor, in the end, the event waits for it.
#[test]
fn a_name_that_is_not_found_out_delays_the_event_for_a_second_and_nothing_else() {
    let proc = tempfile::tempdir().unwrap();
    fs::create_dir_all(proc.path().join("thread-self/net")).unwrap();
    let table = proc.path().join("thread-self/net/netlink");
    nix::unistd::mkfifo(&table, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut culprits = Culprits::start_in(proc.path().into()).unwrap();
    culprits.note(at(10), author(812));
    culprits.put_back(PutBack::new(at(10), GroupId(3), 5, vec![7]));
    assert!(culprits.told(at(10)).is_empty());
    assert_eq!(culprits.due(), Some(at(11)));
    let (what, by) = culprits.told(at(11)).pop().unwrap();
    assert_eq!((what.group, what.changes, by), (GroupId(3), 5, Vec::new()));
    assert_eq!(culprits.due(), None);
    // The thread can end.
    drop(fs::OpenOptions::new().write(true).open(&table).unwrap());
}
