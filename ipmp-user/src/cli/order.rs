//! `ipmp offline`, `online`, `detach`, `attach` and `reload`.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    args::{AttachArgs, DetachArgs, OfflineArgs},
    exit::Failure,
    output::{print, print_json},
};
use crate::control::{
    client::Client,
    protocol::{Attach, Command, Detach},
};

/// No addresses at all.
const NONE: &str = "none";

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

pub(super) fn detach(client: &mut Client, wanted: &DetachArgs, json: bool) -> Result<u8, Failure> {
    let detach = Detach {
        interfaces: each_once(&wanted.interfaces),
        device: wanted.device.clone(),
        check: wanted.check,
        force: wanted.force,
    };
    run(client, Command::Detach(detach), json)
}

pub(super) fn attach(client: &mut Client, wanted: &AttachArgs, json: bool) -> Result<u8, Failure> {
    let attach = Attach {
        interface: wanted.interface.clone(),
        group: wanted.group.clone(),
        standby: wanted.standby,
        data: wanted.data.as_deref().map(addresses),
        test: wanted.test.clone(),
        persist: wanted.persist,
    };
    run(client, Command::Attach(attach), json)
}

/// The names in their order, none twice.
pub(super) fn each_once(names: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert(*name)).cloned().collect()
}

/// What stands behind `--data`: `none` is the empty list of the configuration.
pub(super) fn addresses(listed: &[String]) -> Vec<String> {
    match listed {
        [only] if only == NONE => Vec::new(),
        listed => listed.to_vec(),
    }
}

pub(super) fn reload(client: &mut Client, json: bool) -> Result<u8, Failure> {
    run(client, Command::Reload, json)
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
