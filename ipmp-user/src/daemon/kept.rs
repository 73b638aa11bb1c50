//! What one daemon tells the next, in files of the runtime directory. Whatever cannot be read is as if it had never been; a
//! damaged file is set aside.

use std::{fs, io, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::net::{put_aside, write_atomically};

/// As an earlier run left it.
pub(super) fn load<T: DeserializeOwned + Default>(file: &Path) -> T {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return T::default(),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "what an earlier daemon left there is not known");
            return T::default();
        }
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        let aside = put_aside(file);
        tracing::warn!(file = %file.display(), %error, "damaged, {aside}: what an earlier daemon left there is not known");
        T::default()
    })
}

/// For the next one.
pub(super) fn save(file: &Path, known: &impl Serialize) {
    let bytes = serde_json::to_vec(known).unwrap_or_default();
    let saved = file.parent().map_or(Ok(()), |dir| write_atomically(dir, file, &bytes));
    if let Err(error) = saved {
        tracing::warn!(file = %file.display(), %error, "after a restart this is not known");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_damaged_file_is_set_aside_and_nothing_in_it_is_trusted() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("offline.json");
        let known: BTreeSet<String> = ["eth0".to_owned(), "eth1".to_owned()].into();
        save(&file, &known);
        let whole = fs::read(&file).expect("written");
        let shortened = (0..whole.len()).map(|length| whole[..length].to_vec());
        let more = [vec![0; whole.len()], [&*whole, b"]"].concat(), [&*whole, &[0]].concat()];
        for bytes in shortened.chain(more) {
            fs::write(&file, &bytes).expect("damaged");
            assert_eq!(load::<BTreeSet<String>>(&file), BTreeSet::new(), "{bytes:?}");
            assert!(!file.exists());
            assert_eq!(fs::read(file.with_extension("json.damaged")).expect("set aside"), bytes);
        }
        fs::write(&file, whole).expect("as it was");
        assert_eq!(load::<BTreeSet<String>>(&file), known);
    }
}
