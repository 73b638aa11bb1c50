//! `-p`: probes as they are answered or lost.
//!
//! The daemon publishes, for each target, how many probes were answered and lost and the newest round trips. This
//! tool looks often enough to see each probe by itself down to a failure detection time of some 300 ms, and
//! never more often than the daemon's control thread asks its loop anyway, so watching costs the loop nothing
//! more than any status. When several answers came between two looks, each gets its line, but only the newest one's
//! times are known; the others show `?`.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use ipmp_common::engine::snapshot::ProbeState;

use super::{
    Mode, StatError,
    fields::{Cell, Columns},
    rows::Addresses,
};
use crate::{
    cli::output::print,
    control::{
        client::Client,
        status::{Status, TargetStatus},
    },
};

/// Probes in one failure detection time (in.mpathd's division).
const PROBES_IN_FDT: u64 = 7;
/// Looks in the time of one probe.
const LOOKS_PER_PROBE: u64 = 2;
/// The control thread shares one answer for so long.
const SOONEST: Duration = Duration::from_millis(20);
/// A line shall not come noticeably late.
const LATEST: Duration = Duration::from_millis(250);
/// Lines between two headings: ipmpstat's for an output of unknown height.
const LINES_PER_HEADING: usize = 24;

/// A target through an interface, from an address.
type Path = (String, IpAddr, IpAddr);

/// Jacobson's estimate (RFC 6298's precursor, with in.mpathd's gains), nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    average: f64,
    deviation: f64,
}

impl Estimate {
    fn update(known: Option<Self>, sample: f64) -> Self {
        match known {
            None => Self { average: sample, deviation: sample / 2.0 },
            Some(Self { average, deviation }) => {
                let error = sample - average;
                Self {
                    average: average + error / 8.0,
                    deviation: deviation + (error.abs() - deviation) / 4.0,
                }
            }
        }
    }
}

#[derive(Debug)]
struct Seen {
    acked: u64,
    lost: u64,
    estimate: Option<Estimate>,
}

/// What was seen until now.
#[derive(Debug)]
pub(super) struct Watch {
    /// Times are relative to this.
    start_ns: u64,
    targets: BTreeMap<Path, Seen>,
    /// Finished probes of each interface and family, so that each has a number.
    finished: BTreeMap<(String, bool), u64>,
}

impl Watch {
    /// Begins with what is finished already, which is not shown.
    pub(super) fn new(status: &Status) -> Self {
        let mut watch = Self { start_ns: status.at_ns, targets: BTreeMap::new(), finished: BTreeMap::new() };
        for (interface, target) in targets(status) {
            let family = (interface.to_owned(), target.source.is_ipv6());
            *watch.finished.entry(family).or_default() += target.acked + target.lost;
        }
        watch.rows(status, &Addresses::default());
        watch
    }

    /// A row for each probe that was finished since the last look. `TIME` is the moment of this look.
    pub(super) fn rows(&mut self, status: &Status, show: &Addresses) -> Vec<Vec<Cell>> {
        let mut rows = Vec::new();
        let seconds = (status.at_ns as f64 - self.start_ns as f64) / 1e9;
        let mut known = std::mem::take(&mut self.targets);
        for (interface, target) in targets(status) {
            let path = (interface.to_owned(), target.source, target.address);
            let before = known.remove(&path);
            // A new target, or a daemon that began anew, begins with what it has.
            let news = before.as_ref().and_then(|before| {
                Some((target.acked.checked_sub(before.acked)?, target.lost.checked_sub(before.lost)?))
            });
            let (acked, lost) = news.unwrap_or((0, 0));
            let mut estimate = before.and_then(|before| before.estimate);
            if let Some(rtt) = target.rtt_daemon_ns.filter(|_| acked > 0) {
                estimate = Some(Estimate::update(estimate, rtt as f64));
            }
            let number = self.finished.entry((path.0.clone(), target.source.is_ipv6())).or_default();
            for index in 0..lost + acked {
                *number += 1;
                let newest = index + 1 == lost + acked;
                let cell = |ns: Option<u64>| match ns {
                    _ if index < lost => Cell::value(""),
                    Some(ns) if newest => milliseconds(ns as f64),
                    Some(_) | None => Cell::Unknown,
                };
                rows.push(vec![
                    Cell::value(format!("{seconds:.2}s")),
                    Cell::value(interface),
                    Cell::value(number.to_string()),
                    cell(target.rtt_kernel_ns),
                    cell(target.rtt_daemon_ns),
                    estimate.map_or_else(|| Cell::value(""), |known| milliseconds(known.average)),
                    Cell::value(show.show(target.address)),
                    estimate.map_or_else(|| Cell::value(""), |known| milliseconds(known.deviation)),
                ]);
            }
            self.targets.insert(path, Seen { acked: target.acked, lost: target.lost, estimate });
        }
        rows
    }
}

fn targets(status: &Status) -> impl Iterator<Item = (&str, &TargetStatus)> {
    let interfaces = status.groups.iter().flat_map(|group| &group.interfaces);
    interfaces.flat_map(|interface| interface.targets.iter().map(|target| (interface.name.as_str(), target)))
}

fn milliseconds(ns: f64) -> Cell {
    Cell::value(format!("{:.2}ms", ns / 1e6))
}

/// How often to look: by the fastest group that probes.
pub(super) fn period(status: &Status) -> Duration {
    let probing = status
        .groups
        .iter()
        .filter(|group| group.interfaces.iter().any(|interface| interface.probe != ProbeState::Disabled));
    let fastest = probing.map(|group| group.fdt_ns).min().unwrap_or(u64::MAX);
    Duration::from_nanos(fastest / PROBES_IN_FDT / LOOKS_PER_PROBE).clamp(SOONEST, LATEST)
}

/// Prints until the reader, the user or the daemon ends it.
pub(super) fn stream(
    client: &mut Client,
    first: &Status,
    columns: &Columns,
    show: &Addresses,
) -> Result<(), StatError> {
    let mut interfaces = first.groups.iter().flat_map(|group| &group.interfaces);
    if interfaces.all(|interface| interface.probe == ProbeState::Disabled) {
        return Err(StatError::NoProbes);
    }
    let mut watch = Watch::new(first);
    let (mut period, mut printed) = (period(first), 0);
    let mut due = Instant::now();
    loop {
        due = (due + period).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let status = client.status().map_err(|error| StatError::Client { error, mode: Mode::Probes })?;
        for row in watch.rows(&status, show) {
            let heading = columns.heading().filter(|_| printed % LINES_PER_HEADING == 0);
            printed += 1 + usize::from(heading.is_some());
            let text = heading.unwrap_or_default() + &columns.line(&row);
            if !print(&text).map_err(StatError::Output)? {
                return Ok(());
            }
        }
        period = self::period(&status);
    }
}
