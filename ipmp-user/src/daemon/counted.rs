//! Errors that interfaces count: read when a member has failed or was repaired, after its addresses have moved.

use std::collections::BTreeMap;

use ipmp_common::engine::{
    errors::Errors,
    event::Event,
    ids::{GroupId, MemberId},
    reason::{Kind, Record},
    time::{Nanos, Timestamp},
};

use super::Daemon;
use crate::net::counters::Counters;

/// After a verdict that moves nothing, the counters are read so much later.
const PATIENCE: Nanos = Nanos::from_millis(500);

/// What is known of the counters.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) counters: Counters,
    /// As read last, and when.
    known: BTreeMap<u32, (Timestamp, Errors)>,
    /// Verdicts after which they shall be read, at the latest at that time.
    verdicts: BTreeMap<MemberId, Timestamp>,
    /// They were asked for after a verdict.
    asked: BTreeMap<u32, MemberId>,
}

impl Counted {
    pub(super) const fn new(counters: Counters) -> Self {
        Self { counters, known: BTreeMap::new(), verdicts: BTreeMap::new(), asked: BTreeMap::new() }
    }

    /// Something is told; perhaps a verdict.
    pub(super) fn note(&mut self, now: Timestamp, record: &Record) {
        if matches!(record.kind, Kind::Failed | Kind::Repaired) {
            self.verdicts.extend(record.member.map(|member| (member, now + PATIENCE)));
        }
    }

    /// An interface has appeared: what it counts from here on is told.
    pub(super) fn begin(&mut self, ifindex: u32) {
        self.known.remove(&ifindex);
        self.asked.remove(&ifindex);
        self.counters.ask(ifindex);
    }

    /// When counters are to be read at the latest.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.verdicts.values().min().copied()
    }
}

impl Daemon {
    /// A placement was carried out and announced: now there is time.
    pub(super) fn count_after(&mut self, group: GroupId) {
        let of_group = self.members.iter().filter(|member| member.group == group).map(|member| member.id);
        for member in of_group.collect::<Vec<_>>() {
            if self.counted.verdicts.remove(&member).is_some() {
                self.ask_counters(member);
            }
        }
    }

    fn ask_counters(&mut self, member: MemberId) {
        let ifindex = self.members.get(member.0 as usize).and_then(|member| member.ifindex);
        if let Some(ifindex) = ifindex {
            self.counted.asked.insert(ifindex, member);
            self.counted.counters.ask(ifindex);
        }
    }

    /// Tells what was counted; has counters read where nothing moves.
    pub(super) fn gather_counted(&mut self, now: Timestamp) {
        let overdue: Vec<MemberId> =
            self.counted.verdicts.extract_if(.., |_, due| *due <= now).map(|(member, _)| member).collect();
        for member in overdue {
            self.ask_counters(member);
        }
        while let Some((ifindex, errors)) = self.counted.counters.answer() {
            let before = self.counted.known.insert(ifindex, (now, errors));
            let asked = self.counted.asked.remove(&ifindex);
            let (Some(member), Some((at, before))) = (asked, before) else { continue };
            let errors = errors.since(&before);
            if !errors.is_none() {
                self.engine.handle(now, Event::Counted { member, within: now.since(at), errors });
            }
        }
    }
}
