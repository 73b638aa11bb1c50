//! Files below a directory, read with a limit.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::ImportError;

/// Longest file that is read: a thousand addresses take 100 kB.
const MAX_BYTES: u64 = 1024 * 1024;
/// Files of one kind that are read: more than [`ipmp_common::engine::config`] allows interfaces would be refused.
const MAX_FILES: usize = 256 * 64;

/// A file's name as it is shown, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

/// Reads `dir/name`; `None` if there is no such file. Bytes that are not UTF-8 become U+FFFD: old systems' files
/// are often in another encoding, in comments at least.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Source>, ImportError> {
    let path = dir.join(name);
    let unreadable = |source| ImportError::Unreadable { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unreadable(io::Error::other(format!("larger than {MAX_BYTES} bytes"))));
    }
    Ok(Some(Source { name: name.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() }))
}

/// The names of the plain files in `dir/sub`, sorted; none if there is no such directory.
pub(super) fn names(dir: &Path, sub: &str) -> Result<Vec<String>, ImportError> {
    let path = dir.join(sub);
    let unreadable = |source| ImportError::Unreadable { path: path.clone(), source };
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        // Also a link to a file is one; a link to nothing is not.
        if fs::metadata(entry.path()).is_ok_and(|file| file.is_file())
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            return Err(unreadable(io::Error::other(format!("more than {MAX_FILES} files"))));
        }
    }
    names.sort();
    Ok(names)
}

/// `dir` must be a directory, so that a typing error is not taken for an empty system.
pub(super) fn check(dir: &Path) -> Result<(), ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: PathBuf::from(dir), source };
    fs::read_dir(dir).map(drop).map_err(unreadable)
}
