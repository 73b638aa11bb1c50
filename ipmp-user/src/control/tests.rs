use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    sync::atomic::Ordering,
    thread,
    time::Instant,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    ControlError, LOOP_QUEUE,
    client::{Client, ClientError, Told},
    feed,
    fixture::{DEADLINE, Fake, evidence, publish, snapshot},
    protocol::{Command, MAX_CALL, RefusalCode, parse_call},
    seats::Seats,
    server::{self, MAX_FOLLOWERS, MAX_ROOT_CLIENTS, STATUS_SHARED},
    socket::SOCKET,
    spawn, status,
};
use crate::journal::{CAPACITY, Journal};

/// The first line that comes back, and whether the server then closed the connection.
fn converse(fake: &Fake, sent: &[u8]) -> (serde_json::Value, bool) {
    let mut stream = fake.raw();
    stream.write_all(sent).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let closed = matches!(reader.read(&mut [0; 16]), Ok(0) | Err(_));
    (serde_json::from_str(&line).unwrap(), closed)
}

#[test]
fn the_status_document_is_the_contracts() {
    let document = serde_json::to_value(status::build(&snapshot(), &evidence())).unwrap();
    let target = |source: &str| {
        json!([{"address": "192.168.10.1", "source": source, "state": "active", "rtt_kernel_ns": 41000,
                "rtt_daemon_ns": 97000, "sent": 900, "acked": 899, "lost": 1, "unsent": 0}])
    };
    let device = json!({"up": true, "mac": "00:03:ba:93:90:fc", "mtu": 1500,
        "test": [{"address": "192.168.10.110", "targets": "routes"}]});
    let wanted = json!({
        "version": 1, "at_ns": 5_000_000_000_u64, "stalls": 2, "skipped_slots": 30,
        "groups": [{"name": "ipmp0", "state": "degraded", "fdt_ns": 100_000_000, "fdt_configured_ns": 100_000_000,
            "detection_worst_ns": 90_000_000, "repair_worst_ns": 160_000_000,
            "repair_by_one_worst_ns": 160_000_000, "put_back": 3,
            "interfaces": [
                {"name": "eth0", "ifindex": 4, "state": "failed", "active": false, "standby": false,
                 "link": "down", "probe": "ok", "reason": "carrier lost (poll)",
                 "why": {"why": "link-down", "source": "poll", "downs": 1}, "since_ns": 1_000_000_000,
                 "reply_evidence": "xdp-native", "carrier_evidence": "poll",
                 "notes": ["fentry: refused by this kernel (EPERM)"],
                 "counters": {"seen": 5000, "ours": 899, "foreign_id": 0, "malformed": 0, "duplicate": 0, "late": 0,
                              "ring_full": 0, "sent": 0},
                 "device": device,
                 "targets": target("192.168.10.110")},
                {"name": "eth1", "ifindex": 5, "state": "ok", "active": true, "standby": false,
                 "link": "up", "probe": "ok", "reason": "failover from eth0",
                 "why": {"why": "failover", "from": "eth0"}, "since_ns": 1_000_000_000,
                 "reply_evidence": null, "carrier_evidence": null, "notes": [], "counters": null, "device": null,
                 "targets": target("192.168.10.111")}],
            "addresses": [{"address": "192.168.10.10/24", "home": "eth0", "on": "eth1"}]}],
    });
    assert_eq!(document, wanted);
}

#[test]
fn status_orders_and_events_reach_the_client() {
    let fake = Fake::start();
    let mut client = fake.client();
    assert_eq!(client.status().unwrap(), status::build(&snapshot(), &evidence()));
    publish(&fake.journal, 0..300);
    let mut seen = Vec::new();
    // The pump runs on another thread.
    let deadline = Instant::now() + DEADLINE;
    while seen.len() < 200 && Instant::now() < deadline {
        seen.clear();
        client
            .events(Some(100), false, |told| match told {
                Told::Event(event) => {
                    seen.push(event.t_ns);
                    true
                }
                Told::Dropped(dropped) => panic!("dropped {dropped}"),
            })
            .unwrap();
    }
    assert_eq!(seen, (100..300).collect::<Vec<_>>());
    if nix::unistd::geteuid().is_root() {
        let order = Command::Offline { interface: "eth0".to_owned(), force: true };
        client.status().unwrap();
        let asked = fake.asked.load(Ordering::SeqCst);
        assert_eq!(client.order(order).unwrap(), "eth0 true");
        client.status().unwrap();
        let both = fake.asked.load(Ordering::SeqCst) - asked;
        assert_eq!(both, 2, "the status from before an order is not shown after it");
        let order = Command::Online { interface: "eth0".to_owned() };
        let Err(ClientError::Refused(refusal)) = client.order(order) else { panic!("not refused") };
        assert_eq!((refusal.code, refusal.text.as_str()), (RefusalCode::NotSupported, "online: eth0: wait"));
    }
}

