//! `ipmp import`: another system's set-up → a configuration on standard output.

use std::{collections::BTreeMap, io::Write as _};

use super::{
    args::ImportArgs,
    exit::{self, Failure},
    output::{print, print_json},
};
use crate::import::{ImportError, import};

pub(super) fn run(wanted: &ImportArgs, json: bool) -> Result<u8, Failure> {
    let rename: BTreeMap<String, String> = wanted.rename.iter().cloned().collect();
    let proposal = import(&wanted.dir, wanted.from, &rename).map_err(|error| {
        let code = match &error {
            ImportError::Unreadable { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                exit::NOT_PERMITTED
            }
            ImportError::Unreadable { .. } | ImportError::Nothing { .. } | ImportError::Unusable(_) => {
                exit::INVALID_CONFIG
            }
        };
        Failure::new(code, error)
    })?;
    if json {
        print_json(&proposal)?;
        return Ok(0);
    }
    print(&proposal.toml)?;
    for note in &proposal.notes {
        let line = format!("ipmp: import: {note}\n").replace(|c: char| c.is_control() && c != '\n', "?");
        // A closed standard error leaves nobody to tell; the same stands in the text's comments.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    Ok(0)
}
