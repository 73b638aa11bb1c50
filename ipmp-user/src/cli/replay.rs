//! `ipmp replay`: runs a recording of `ipmpd --record` through the engine and compares. Needs no daemon.

use std::{fs::File, io::BufReader, path::Path};

use serde_json::json;

use super::{
    exit::{self, Failure},
    output::{print, print_json},
};
use crate::recorder::{ReplayError, Replayed, replay};

/// Replays `file`; a difference is a failure with exit code 1.
pub(super) fn run(file: &Path, json: bool) -> Result<u8, Failure> {
    let name = file.display();
    let opened = File::open(file).map_err(|error| {
        Failure::new(
            exit::USAGE,
            format!("cannot read the recording: {name}: {error}: name a file of `ipmpd --record`"),
        )
    })?;
    let replayed = replay(BufReader::new(opened)).map_err(|error| {
        let differs = matches!(error, ReplayError::Differs { .. });
        let code = if differs { exit::DEGRADED } else { exit::INVALID_CONFIG };
        Failure::new(code, format!("replay ended: {name}: {error}"))
    })?;
    let Replayed { events, actions, surplus } = replayed;
    if json {
        print_json(&json!({ "version": 1, "events": events, "actions": actions, "surplus": surplus }))?;
    } else {
        let more = if surplus > 0 {
            format!("; it asks for {surplus} more than were recorded")
        } else {
            String::new()
        };
        print(&format!("{name}: {events} events led to the same {actions} actions{more}\n"))?;
    }
    Ok(0)
}
