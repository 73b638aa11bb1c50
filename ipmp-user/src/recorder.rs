//! What the engine was told and what it asked for, line by line: a bug report that is a test.
//!
//! `ipmpd --record FILE` writes it, `ipmp replay FILE` runs it through the engine again and compares. The first line
//! holds the configuration with its seed; each other one an event with its time, or an action. The loop hands lines to
//! a thread of their own and never waits for it: what finds the queue full is counted, and the count is written.

use std::{
    fs::File,
    io::{self, BufRead, BufWriter, Write as _},
    ops::Deref,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use ipmp_common::engine::{Engine, action::Action, config::Config, event::Event, time::Timestamp};
use serde::{Deserialize, Serialize};

/// Of the format.
pub const VERSION: u32 = 1;
/// Lines that may wait for a slow disk: half a minute of a hundred members at an FDT of 100 ms.
const QUEUE: usize = 1 << 20;

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
    lines: SyncSender<Line>,
    dropped: u64,
}

impl Recorded {
    /// An engine; on record if a file is named, which is written anew.
    pub fn new(config: Config, file: Option<&Path>) -> io::Result<Self> {
        let tape = file.map(|file| Tape::start(file, config.clone())).transpose()?;
        Ok(Self { engine: Engine::new(config), tape })
    }

    /// `Engine::handle`.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        if let Some(tape) = &mut self.tape {
            tape.put(Line::In { t_ns: now, event: event.clone() });
        }
        self.engine.handle(now, event);
    }

    /// `Engine::poll_action`.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.engine.poll_action()?;
        if let Some(tape) = &mut self.tape {
            tape.put(Line::Out(action.clone()));
        }
        Some(action)
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
        thread::Builder::new().name("recorder".into()).spawn(move || {
            if let Err(error) = write(&queue, out) {
                tracing::warn!(file = name, %error, "recording ended; the daemon goes on");
            }
        })?;
        let mut tape = Self { lines, dropped: 0 };
        tape.put(Line::Start { version: VERSION, config });
        Ok(tape)
    }

    fn put(&mut self, line: Line) {
        if self.dropped > 0 && self.lines.try_send(Line::Dropped(self.dropped)).is_ok() {
            self.dropped = 0;
        }
        match self.lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped += 1,
        }
    }
}

/// Writes until the daemon ends; whenever nothing waits, the file is complete.
fn write(queue: &Receiver<Line>, mut out: BufWriter<File>) -> io::Result<()> {
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
    if engine.is_none() {
        return Err(ReplayError::NoStart { line: 1 });
    }
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
