//! What the engine was told and what it asked for, line by line: a bug report that is a test.
//!
//! `ipmpd --record FILE` writes it, `ipmp replay FILE` runs it through the engine again and compares. The first line
//! holds the configuration with its seed; each other one an event with its time, or an action. The loop hands lines to
//! a thread of their own and never waits for it: what finds the queue full is counted, and the count is written. Only
//! at its end the daemon waits until all is in the file.

use std::{
    fs::File,
    io::{self, BufRead, BufWriter, Write as _},
    ops::{ControlFlow, Deref},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
};

use ipmp_common::engine::{Engine, action::Action, config::Config, event::Event, time::Timestamp};
use serde::{Deserialize, Serialize};

/// Of the format.
pub const VERSION: u32 = 1;
/// Lines that may wait for a slow disk: four seconds of a hundred members at an FDT of 100 ms, and minutes of two. The
/// queue's places are 2 MB, taken and locked into memory at once, so what waits is boxed.
const QUEUE: usize = 1 << 17;

/// One line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first line.
    Start {
        /// `VERSION`.
        version: u32,
        /// What the engine was made from.
        config: Config,
    },
    /// The engine was told something.
    In {
        /// When, `CLOCK_MONOTONIC`.
        t_ns: Timestamp,
        /// What.
        event: Event,
    },
    /// The engine asked for something.
    Out(Action),
    /// The disk was too slow: so many lines are missing here.
    Dropped(u64),
}

/// The engine, with its doings on record if so wanted.
#[derive(Debug)]
pub struct Recorded {
    engine: Engine,
    tape: Option<Tape>,
}

#[derive(Debug)]
struct Tape {
    /// Closed before the writer is waited for: fields are dropped in this order.
    lines: SyncSender<Box<Line>>,
    _writer: Writer,
    dropped: u64,
}

/// The thread that writes, waited for at the end.
#[derive(Debug)]
struct Writer(Option<JoinHandle<()>>);

impl Recorded {
    /// An engine; on record if a file is named, which is written anew.
    pub fn new(config: Config, file: Option<&Path>) -> io::Result<Self> {
        let tape = file.map(|file| Tape::start(file, config.clone())).transpose()?;
        Ok(Self { engine: Engine::new(config), tape })
    }

    /// `Engine::handle`.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        self.put(|| Line::In { t_ns: now, event: event.clone() });
        self.engine.handle(now, event);
    }

    /// `Engine::poll_action`.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.engine.poll_action()?;
        self.put(|| Line::Out(action.clone()));
        Some(action)
    }

    fn put(&mut self, line: impl FnOnce() -> Line) {
        if self.tape.as_mut().is_some_and(|tape| tape.put(line()).is_break()) {
            self.tape = None;
        }
    }
}

impl Deref for Recorded {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Tape {
    fn start(file: &Path, config: Config) -> io::Result<Self> {
        let out = BufWriter::new(File::create(file)?);
        let (lines, queue) = sync_channel(QUEUE);
        let name = file.display().to_string();
        let writer = thread::Builder::new().name("recorder".into()).spawn(move || {
            if let Err(error) = write(&queue, out) {
                tracing::warn!(file = name, %error, "recording ended; the daemon goes on");
            }
        })?;
        let mut tape = Self { lines, _writer: Writer(Some(writer)), dropped: 0 };
        // A writer that has ended already is noticed with the next line.
        let _ = tape.put(Line::Start { version: VERSION, config });
        Ok(tape)
    }

