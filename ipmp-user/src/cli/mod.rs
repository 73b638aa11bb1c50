//! The command lines of `ipmp` and `ipmpd`: one file a sub-command.

pub mod args;
mod events;
pub mod exit;
mod explain;
pub mod ipmpd;
mod order;
mod output;
mod plan;
mod replay;
mod status;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use self::{
    args::{ClientArgs, Command},
    exit::Failure,
};
use crate::control::{
    client::{Client, ClientError},
    protocol::RefusalCode,
};

/// The whole of `ipmp`.
pub fn main() -> ExitCode {
    let args = match args::parse::<ClientArgs>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    match run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

fn run(args: &ClientArgs) -> Result<u8, Failure> {
    let client = || Client::connect(&args.runtime_dir);
    match &args.command {
        Command::Status(wanted) => status::run(&mut client()?, wanted, args.json),
        Command::Events(wanted) => events::run(&mut client()?, wanted, args.json),
        Command::Explain(wanted) => explain::run(&mut client()?, &wanted.interface, args.json),
        Command::Offline(wanted) => order::offline(&mut client()?, wanted, args.json),
        Command::Online(wanted) => order::online(&mut client()?, &wanted.interface, args.json),
        Command::Plan(wanted) => plan::run(wanted, args.json),
        Command::Replay(wanted) => replay::run(&wanted.file, args.json),
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NoDaemon { .. } => exit::NO_DAEMON,
            ClientError::NotPermitted { .. } => exit::NOT_PERMITTED,
            ClientError::Lost { .. } => exit::IO,
            ClientError::Refused(refusal) => match refusal.code {
                RefusalCode::NotPermitted => exit::NOT_PERMITTED,
                RefusalCode::NotFound => exit::USAGE,
                RefusalCode::BadCall => exit::IO,
                RefusalCode::Refused | RefusalCode::NotSupported | RefusalCode::Busy => exit::REFUSED,
            },
        };
        Self::new(code, error)
    }
}
