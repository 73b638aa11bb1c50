//! `if_mpadm -d IF` and `if_mpadm -r IF`: Solaris's words and exit codes (0 done, 1 not) for `ipmp offline` and `online`.

use std::{fmt::Display, io::Write as _, process::ExitCode};

use ipmp_common::engine::snapshot::ShownState;

use super::args::{self, IfMpadmArgs};
use crate::control::{
    client::{Client, ClientError},
    protocol::{Command, RefusalCode},
    status::Status,
};

const PROGRAM: &str = "if_mpadm";
/// Solaris knows no other.
const NOT_DONE: u8 = 1;
/// For an interface that cannot be taken offline.
const NOT_OURS: &str = "not a physical interface or not in an IPMP group";

pub(super) fn main() -> ExitCode {
    let args = match args::parse_as::<IfMpadmArgs>(PROGRAM, NOT_DONE) {
        Ok(args) => args,
        Err(code) => return code,
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // A closed standard error leaves nobody to tell.
            let _ = std::io::stderr().write_all(format!("{PROGRAM}: fatal: {text}\n").as_bytes());
            ExitCode::from(NOT_DONE)
        }
    }
}

fn run(args: &IfMpadmArgs) -> Result<(), String> {
    // clap sees to it that there is one of them.
    let (name, offline) = match (&args.offline, &args.online) {
        (Some(name), _) => (name, true),
        (None, Some(name)) => (name, false),
        (None, None) => return Err("nothing to do: give -d or -r".to_owned()),
    };
    let cannot = |why: &dyn Display| {
        let what = if offline { "offline" } else { "undo-offline" };
        format!("cannot {what} {name}: {why}")
    };
    let mut client = Client::connect(&args.runtime_dir).map_err(|error| cannot(&error))?;
    let status = client.status().map_err(|error| cannot(&error))?;
    let already = match state(&status, name) {
        None if offline => return Err(cannot(&NOT_OURS)),
        Some(ShownState::Offline) => true,
        // if_mpadm looks at the interface's flags, whoever's it is.
        None | Some(ShownState::Ok | ShownState::Failed | ShownState::Unknown | ShownState::Absent) => false,
    };
    if already == offline {
        let state = if offline { "already" } else { "not" };
        return Err(format!("interface {name} is {state} offline"));
    }
    let interface = name.clone();
    let order =
        if offline { Command::Offline { interface, force: false } } else { Command::Online { interface } };
    client.order(order).map(drop).map_err(|error| cannot(&reason(&error, name)))
}

fn state(status: &Status, name: &str) -> Option<ShownState> {
    let mut interfaces = status.groups.iter().flat_map(|group| &group.interfaces);
    interfaces.find(|interface| interface.name == name).map(|interface| interface.state)
}

/// The daemon refuses as `interface: reason: what to do`; Solaris prints only the reason.
fn reason(error: &ClientError, name: &str) -> String {
    match error {
        ClientError::Refused(refusal) if refusal.code == RefusalCode::Refused => {
            let text = refusal.text.strip_prefix(name).and_then(|text| text.strip_prefix(": "));
            let text = text.unwrap_or(&refusal.text);
            text.split(": ").next().unwrap_or(text).to_owned()
        }
        ClientError::Refused(_)
        | ClientError::NoDaemon { .. }
        | ClientError::NotPermitted { .. }
        | ClientError::Lost { .. }
        | ClientError::Silent { .. } => error.to_string(),
    }
}
