//! The base on disk: after a restart while failed over, homes and originals are still known.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use ipmp_common::engine::time::Timestamp;
use rtnetlink::{
    packet_core::{Emitable as _, Parseable as _},
    packet_route::address::AddressMessage,
};
use serde::{Deserialize, Serialize};

use super::{
    NetError,
    address::Address,
    base::{Base, Original},
    nexthop::Nexthop,
    route::Route,
};

/// Changes when what is there already changes its meaning or form; another version's file is not read. What is only added
/// has a default, with which an older daemon's file is read.
const VERSION: u32 = 1;
/// The kernel's name for this boot: ifindexes and addresses mean nothing after it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    version: u32,
    boot: String,
    interfaces: BTreeMap<u32, String>,
    addresses: Vec<SavedAddress>,
    order: BTreeMap<String, Vec<std::net::IpAddr>>,
    #[serde(default)]
    made: std::collections::BTreeSet<std::net::IpAddr>,
    /// Netlink messages in hexadecimal: nothing of a route is lost, known to us or not.
    routes: Vec<String>,
    #[serde(default)]
    nexthops: Vec<String>,
    placement: BTreeMap<std::net::IpAddr, String>,
    unusable: Vec<String>,
    #[serde(default)]
    failed: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SavedAddress {
    home: String,
    message: String,
    /// `CLOCK_MONOTONIC` in nanoseconds at which an address with an end had the lifetimes in the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    as_of_ns: Option<u64>,
}

/// The file `state.json` in the runtime directory.
#[derive(Debug)]
pub struct StateFile {
    directory: PathBuf,
    written: RefCell<Vec<u8>>,
}

impl StateFile {
    /// In this directory, which is made when first needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), written: RefCell::new(Vec::new()) }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    /// Reads it. No file, or one from before this boot, is an empty base. A damaged file is renamed to
    /// `state.json.damaged` and reported as an error: nothing in it is trusted.
    pub fn load(&self) -> Result<Base, NetError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Base::default()),
            Err(error) => return Err(state_error(&path, format!("cannot be read: {error}"))),
        };
        match decode(&bytes) {
            Ok(Some(base)) => {
                self.written.replace(bytes);
                Ok(base)
            }
            Ok(None) => Ok(Base::default()),
            Err(what) => {
                let moved = put_aside(&path);
                let advice = "addresses that are away from home now will be taken to be at home where they are; \
                              check `ip address` and `ip route` against the configuration";
                Err(state_error(&path, format!("damaged ({what}), {moved}; {advice}")))
            }
        }
    }

    /// Whether there is nothing on disk that a successor could go by.
    pub fn is_blank(&self) -> bool {
        self.written.borrow().is_empty()
    }

    /// Writes it if it differs from what was written last: to a temporary file in the same directory, synced, renamed, so
    /// that a reader finds the old or the new one and never a part.
    pub fn save(&self, base: &Base) -> Result<(), NetError> {
        let bytes = encode(base).map_err(|e| state_error(&self.path(), e.to_string()))?;
        if *self.written.borrow() == bytes {
            return Ok(());
        }
        write_atomically(&self.directory, &self.path(), &bytes)
            .map_err(|error| state_error(&self.path(), format!("cannot be written: {error}")))?;
        self.written.replace(bytes);
        Ok(())
    }
}

pub(crate) fn write_atomically(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let temporary = path.with_extension("json.new");
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // Half a file is of no use, and takes room on a disk that is perhaps full.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Renames a file that cannot be trusted, so that somebody can look at it and nobody takes it for good; what came of that.
pub(crate) fn put_aside(path: &Path) -> String {
    let aside = path.with_extension("json.damaged");
    match fs::rename(path, &aside) {
        Ok(()) => format!("put aside as {}", aside.display()),
        Err(error) => format!("and it could not be renamed: {error}"),
    }
}

fn state_error(path: &Path, what: String) -> NetError {
    NetError::State { path: path.display().to_string(), what }
}

fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn encode(base: &Base) -> serde_json::Result<Vec<u8>> {
    let address = |original: &Original| {
        let message = original.address.request();
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let as_of_ns = original.address.lifetimes().run_out().then_some(original.as_of.0);
        SavedAddress { home: original.home.clone(), message: to_hex(&bytes), as_of_ns }
    };
    let document = Document {
        version: VERSION,
        boot: boot_id(),
        interfaces: base.names.clone(),
        addresses: base.addresses.values().map(address).collect(),
        order: base.order.clone(),
        made: base.made.clone(),
        routes: base
            .routes
            .values()
            .chain(base.broadcasts.values())
            .flatten()
            .map(|route| to_hex(&route.to_bytes()))
            .collect(),
        nexthops: base.nexthops.values().map(|nexthop| to_hex(nexthop.to_bytes())).collect(),
        placement: base.placement.clone(),
        unusable: base.unusable.iter().cloned().collect(),
        failed: base.failed.iter().cloned().collect(),
    };
    serde_json::to_vec_pretty(&document)
}

/// None: the file is sound but from another boot.
fn decode(bytes: &[u8]) -> Result<Option<Base>, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if document.version != VERSION {
        return Err(format!("version {} instead of {VERSION}", document.version));
    }
    if document.boot != boot_id() {
        return Ok(None);
    }
    let mut base = Base {
        inherited: document.interfaces.values().cloned().collect(),
        names: document.interfaces,
        order: document.order,
        made: document.made,
        placement: document.placement,
        unusable: document.unusable.into_iter().collect(),
        failed: document.failed.into_iter().collect(),
        ..Base::default()
    };
    for saved in document.addresses {
        let bytes = from_hex(&saved.message).ok_or("an address is not hexadecimal")?;
        let message = AddressMessage::parse(&bytes).map_err(|e| e.to_string())?;
        let address = Address::from_message(message).ok_or("an address message names no address")?;
        let as_of = Timestamp(saved.as_of_ns.unwrap_or_default());
        base.addresses.insert(address.ip(), Original { home: saved.home, address, as_of });
    }
    for hex in document.routes {
        let bytes = from_hex(&hex).ok_or("a route is not hexadecimal")?;
        let route = Route::from_bytes(&bytes).ok_or("a route message is no route")?;
        let lists = if route.is_broadcast() { &mut base.broadcasts } else { &mut base.routes };
        lists.entry(route.key()).or_default().push(route);
    }
    for hex in document.nexthops {
        let bytes = from_hex(&hex).ok_or("a nexthop is not hexadecimal")?;
        let nexthop = Nexthop::from_bytes(&bytes).ok_or("a nexthop message is no nexthop")?;
        base.nexthops.extend(nexthop.id().map(|id| (id, nexthop)));
    }
    Ok(Some(base))
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests;
