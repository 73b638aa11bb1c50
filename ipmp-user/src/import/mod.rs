//! Other systems' set-ups → a proposal for `ipmpd.toml`: `ipmp import`.
//!
//! ```text
//!  files below a directory ─▶ solaris │ bonding │ team ─▶ Draft ─▶ document ─▶ TOML, checked as `ipmpd --check` does
//! ```
//!
//! * `solaris`: `/etc/hostname.*`, `/etc/hostname6.*` (grammar in `hostname`), `/etc/default/mpathd` (`mpathd`), names and
//!   netmasks (`names`).
//! * `bonding`, `team`: what Linux's own bonding and teaming drivers were set up to do.
//! * `document`: the draft as text, each entry with its source's file and line. What the configuration's own
//!   checker refuses stays in the text as a comment with the checker's reason.
//!
//! Nothing of the running system is read or changed: all files are looked for below the directory.

mod bonding;
mod document;
mod files;
mod hostname;
mod mpathd;
mod names;
mod solaris;
mod team;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

pub(crate) use names::Hosts;

/// What the directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// `/etc/hostname.*` and `/etc/default/mpathd`
    Solaris,
    /// `/proc/net/bonding/*` of the Linux bonding driver
    Bonding,
    /// teamd's JSON configurations
    Team,
}

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Relative to the directory.
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something that could not be carried over, or that has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What it is about; `None` = the whole.
    pub place: Option<Place>,
    /// What, and what to do.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// A configuration that `ipmpd --check` accepts.
    pub toml: String,
    /// What stands in its comments and wants attention.
    pub notes: Vec<Note>,
}

/// Why there is no proposal.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A directory or a file cannot be read.
    #[error("cannot import: {}: {source}: name the directory that holds the old system's files", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no group in the sources.
    #[error("nothing to import: {}: {what}", dir.display())]
    Nothing {
        /// Where it was looked for.
        dir: PathBuf,
        /// What was looked for, and what to do.
        what: String,
    },
    /// A name cannot be one in our configuration.
    #[error("cannot import: {0}")]
    Unusable(String),
}

/// Reads the files below `dir` and proposes a configuration. `rename` maps interface names of the old system to
/// those of this one.
///
/// # Errors
/// When the directory cannot be read, holds no group, or a name in it cannot be expressed.
pub fn import(dir: &Path, from: From, rename: &BTreeMap<String, String>) -> Result<Proposal, ImportError> {
    let mut draft = match from {
        From::Solaris => solaris::read(dir)?,
        From::Bonding => bonding::read(dir)?,
        From::Team => team::read(dir)?,
    };
    draft.rename(rename);
    document::write(&draft)
}
