//! What is wrong with the rest of the host: the kernel, its settings, other managers, and how the members of a group fit
//! together. [`look`] gathers, `checks` judges.

mod checks;
mod facts;

use std::{io, path::Path};

use ipmp_common::engine::config::Config;

use super::Finding;
use crate::control::status::Status;

/// Where to look, and what is known already.
#[derive(Debug)]
pub struct Scene<'s> {
    /// The configuration, if it can be read.
    pub config: Option<&'s Config>,
    /// What the daemon says, if it answers.
    pub status: Option<&'s Status>,
    /// There is a daemon, but it did not say.
    pub unheard: bool,
    /// The daemon's network namespace is not that in which this program was started: other managers' notes, which are kept
    /// by interface number, do not concern it then.
    pub elsewhere: bool,
    /// The root of the file system; another one in tests.
    pub root: &'s Path,
}

/// Gathers and judges. The calling thread is in the network namespace that is meant.
///
/// # Errors
/// When the kernel does not tell of its interfaces.
pub fn look(scene: &Scene<'_>) -> io::Result<Vec<Finding>> {
    let facts = facts::gather(scene)?;
    Ok(checks::all(&facts))
}
