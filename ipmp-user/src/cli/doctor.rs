//! `ipmp doctor`: what on this host would get in the way, and the fix. It looks, and changes nothing.

use std::{fmt::Write as _, io, path::Path};

use serde::Serialize;

use super::{
    args::DoctorArgs,
    exit::{self, Failure},
    output::{print, print_json, word},
};
use crate::{
    config,
    control::client::{Client, ClientError},
    diagnosis::{
        Finding, Severity,
        host::{self, Scene},
        place,
    },
};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'r> {
    version: u32,
    findings: &'r [Finding],
}

pub(super) fn run(runtime_dir: &Path, wanted: &DoctorArgs, json: bool) -> Result<u8, Failure> {
    let mut findings = Vec::new();
    let (daemon, status) =
        match Client::connect(runtime_dir).and_then(|mut client| Ok((client.process(), client.status()?))) {
            Ok((process, status)) => (process, Some(status)),
            // A finding of its own.
            Err(ClientError::NoDaemon { .. }) => (None, None),
            Err(error) => {
                findings.push(unheard(&error));
                (None, None)
            }
        };
    let unheard = !findings.is_empty();
    let config = match config::load(&wanted.config) {
        Ok(config) => Some(config.engine),
        Err(error) => {
            findings.push(if is_withheld(&error) {
                withheld(&error)
            } else {
                // The daemon that answers has read another file: its groups are known from it.
                unusable(if status.is_some() { Severity::Note } else { Severity::Problem }, &error)
            });
            None
        }
    };
    // A file beside the daemon's own would only confuse.
    let config = config.filter(|config| {
        let of_file = config.groups.iter().map(|group| group.name.as_str());
        let of_daemon = status.iter().flat_map(|status| &status.groups).map(|group| group.name.as_str());
        status.is_none() || of_file.eq(of_daemon.filter(|name| !name.is_empty()))
    });
    let elsewhere = place::is_elsewhere(daemon);
    let look = || {
        host::look(&Scene {
            config: config.as_ref(),
            status: status.as_ref(),
            unheard,
            elsewhere,
            root: Path::new("/"),
        })
    };
    let found = place::in_namespace_of(daemon, look).and_then(|found| found).map_err(|error| {
        let text = format!("cannot look: the daemon's network namespace: {error}: run ipmp doctor as root");
        Failure::new(exit::NOT_PERMITTED, text)
    })?;
    findings.extend(found);
    findings.sort_by_key(|found| std::cmp::Reverse(found.severity));
    if json {
        print_json(&Report { version: 1, findings: &findings })?;
    } else {
        print(&text(&findings))?;
    }
    Ok(code(&findings))
}

fn finding(severity: Severity, check: &str, what: String, why: &str, fix: &str) -> Finding {
    let [check, subject, why, fix] = [check, "host", why, fix].map(str::to_owned);
    Finding { severity, check, subject, what, why, fix }
}

fn unheard(error: &ClientError) -> Finding {
    let what = format!("the daemon cannot be asked: {error}");
    let why = "what it knows is not among the findings";
    let fix = if matches!(error, ClientError::NotPermitted { .. }) {
        "run ipmp doctor as root; or, to be answered always, join the group of [daemon] control-group"
    } else {
        "see whether ipmpd is stopped, or of another version, and run ipmp doctor again"
    };
    finding(Severity::Warning, "daemon-unheard", what, why, fix)
}

/// Whether it is only this user who may not read the file.
fn is_withheld(error: &config::ConfigError) -> bool {
    match error {
        config::ConfigError::Unreadable { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
        config::ConfigError::Unwritable { .. }
        | config::ConfigError::Known { .. }
        | config::ConfigError::Invalid(_) => false,
    }
}

fn withheld(error: &config::ConfigError) -> Finding {
    let why = "what it says is not among the findings";
    finding(Severity::Warning, "config", error.to_string(), why, "run ipmp doctor as root")
}

fn unusable(severity: Severity, error: &config::ConfigError) -> Finding {
    let why = "ipmpd does not start with it";
    finding(severity, "config", error.to_string(), why, "correct it: `ipmpd --check` shows the same")
}

/// The worst finding decides; notes are no fault.
pub(super) fn code(findings: &[Finding]) -> u8 {
    match findings.iter().map(|found| found.severity).max() {
        Some(Severity::Problem) => exit::FAILED,
        Some(Severity::Warning) => exit::DEGRADED,
        Some(Severity::Note) | None => 0,
    }
}

pub(super) fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing gets in the way\n".to_owned();
    }
    let mut text = String::new();
    for Finding { severity, subject, what, why, fix, .. } in findings {
        let clean = |text: &str| text.replace(|letter: char| letter.is_control() && letter != '\n', "?");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}: {subject}: {}\n  why it matters: {}\n  what to do: {}",
            word(severity),
            clean(what),
            clean(why),
            clean(fix)
        );
    }
    text
}