    /// Breaks when nobody writes any more.
    fn put(&mut self, line: Line) -> ControlFlow<()> {
        if self.dropped > 0 && self.lines.try_send(Box::new(Line::Dropped(self.dropped))).is_ok() {
            self.dropped = 0;
        }
        match self.lines.try_send(Box::new(line)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(TrySendError::Full(_)) => {
                self.dropped += 1;
                ControlFlow::Continue(())
            }
            Err(TrySendError::Disconnected(_)) => ControlFlow::Break(()),
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if self.dropped > 0 {
            // Fails only if nobody writes any more, which was told.
            let _ = self.lines.send(Box::new(Line::Dropped(self.dropped)));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It ends when the queue is closed and empty; it does not panic.
        let _ = self.0.take().map(JoinHandle::join);
    }
}

/// Writes until the daemon ends; whenever nothing waits, the file is complete.
fn write(queue: &Receiver<Box<Line>>, mut out: BufWriter<File>) -> io::Result<()> {
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(line) = next {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
            next = queue.try_recv().ok();
        }
        out.flush()?;
    }
    Ok(())
}

/// A recording that could be replayed to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Events handed in.
    pub events: u64,
    /// Actions that were the same.
    pub actions: u64,
    /// Actions that the engine asks for beyond the last line. A daemon that was killed may have died before it recorded
    /// them.
    pub surplus: u64,
}

/// Why a replay ended early. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("line {line}: cannot be read: {source}")]
    Unreadable {
        /// Which line.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// A line is none of ours; a last line may be cut off if the daemon was killed.
    #[error("line {line}: is no line of a recording: {source}")]
    Malformed {
        /// Which line.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The first line is no start of a known version.
    #[error(
        "line {line}: no start of a recording of version {VERSION}: record again with this version of ipmpd"
    )]
    NoStart {
        /// Which line.
        line: usize,
    },
    /// Lines are missing.
    #[error("line {line}: the daemon dropped {count} lines here, so what follows proves nothing")]
    Incomplete {
        /// Which line.
        line: usize,
        /// How many.
        count: u64,
    },
    /// The engine did something else.
    #[error("line {line}: recorded was {recorded:?}, the engine asks for {asked:?}")]
    Differs {
        /// Which line.
        line: usize,
        /// What was recorded.
        recorded: Box<Action>,
        /// What the engine asks for now.
        asked: Box<Option<Action>>,
    },
}

/// Runs a recording through the engine and compares every action.
pub fn replay(recording: impl BufRead) -> Result<Replayed, ReplayError> {
    let mut engine = None;
    let mut replayed = Replayed::default();
    for (line, text) in (1..).zip(recording.lines()) {
        let text = text.map_err(|source| ReplayError::Unreadable { line, source })?;
        let parsed: Line =
            serde_json::from_str(&text).map_err(|source| ReplayError::Malformed { line, source })?;
        match (parsed, &mut engine) {
            (Line::Start { version: VERSION, config }, None) => engine = Some(Engine::new(config)),
            (Line::In { t_ns, event }, Some(engine)) => {
                engine.handle(t_ns, event);
                replayed.events += 1;
            }
            (Line::Out(recorded), Some(engine)) => {
                let asked = engine.poll_action();
                if asked.as_ref() != Some(&recorded) {
                    let (recorded, asked) = (Box::new(recorded), Box::new(asked));
                    return Err(ReplayError::Differs { line, recorded, asked });
                }
                replayed.actions += 1;
            }
            (Line::Dropped(count), Some(_)) => return Err(ReplayError::Incomplete { line, count }),
            (Line::Start { .. } | Line::In { .. } | Line::Out(_) | Line::Dropped(_), _) => {
                return Err(ReplayError::NoStart { line });
            }
        }
    }
    let mut engine = engine.ok_or(ReplayError::NoStart { line: 1 })?;
    replayed.surplus = std::iter::from_fn(|| engine.poll_action()).count() as u64;
    Ok(replayed)
}

/// The recording that an engine would give that is drained after every event.
pub fn record(config: &Config, events: impl IntoIterator<Item = (Timestamp, Event)>) -> Vec<Line> {
    let mut engine = Engine::new(config.clone());
    let mut lines = vec![Line::Start { version: VERSION, config: config.clone() }];
    for (t_ns, event) in events {
        lines.push(Line::In { t_ns, event: event.clone() });
        engine.handle(t_ns, event);
        lines.extend(std::iter::from_fn(|| engine.poll_action()).map(Line::Out));
    }
    lines
}

#[cfg(test)]
mod tests;
