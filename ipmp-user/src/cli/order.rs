//! `ipmp offline` and `ipmp online`.

use serde::Serialize;

use super::{
    args::OfflineArgs,
    exit::Failure,
    output::{print, print_json},
};
use crate::control::{client::Client, protocol::Command};

#[derive(Serialize)]
struct Done<'t> {
    version: u32,
    message: &'t str,
}

pub(super) fn offline(client: &mut Client, wanted: &OfflineArgs, json: bool) -> Result<u8, Failure> {
    let interface = wanted.interface.clone();
    let force = wanted.force;
    run(client, Command::Offline { interface, force }, json)
}

pub(super) fn online(client: &mut Client, interface: &str, json: bool) -> Result<u8, Failure> {
    let interface = interface.to_owned();
    run(client, Command::Online { interface }, json)
}

fn run(client: &mut Client, command: Command, json: bool) -> Result<u8, Failure> {
    let message = client.order(command)?;
    if json {
        print_json(&Done { version: 1, message: &message })?;
    } else {
        print(&format!("{message}\n"))?;
    }
    Ok(0)
}
