//! `ipmp top`: the status, again and again, with the newest events.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::IsTerminal as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    args::TopArgs,
    events,
    exit::Failure,
    output::{Clock, end_with_reader, print},
    status,
};
use crate::control::{
    client::{Client, ClientError, Told},
    status::Status,
};

/// Events below the tables.
const EVENTS: usize = 8;
/// ECMA-48: cursor to the first place, and everything behind it erased.
const HOME: &str = "\u{1b}[H";
const ERASE_BELOW: &str = "\u{1b}[J";
const ERASE_LINE: &str = "\u{1b}[K";

/// Shows until interrupted, or `--count` times. A daemon that goes is waited for: who watches wants to see it come back.
pub(super) fn run(runtime_dir: &Path, wanted: &TopArgs) -> Result<u8, Failure> {
    let screen = std::io::stdout().is_terminal();
    end_with_reader();
    let mut due = Instant::now();
    let mut shown = 0;
    loop {
        let page = match look(runtime_dir) {
            Ok((status, last)) => text(&status, &last, &Clock::read()),
            // The first time it is an error like that of any other command.
            Err(error) if shown == 0 => return Err(error.into()),
            Err(error) => format!("{error}\n"),
        };
        let page = if screen { on_screen(&page) } else { format!("{page}\n") };
        shown += 1;
        if !print(&page)? || wanted.count.is_some_and(|count| shown >= count) {
            return Ok(0);
        }
        due = (due + wanted.interval).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn look(runtime_dir: &Path) -> Result<(Status, VecDeque<String>), ClientError> {
    let mut client = Client::connect(runtime_dir)?;
    let status = client.status()?;
    let clock = Clock::read();
    let mut last = VecDeque::with_capacity(EVENTS);
    // An hour is enough for what fits the screen, and spares the daemon the rest.
    let since_ns =
        clock.now_ns.saturating_sub(u64::try_from(Duration::from_hours(1).as_nanos()).unwrap_or(u64::MAX));
    client.events(Some(since_ns), false, |told| {
        if let Told::Event(event) = told {
            if last.len() == EVENTS {
                last.pop_front();
            }
            last.push_back(events::line(&event, &clock));
        }
        true
    })?;
    Ok((status, last))
}

pub(super) fn text(status: &Status, last: &VecDeque<String>, clock: &Clock) -> String {
    let mut text = format!("ipmp top, {}\n\n", clock.day(clock.now_ns));
    text.push_str(&status::text(status, true, clock));
    text.push_str("\nlast events:\n");
    for line in last {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Over what is there, without a flicker.
fn on_screen(page: &str) -> String {
    let lines = page.replace('\n', &format!("{ERASE_LINE}\n"));
    format!("{HOME}{lines}{ERASE_BELOW}")
}
