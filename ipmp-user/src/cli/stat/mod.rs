//! `ipmp stat`, and everything under the name `ipmpstat`: the views of Solaris's ipmpstat(1M).
//!
//! The fields, their widths, `-P`'s escaping and the texts of errors are those of ipmpstat, so that scripts made
//! for it go on working. What a view cannot know of a Linux host is told at the function that makes its rows.

mod fields;
mod probes;
mod rows;

#[cfg(test)]
mod tests;

use std::{io::Write as _, path::Path, process::ExitCode};

use self::{fields::Columns, rows::Addresses};
use super::{
    args::{self, IpmpstatArgs, StatArgs},
    exit::{self, Failure},
    output::print,
};
use crate::{
    control::client::{Client, ClientError},
    import::Hosts,
};

const PROGRAM: &str = "ipmpstat";
/// Solaris knows no other.
const ANY_ERROR: u8 = 1;
const HOSTS: &str = "/etc/hosts";

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Addresses,
    Groups,
    Interfaces,
    Probes,
    Targets,
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
enum StatError {
    /// More than one of `-a`, `-g`, `-i`, `-p`, `-t`.
    #[error("only one output format may be specified")]
    TwoModes,
    /// None of them.
    #[error("usage: ipmpstat [-n] [-o <field> [-P]] -a|-g|-i|-p|-t")]
    NoMode,
    /// `-o` and `-P` as they are.
    #[error("{0}")]
    Fields(String),
    /// `-p` without probes.
    #[error("probe-based failure detection is disabled")]
    NoProbes,
    /// The daemon did not answer.
    #[error("{error}")]
    Client {
        /// Why.
        error: ClientError,
        /// In which mode.
        mode: Mode,
    },
    /// Standard output.
    #[error("{}", .0.text)]
    Output(Failure),
}

/// The whole of `ipmpstat`: its words, and 1 for every error.
pub(super) fn ipmpstat() -> ExitCode {
    let args = match args::parse_as::<IpmpstatArgs>(PROGRAM, ANY_ERROR) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let text = match show(&args.runtime_dir, &args.stat, PROGRAM) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(StatError::Client { error: ClientError::NoDaemon { .. }, .. }) => {
            "cannot contact in.mpathd(1M) -- is IPMP in use?".to_owned()
        }
        Err(StatError::Client { error: ClientError::NotPermitted { .. }, mode: Mode::Probes }) => {
            "insufficient privileges for -p".to_owned()
        }
        Err(error @ StatError::NoMode) => {
            // Without the program's name before it, as ipmpstat prints it.
            let _ = std::io::stderr().write_all(format!("{error}\n").as_bytes());
            return ExitCode::from(ANY_ERROR);
        }
        Err(error) => error.to_string(),
    };
    // A closed standard error leaves nobody to tell.
    let _ = std::io::stderr().write_all(format!("{PROGRAM}: {text}\n").as_bytes());
    ExitCode::from(ANY_ERROR)
}

/// `ipmp stat`: the same with `ipmp`'s errors and exit codes.
pub(super) fn run(runtime_dir: &Path, wanted: &StatArgs) -> Result<u8, Failure> {
    show(runtime_dir, wanted, "ipmp").map(|()| 0).map_err(|error| match error {
        StatError::Client { error, .. } => error.into(),
        StatError::Output(failure) => failure,
        StatError::NoProbes => {
            let text = "probe-based failure detection is disabled: no interface in use has a test address: see `ipmp status`";
            Failure::new(exit::REFUSED, text)
        }
        StatError::NoMode => {
            Failure::new(exit::USAGE, "usage: stat: nothing to show: give one of -a, -g, -i, -p, -t")
        }
        StatError::TwoModes => Failure::new(exit::USAGE, format!("usage: stat: {error}: give one of -a, -g, -i, -p, -t")),
        StatError::Fields(text) => {
            Failure::new(exit::USAGE, format!("usage: stat: {text}: see the headings for their names"))
        }
    })
}

fn show(runtime_dir: &Path, wanted: &StatArgs, program: &str) -> Result<(), StatError> {
    let mode = mode(wanted)?;
    let columns = match Columns::new(mode, wanted.fields.as_deref(), wanted.parsable) {
        Ok(columns) => columns,
        Err(bad) => match bad.usable {
            Some(columns) => {
                // As ipmpstat: unknown fields are told and left out.
                let _ = std::io::stderr().write_all(format!("{program}: warning: {}\n", bad.text).as_bytes());
                columns
            }
            None => return Err(StatError::Fields(bad.text)),
        },
    };
    let addresses = Addresses { hosts: if wanted.numeric { Hosts::default() } else { hosts() } };
    let failed = |error| StatError::Client { error, mode };
    let mut client = Client::connect(runtime_dir).map_err(failed)?;
    let mut status = client.status().map_err(failed)?;
    // Interfaces in no group are none of ipmpstat's.
    status.groups.retain(|group| !group.name.is_empty());
    let rows = match mode {
        Mode::Addresses => rows::addresses(&status, &addresses),
        Mode::Groups => rows::groups(&status),
        Mode::Interfaces => rows::interfaces(&status),
        Mode::Targets => rows::targets(&status, &addresses),
        Mode::Probes => return probes::stream(&mut client, &status, &columns, &addresses, program),
    };
    // As ipmpstat: no heading above nothing.
    let heading = columns.heading().filter(|_| !rows.is_empty()).unwrap_or_default();
    let lines: String = rows.iter().map(|row| columns.line(row)).collect();
    print(&(heading + &lines)).map(drop).map_err(StatError::Output)
}

fn mode(wanted: &StatArgs) -> Result<Mode, StatError> {
    let given = [
        (wanted.addresses, Mode::Addresses),
        (wanted.groups, Mode::Groups),
        (wanted.interfaces, Mode::Interfaces),
        (wanted.probes, Mode::Probes),
        (wanted.targets, Mode::Targets),
    ];
    let mut modes = given.iter().flat_map(|(times, mode)| std::iter::repeat_n(*mode, usize::from(*times)));
    match (modes.next(), modes.next()) {
        (Some(mode), None) => Ok(mode),
        (Some(_), Some(_)) => Err(StatError::TwoModes),
        (None, _) => Err(StatError::NoMode),
    }
}

/// This host's names; none if they cannot be read, and then addresses stay numbers.
fn hosts() -> Hosts {
    let mut hosts = Hosts::default();
    hosts.add(&std::fs::read_to_string(HOSTS).unwrap_or_default());
    hosts
}