#[test]
fn a_follower_hears_of_what_happens_later() {
    let fake = Fake::start();
    let mut client = fake.client();
    publish(&fake.journal, 0..1);
    let mut next = 0;
    client
        .events(None, true, |told| {
            assert!(matches!(&told, Told::Event(event) if event.t_ns == next), "{told:?}");
            next += 1;
            // Published only once the one before was read.
            publish(&fake.journal, next..next + 1);
            next < 20
        })
        .unwrap();
    assert_eq!(next, 20);
}

#[test]
fn a_flood_of_status_asks_the_loop_at_most_once_in_the_shared_time() {
    let fake = Fake::start();
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = fake.client();
                for _ in 0..50 {
                    client.status().unwrap();
                }
            });
        }
    });
    let most = started.elapsed().as_nanos() / STATUS_SHARED.as_nanos() + 1;
    let asked = fake.asked.load(Ordering::SeqCst);
    assert!(asked >= 1 && u128::from(asked) <= most, "{asked} questions, at most {most}");
}

#[test]
fn a_client_that_never_reads_is_dropped_and_holds_up_nobody() {
    let fake = Fake::start();
    publish(&fake.journal, 0..CAPACITY as u64);
    // More than a socket's buffer holds must be in the journal, not in the pump's inbox.
    let deadline = Instant::now() + DEADLINE;
    while fake.journal.read(&mut fake.journal.cursor(None), CAPACITY).events.len() < CAPACITY {
        assert!(Instant::now() < deadline, "the pump stands still");
        thread::yield_now();
    }
    let mut deaf = fake.raw();
    deaf.write_all(b"{\"version\":1,\"command\":\"events\",\"follow\":true}\n").unwrap();
    assert_eq!(fake.client().status().unwrap().version, status::VERSION);
    let mut hung_up = false;
    while !hung_up && Instant::now() < deadline {
        let mut fds = [PollFd::new(deaf.as_fd(), PollFlags::empty())];
        poll(&mut fds, PollTimeout::from(100_u16)).unwrap();
        hung_up = fds[0].revents().unwrap().contains(PollFlags::POLLHUP);
    }
    assert!(hung_up, "still connected");
}

#[test]
fn a_line_without_end_is_refused() {
    let fake = Fake::start();
    let (answer, closed) = converse(&fake, &vec![b'x'; MAX_CALL]);
    assert_eq!(answer["error"]["code"], "bad-call");
    assert!(answer["error"]["text"].as_str().unwrap().starts_with("call too long"), "{answer}");
    assert!(closed);
}

#[test]
fn garbage_is_refused() {
    let fake = Fake::start();
    for garbage in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\xff\xfe\n",
        b"{}\n",
        b"\n",
        b"{\"version\":1,\"command\":\"dance\"}\n",
    ] {
        let (answer, closed) = converse(&fake, garbage);
        assert_eq!(answer["error"]["code"], "bad-call", "{answer}");
        assert!(closed);
    }
    assert!(fake.client().status().is_ok(), "others are still served");
}

#[test]
fn another_version_is_named() {
    let fake = Fake::start();
    let (answer, closed) = converse(&fake, b"{\"version\":2,\"command\":\"status\"}\n");
    let text = answer["error"]["text"].as_str().unwrap();
    assert!(text.contains("version 2") && text.contains("version 1"), "{text}");
    assert!(closed);
}

#[test]
fn silent_clients_keep_nobody_out() {
    let fake = Fake::start();
    let silent: Vec<_> = (0..6 * MAX_ROOT_CLIENTS).map(|_| fake.raw()).collect();
    assert!(fake.client().status().is_ok(), "room was made");
    drop(silent);
    assert!(fake.client().status().is_ok());
}

