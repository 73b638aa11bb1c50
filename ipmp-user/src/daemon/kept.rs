//! What one daemon tells the next, in files of the runtime directory. Whatever cannot be read is as if it had never been.

use std::{fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};

/// As an earlier run left it.
pub(super) fn load<T: DeserializeOwned + Default>(file: &Path) -> T {
    let read = fs::read(file).ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// For the next one.
pub(super) fn save(file: &Path, known: &impl Serialize) {
    let bytes = serde_json::to_vec(known).unwrap_or_default();
    let saved = file.parent().map_or(Ok(()), |dir| crate::net::write_atomically(dir, file, &bytes));
    if let Err(error) = saved {
        tracing::warn!(file = %file.display(), %error, "after a restart this is not known");
    }
}
