//! What the administrator's orders need from one turn of the loop to the next.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    DaemonOptions,
    attach::Attaching,
    detach::Detaching,
    detached::Detached,
    identity::Identities,
    offline,
    reload::{Loader, Source},
};
use crate::{
    control::protocol::{Refusal, RefusalCode},
    net::{
        apply::Taken,
        inventory::{Inventory, Link},
    },
};

/// See the module's page.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) config_path: PathBuf,
    pub(super) runtime_dir: PathBuf,
    /// What is in force.
    pub(super) source: Source,
    pub(super) loader: Loader,
    /// Of the newest step.
    pub(super) tickets: u64,
    /// Steps that the applier had no room for.
    pub(super) refused: Vec<Taken>,
    pub(super) detached: Detached,
    /// As the file has it.
    pub(super) offline: BTreeSet<String>,
    pub(super) identities: Identities,
    pub(super) detaching: Option<Detaching>,
    pub(super) attaching: Option<Attaching>,
    /// Start-up is over: what appears from now on comes up.
    pub(super) started: bool,
}

impl Admin {
    /// Orders that take several turns are carried out one after the other: a second one would build on what the first is
    /// about to change.
    ///
    /// # Errors
    /// While one is under way; `what` is refused therefore.
    pub(super) fn idle(&self, what: &str) -> Result<(), Refusal> {
        let under_way = if self.detaching.is_some() {
            "a detach"
        } else if self.attaching.is_some() {
            "an attach"
        } else {
            return Ok(());
        };
        let text = format!("{what}: {under_way} is under way: try again when it is over");
        Err(Refusal::new(RefusalCode::Busy, text))
    }

    /// Whether a member may be had on this interface.
    pub(super) fn may_take(&self, link: &Link) -> bool {
        !self.detached.holds(link) && self.identities.accepts(link)
    }

    pub(super) fn new(options: &DaemonOptions, inventory: &Inventory, identities: Identities) -> Self {
        let (text, file) = (options.config_text.clone().into(), options.config.clone());
        Self {
            config_path: options.config_path.clone(),
            runtime_dir: options.runtime_dir.clone(),
            source: Source { text, file },
            loader: Loader::new(),
            tickets: 0,
            refused: Vec::new(),
            detached: Detached::load(&options.runtime_dir, inventory),
            offline: offline::load(&options.runtime_dir),
            identities,
            detaching: None,
            attaching: None,
            started: false,
        }
    }
}
