//! Standard output for people and programs: tables, times, JSON, and a reader that goes away.

use std::{
    fmt::{Display, Write as _},
    io::{self, Write as _},
    os::fd::AsFd as _,
    time::{SystemTime, UNIX_EPOCH},
};

use ipmp_common::engine::time::Nanos;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    time::{ClockId, clock_gettime},
};
use serde::Serialize;

use super::exit::{self, Failure};

/// Prints text. `false` if the reader went away (`ipmp events | head`): it has seen enough, and that is no error.
pub(super) fn print(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let text = format!("cannot write: standard output: {error}: see where it was redirected to");
            Err(Failure::new(exit::IO, text))
        }
    }
}

/// Ends the process, with success, once the reader of standard output has gone away. While one follows, nothing may be
/// written for hours, and `ipmp events --follow | head` shall not wait for that.
pub(super) fn end_with_reader() {
    // The thread ends with the process.
    std::thread::spawn(|| {
        let out = io::stdout();
        // No events asked for: only errors and the other side's end wake it (poll(2)).
        let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
        if fds.iter().any(|fd| fd.revents().is_some_and(|seen| !seen.is_empty())) {
            std::process::exit(0);
        }
    });
}

/// Prints one JSON object on one line.
pub(super) fn print_json(object: &impl Serialize) -> Result<bool, Failure> {
    let mut line = serde_json::to_string(object)
        .map_err(|error| Failure::new(exit::IO, format!("cannot write JSON: {error}: please report this")))?;
    line.push('\n');
    print(&line)
}

/// What turns `CLOCK_MONOTONIC` into the time of day, as far as the system was not suspended in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// `CLOCK_MONOTONIC` now.
    pub(super) now_ns: u64,
    /// The time of day at the same moment, since 1970.
    pub(super) wall_ns: u64,
}

impl Clock {
    /// Reads both clocks.
    pub(super) fn read() -> Self {
        // Both calls can fail only for clocks that do not exist.
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
            u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000
                + u64::try_from(now.tv_nsec()).unwrap_or(0)
        });
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now_ns: monotonic, wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(0) }
    }

    /// `2026-11-21T20:50:18.123Z`.
    pub(super) fn day(&self, t_ns: u64) -> String {
        let wall_ns = (self.wall_ns + t_ns).saturating_sub(self.now_ns);
        let time = UNIX_EPOCH + std::time::Duration::from_nanos(wall_ns);
        humantime::format_rfc3339_millis(time).to_string()
    }

    /// `2m 13s`: how long ago, in the two largest units; `-` for the zero of what never happened.
    pub(super) fn ago(&self, t_ns: u64) -> String {
        if t_ns == 0 {
            return "-".to_owned();
        }
        let seconds = self.now_ns.saturating_sub(t_ns) / 1_000_000_000;
        let long = humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string();
        long.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}

/// A span of time, or `-` for none.
pub(super) fn span(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| Nanos(ns).to_string())
}

/// The name under which an enum goes over the wire, for people too: one word for one thing.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => "-".to_owned(),
    }
}

/// Columns as wide as their widest cell, two spaces apart.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading.
    pub(super) fn new(heading: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(heading.iter());
        table
    }

    /// Adds a row; control characters, which names from a file may hold, do not reach the terminal.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Display>) {
        let clean = |cell: String| cell.replace(char::is_control, "?");
        self.rows.push(cells.into_iter().map(|cell| clean(cell.to_string())).collect());
    }

    /// The text, each line indented by `indent` spaces, without spaces at the ends of lines.
    pub(super) fn text(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:<width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
