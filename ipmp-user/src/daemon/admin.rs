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
use crate::net::{
    apply::Taken,
    inventory::{Inventory, Link},
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
    pub(super) attaching: Vec<Attaching>,
    /// Start-up is over: what appears from now on comes up.
    pub(super) started: bool,
}

impl Admin {
    /// Whether a member may be had on this interface.
    pub(super) fn may_take(&self, link: &Link) -> bool {
        !self.detached.holds(link) && self.identities.accepts(link)
    }

    pub(super) fn new(options: &DaemonOptions, inventory: &Inventory) -> Self {
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
            identities: Identities::load(&options.runtime_dir, options.config.identities.clone()),
            detaching: None,
            attaching: Vec::new(),
            started: false,
        }
    }
}
