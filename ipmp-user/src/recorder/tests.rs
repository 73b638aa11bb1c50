use std::{
    fs,
    time::{Duration, Instant},
};

use ipmp_common::engine::event::Command;

use super::*;
use crate::config::parse;

fn config() -> Config {
    let text = b"[group.g]\n[group.g.interface.a]\n[group.g.interface.b]\n";
    parse("f", text).unwrap().engine
}

fn offline(force: bool) -> Event {
    Event::Command(Command::Offline { member: ipmp_common::engine::ids::MemberId(0), force })
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

#[test]
fn what_was_recorded_replays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("recording.jsonl");
    let mut engine = Recorded::new(config(), Some(&file)).unwrap();
    engine.handle(Timestamp(1), offline(true));
    engine.handle(Timestamp(2), Event::Judge);
    let mut actions = 0;
    while engine.poll_action().is_some() {
        actions += 1;
    }
    assert!(actions > 0);
    drop(engine);
    let recorded = fs::read(&file).unwrap();
    assert_eq!(
        replay(&*recorded).unwrap(),
        Replayed { events: 2, actions, surplus: 0 },
        "written to its end"
    );
}

#[test]
fn actions_behind_the_last_line_are_counted() {
    let mut lines = record(&config(), [(Timestamp(1), offline(true)), (Timestamp(2), Event::Judge)]);
    let actions = lines.len() as u64 - 3;
    lines.truncate(lines.len() - 1);
    let cut = replay(text(&lines).as_bytes()).unwrap();
    assert_eq!(cut, Replayed { events: 2, actions: actions - 1, surplus: 1 });
}

#[test]
fn a_recording_that_ends_early_costs_nothing_more() {
    let mut engine = Recorded::new(config(), Some(Path::new("/dev/full"))).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while engine.tape.is_some() {
        assert!(Instant::now() < deadline, "the writer has ended, its tape is kept");
        engine.handle(Timestamp(1), Event::Judge);
        thread::yield_now();
    }
    engine.handle(Timestamp(2), offline(true));
    assert!(engine.poll_action().is_some(), "the engine goes on");
}

#[test]
fn another_action_is_found() {
    let mut lines = record(&config(), [(Timestamp(1), offline(true)), (Timestamp(2), Event::Judge)]);
    assert!(replay(text(&lines).as_bytes()).is_ok());
    let Line::In { event, .. } = &mut lines[1] else { panic!("{lines:?}") };
    *event = offline(false);
    assert!(matches!(replay(text(&lines).as_bytes()), Err(ReplayError::Differs { line: 3, .. })));
}

#[test]
fn an_incomplete_recording_proves_nothing() {
    let start = Line::Start { version: VERSION, config: config() };
    let incomplete = [start.clone(), Line::Dropped(3)];
    assert!(matches!(
        replay(text(&incomplete).as_bytes()),
        Err(ReplayError::Incomplete { line: 2, count: 3 })
    ));
    assert!(matches!(replay(text(&incomplete[1..]).as_bytes()), Err(ReplayError::NoStart { line: 1 })));
    assert!(matches!(replay("".as_bytes()), Err(ReplayError::NoStart { line: 1 })));
    let cut = text(&[start]) + "{\"in\":";
    assert!(matches!(replay(cut.as_bytes()), Err(ReplayError::Malformed { line: 2, .. })));
}

#[test]
fn a_full_queue_is_counted_and_never_waited_for() {
    let (lines, queue) = sync_channel(1);
    let mut tape = Tape { lines, _writer: Writer(None), dropped: 0 };
    let mut judge = || tape.put(Line::In { t_ns: Timestamp(1), event: Event::Judge });
    for _ in 0..4 {
        assert!(judge().is_continue());
    }
    assert!(queue.try_recv().is_ok());
    assert!(judge().is_continue());
    assert_eq!(queue.try_recv(), Ok(Box::new(Line::Dropped(3))));
    assert_eq!(tape.dropped, 1);
    let rest = thread::spawn(move || queue.iter().collect::<Vec<_>>());
    drop(tape);
    assert_eq!(rest.join().unwrap(), [Box::new(Line::Dropped(1))], "told at the end");
}
