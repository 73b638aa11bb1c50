//! What the applier is asked, and what it answers.

use std::{collections::BTreeSet, fmt::Display, net::IpAddr};

use ipmp_common::engine::{ids::GroupId, time::Timestamp};

use crate::net::{
    NetError,
    plan::{Wanted, neighbours::Neighbours},
};

/// One placement to be carried out.
#[derive(Clone, Debug)]
pub struct Job {
    /// The group.
    pub group: GroupId,
    /// Echoed in the outcome.
    pub epoch: u64,
    /// What it shall look like.
    pub wanted: Wanted,
    /// What the members know of their neighbours now: moves along with the traffic.
    pub neighbours: Neighbours,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried and the kernel's text, for people.
    pub what: String,
    /// The kernel's errno.
    pub errno: i32,
}

impl Failure {
    /// What was tried, and what came of it.
    pub(in crate::net) fn of(what: impl Display, error: &NetError) -> Self {
        Self { what: format!("{what}: {error}"), errno: error.errno() }
    }
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The group.
    pub group: GroupId,
    /// The job's number.
    pub epoch: u64,
    /// `CLOCK_MONOTONIC` right after the last answer to additions and routes, of many addresses to routes alone: from here on
    /// traffic takes the new way.
    pub applied_at: Timestamp,
    /// The same after the announcements were handed over; none if there were none.
    pub announced_at: Option<Timestamp>,
    /// Addresses that changed their interface, with the new one.
    pub moved: Vec<(u32, IpAddr)>,
    /// Netlink requests it took; 0 = everything was as wanted.
    pub changes: u32,
    /// Whether it had been foreseen, and its beginning was ready.
    pub foreseen: bool,
    /// Requests that failed.
    pub errors: Vec<Failure>,
    /// What was found on members but is somebody else's to manage.
    pub left_alone: Vec<String>,
    /// The interfaces that outbound flows of the group are spread over, empty if they are not; none if nobody looked.
    pub outbound: Option<BTreeSet<u32>>,
}

impl Outcome {
    /// Nothing done for a job (yet) but this, which failed.
    pub(super) fn nothing(job: &Job, errors: Vec<Failure>) -> Self {
        Self {
            group: job.group,
            epoch: job.epoch,
            applied_at: Timestamp::default(),
            announced_at: None,
            moved: Vec::new(),
            changes: 0,
            foreseen: false,
            errors,
            left_alone: Vec::new(),
            outbound: None,
        }
    }
}