#[test]
fn followers_beyond_the_limit_are_told_so_and_leave_room_for_others() {
    let fake = Fake::start();
    let follow = || fake.raw_saying(b"{\"version\":1,\"command\":\"events\",\"follow\":true}\n");
    publish(&fake.journal, 0..1);
    let first_line = |stream: UnixStream| {
        let mut line = String::new();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut line).unwrap();
        (reader, line)
    };
    let (mut seated, mut refused) = (Vec::new(), 0);
    let deadline = Instant::now() + DEADLINE;
    // One that waits to be read from gives way; who follows stays.
    while refused == 0 {
        assert!(Instant::now() < deadline, "{} follow", seated.len());
        let (reader, line) = first_line(follow());
        if line.contains(r#""code":"busy""#) {
            refused += 1;
        } else {
            seated.push(reader);
        }
    }
    assert_eq!(seated.len(), MAX_FOLLOWERS);
    assert!(fake.client().status().is_ok());
    let (_, line) = first_line(fake.raw_saying(b"{\"version\":1,\"command\":\"events\"}\n"));
    assert!(line.contains(r#""answer":"event""#), "{line}");
    seated.clear();
    while first_line(follow()).1.contains(r#""code":"busy""#) {
        assert!(Instant::now() < deadline, "places were not given back");
        thread::yield_now();
    }
}

#[test]
fn only_one_daemon_serves_a_directory() {
    let fake = Fake::start();
    let second = spawn(fake.dir.path(), None, Journal::new());
    let Err(error @ ControlError::AlreadyRunning(_)) = second else { panic!("{second:?}") };
    assert!(error.to_string().starts_with("another ipmpd runs: "), "{error}");
    assert!(fake.client().status().is_ok(), "the first is unharmed");
}

#[test]
fn a_dead_daemons_socket_is_replaced_and_ones_own_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET);
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind");
    let handle = spawn(dir.path(), None, Journal::new()).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    assert!(Client::connect(dir.path()).is_ok());
    drop(handle);
    assert!(!path.exists());
    assert!(matches!(Client::connect(dir.path()), Err(ClientError::NoDaemon { .. })));
}

#[test]
fn a_control_group_that_does_not_exist_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = spawn(dir.path(), Some("no-such-group-ipmp"), Journal::new()).unwrap_err();
    assert!(matches!(error, ControlError::NoSuchGroup(_)), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn only_root_may_change_anything() {
    let (questions, mut asked) = mpsc::channel(LOOP_QUEUE);
    let shared = server::Shared::new(questions, Journal::new(), feed::feed().1);
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    let far = far.into_std().unwrap();
    far.set_nonblocking(false).unwrap();
    let client = tokio::task::spawn_blocking(move || {
        (&far).write_all(b"{\"version\":1,\"command\":\"offline\",\"interface\":\"eth0\"}\n").unwrap();
        let mut line = String::new();
        BufReader::new(&far).read_line(&mut line).unwrap();
        line
    });
    let seat = Seats::new(1, 1).take(tokio::time::Instant::now()).unwrap();
    server::serve(near, false, &seat, &shared).await.unwrap();
    let line = client.await.unwrap();
    assert!(line.contains(r#""code":"not-permitted""#), "{line}");
    assert!(asked.try_recv().is_err(), "the loop was not bothered");
}

#[test]
fn a_question_that_the_loop_drops_or_never_takes_is_answered_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut handle = spawn(dir.path(), None, Journal::new()).unwrap();
    let asking = thread::spawn({
        let dir = dir.path().to_owned();
        move || Client::connect(&dir).unwrap().status()
    });
    drop(handle.requests.blocking_recv().unwrap());
    let Err(ClientError::Refused(refusal)) = asking.join().unwrap() else { panic!("answered") };
    assert_eq!(refusal.code, RefusalCode::Busy);
    // The daemon is ending: nobody takes questions any more.
    handle.requests.close();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let Err(ClientError::Refused(refusal)) = Client::connect(dir.path()).unwrap().status() else {
            panic!("answered")
        };
        if refusal.text.starts_with("too many requests wait") {
            break;
        }
        assert!(Instant::now() < deadline, "{refusal:?}");
        thread::yield_now();
    }
}

proptest! {
    #[test]
    fn no_line_panics_the_parser(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_call(&line);
    }
}
