//! Which evidence is in use on a member, and why nothing better.

use ipmp_common::engine::{event::CarrierSource, snapshot::ShownState};

use crate::{
    control::status::{Link, ReplyEvidence},
    diagnosis::{Finding, LinkReport, Severity, host::facts::Told},
};

pub(super) fn check(name: &str, link: &LinkReport, told: &Told) -> Vec<Finding> {
    let why_not = |what: &str| {
        let notes = told.notes.iter().filter(|note| note.starts_with(what));
        notes.cloned().collect::<Vec<_>>().join("; ")
    };
    let mut found = Vec::new();
    let mut note = |check: &str, told: [&str; 3]| found.push(Finding::new(Severity::Note, check, name, told));
    let replies = told.reply.filter(|rung| *rung != ReplyEvidence::XdpNative);
    if let Some(rung) = replies {
        let word = match rung {
            ReplyEvidence::XdpNative => "xdp-native",
            ReplyEvidence::Tcx => "tcx",
            ReplyEvidence::XdpGeneric => "xdp-generic",
            ReplyEvidence::Socket => "socket",
        };
        let foreign =
            matches!(rung, ReplyEvidence::Tcx | ReplyEvidence::Socket) && !link.xdp_programs.is_empty();
        note(
            "reply-evidence",
            [
                &if foreign {
                    format!(
                        "answers are stamped by {word}, because another program (id {}) has the XDP hook",
                        ids(link)
                    )
                } else {
                    format!("answers are stamped by {word}; {}", why_not("replies"))
                },
                "stamps are later than in the driver: round trips look longer, verdicts are the same",
                "nothing needs to be done; a driver with native XDP gives the best stamps",
            ],
        );
    }
    if told.carrier.is_some_and(|rung| matches!(rung, CarrierSource::Poll | CarrierSource::Netlink)) {
        note(
            "carrier-evidence",
            [
                &format!(
                    "carrier changes are found by looking, not told by the kernel; {}",
                    why_not("carrier")
                ),
                "a lost carrier is noticed some milliseconds later",
                "a kernel that permits tracing programs (fentry, kprobe)",
            ],
        );
    }
    if told.link == Link::Unknown && told.state != ShownState::Absent {
        found.push(Finding::new(
            Severity::Warning,
            "carrier-unknown",
            name,
            [
                "its driver does not report carrier",
                "a pulled cable is not noticed",
                "give it a test address, so that it is probed",
            ],
        ));
    }
    found
}

fn ids(link: &LinkReport) -> String {
    link.xdp_programs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
