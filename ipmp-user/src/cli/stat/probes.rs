//! `-p`: probes as they are answered or lost, as the daemon tells of them.
//!
//! NETRTT is the kernel's: from the probe's passing the egress program to its answer's passing the ingress program. RTT is
//! the daemon's, from its decision to send to its taking note of the answer; for that it is woken by every answer as long
//! as somebody looks. Where it cannot be (answers by a packet socket, hundreds of targets), RTT is `?`. RTTAVG and RTTDEV
//! estimate NETRTT, which the daemon judges by.

use std::{collections::BTreeMap, io::Write as _, net::IpAddr};

use ipmp_common::engine::snapshot::ProbeState;

use super::{
    Mode, StatError,
    fields::{Cell, Columns},
    rows::{Addresses, is_being_probed},
};
use crate::{
    cli::output::{end_with_reader, print},
    control::{
        client::{Client, ClientError},
        feed::FinishedProbe,
        status::{Status, TargetStatus},
    },
};

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

/// What was seen until now.
#[derive(Debug)]
pub(super) struct Watch {
    /// Times are relative to this.
    start_ns: u64,
    estimates: BTreeMap<Path, Estimate>,
    /// Finished probes of each interface and family, so that each has a number.
    finished: BTreeMap<(String, bool), u64>,
}

impl Watch {
    /// Begins with what is finished already, which is not shown.
    pub(super) fn new(status: &Status) -> Self {
        let mut finished = BTreeMap::new();
        for (interface, target) in targets(status) {
            let family = (interface.to_owned(), target.source.is_ipv6());
            *finished.entry(family).or_default() += target.acked + target.lost;
        }
        Self { start_ns: status.at_ns, estimates: BTreeMap::new(), finished }
    }

    /// A probe's row. `TIME` is when it was sent; negative if before the start.
    pub(super) fn row(&mut self, probe: &FinishedProbe, show: &Addresses) -> Vec<Cell> {
        let path = (probe.interface.clone(), probe.source, probe.target);
        if let Some(rtt) = probe.rtt_kernel_ns {
            let known = self.estimates.get(&path).copied();
            self.estimates.insert(path.clone(), Estimate::update(known, rtt as f64));
        }
        let estimate = self.estimates.get(&path);
        let number = self.finished.entry((path.0, probe.source.is_ipv6())).or_default();
        *number += 1;
        let cell = |ns: Option<u64>| match ns {
            _ if !probe.answered => Cell::value(""),
            Some(ns) => milliseconds(ns as f64),
            None => Cell::Unknown,
        };
        let seconds = (probe.start_ns as f64 - self.start_ns as f64) / 1e9;
        vec![
            Cell::value(format!("{seconds:.2}s")),
            Cell::value(&probe.interface),
            Cell::value(number.to_string()),
            cell(probe.rtt_kernel_ns),
            cell(probe.rtt_daemon_ns),
            estimate.map_or_else(|| Cell::value(""), |known| milliseconds(known.average)),
            Cell::value(show.show(probe.target)),
            estimate.map_or_else(|| Cell::value(""), |known| milliseconds(known.deviation)),
        ]
    }
}

fn targets(status: &Status) -> impl Iterator<Item = (&str, &TargetStatus)> {
    let interfaces = status.groups.iter().flat_map(|group| &group.interfaces);
    interfaces.flat_map(|interface| interface.targets.iter().map(|target| (interface.name.as_str(), target)))
}

fn milliseconds(ns: f64) -> Cell {
    Cell::value(format!("{:.2}ms", ns / 1e6))
}

/// Prints until the reader, the user or the daemon ends it.
pub(super) fn stream(
    client: &mut Client,
    first: &Status,
    columns: &Columns,
    show: &Addresses,
    program: &str,
) -> Result<(), StatError> {
    let interfaces = || first.groups.iter().flat_map(|group| &group.interfaces);
    if interfaces().all(|interface| interface.probe == ProbeState::Disabled) {
        return Err(StatError::NoProbes);
    }
    if !interfaces().any(is_being_probed) {
        // ipmpstat would wait in silence. A closed standard error leaves nobody to tell.
        let text =
            "no interface is being probed now (absent, offline, without a link or without targets); waiting";
        let _ = std::io::stderr().write_all(format!("{program}: warning: {text}\n").as_bytes());
    }
    end_with_reader();
    let (mut watch, mut printed, mut failed) = (Watch::new(first), 0, None);
    let streamed = client.probes(|probe| {
        let heading = columns.heading().filter(|_| printed % LINES_PER_HEADING == 0);
        printed += 1 + usize::from(heading.is_some());
        let text = heading.unwrap_or_default() + &columns.line(&watch.row(probe, show));
        print(&text).unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    });
    let told = |error: ClientError| StatError::Client { error, mode: Mode::Probes };
    streamed.map_err(told).and_then(|()| failed.map_or(Ok(()), |error| Err(StatError::Output(error))))
}
