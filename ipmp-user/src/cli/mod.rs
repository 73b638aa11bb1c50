//! The command lines of `ipmp` and `ipmpd`: one file a sub-command. Under the names `ipmpstat` and `if_mpadm`, `ipmp` is
//! those programs.

pub mod args;
mod doctor;
mod events;
pub mod exit;
mod explain;
mod if_mpadm;
mod import;
pub mod ipmpd;
mod links;
mod order;
mod output;
mod plan;
mod replay;
mod solaris;
mod stat;
mod status;
mod top;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::Path, process::ExitCode};

use self::{
    args::{ClientArgs, Command},
    exit::Failure,
};
use crate::control::{
    client::{Client, ClientError},
    protocol::RefusalCode,
};

/// The whole of `ipmp`, and of the programs it is under other names.
pub fn main() -> ExitCode {
    match called_as(std::env::args_os().next()).as_deref() {
        Some("ipmpstat") => return stat::ipmpstat(),
        Some("if_mpadm") => return if_mpadm::main(),
        Some(_) | None => {}
    }
    let args = match args::parse::<ClientArgs>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    match run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

/// The name of the program without its directory.
fn called_as(argument: Option<OsString>) -> Option<String> {
    let name = Path::new(&argument?).file_name()?.to_str()?.to_owned();
    Some(name)
}

fn run(args: &ClientArgs) -> Result<u8, Failure> {
    let client = || Client::connect(&args.runtime_dir);
    match &args.command {
        Command::Status(wanted) => status::run(&mut client()?, wanted, args.json),
        Command::Events(wanted) => events::run(&mut client()?, wanted, args.json),
        Command::Explain(wanted) => explain::run(&mut client()?, &wanted.interface, args.json),
        Command::Offline(wanted) => order::offline(&mut client()?, wanted, args.json),
        Command::Online(wanted) => order::online(&mut client()?, &wanted.interface, args.json),
        Command::Detach(wanted) => order::detach(&mut client()?, wanted, args.json),
        Command::Attach(wanted) => order::attach(&mut client()?, wanted, args.json),
        Command::Reload => order::reload(&mut client()?, args.json),
        Command::Stat(wanted) => stat::run(&args.runtime_dir, wanted),
        Command::Top(wanted) => top::run(&args.runtime_dir, wanted),
        Command::Doctor(wanted) => doctor::run(&args.runtime_dir, wanted, args.json),
        Command::Import(wanted) => import::run(wanted, args.json),
        Command::Plan(wanted) => plan::run(wanted, args.json),
        Command::Replay(wanted) => replay::run(&wanted.file, args.json),
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NoDaemon { .. } => exit::NO_DAEMON,
            ClientError::NotPermitted { .. } => exit::NOT_PERMITTED,
            ClientError::Lost { .. } | ClientError::Silent { .. } => exit::IO,
            ClientError::Refused(refusal) => match refusal.code {
                RefusalCode::NotPermitted => exit::NOT_PERMITTED,
                RefusalCode::NotFound => exit::USAGE,
                RefusalCode::BadCall => exit::IO,
                RefusalCode::InvalidConfig => exit::INVALID_CONFIG,
                RefusalCode::Failed => exit::SOFTWARE,
                RefusalCode::Refused
                | RefusalCode::NotSupported
                | RefusalCode::Busy
                | RefusalCode::NoSeat => exit::REFUSED,
            },
        };
        Self::new(code, error)
    }
}
