//! Whether what is pinned under the name of a map is such a map. The loader takes whatever it finds, and reads and writes its
//! values by the sizes that it should have.

use std::{fs, path::Path};

use aya::maps::{MapError, MapInfo, MapType};
use ipmp_common::abi::{
    Carrier, CarrierKey, Counters, EVENT_RING_BYTES, Evidence, MAX_INTERFACES, MAX_SESSIONS, Session, map,
};

use crate::kernel::load::at;

/// What the kernel knows of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Form {
    kind: MapType,
    key: usize,
    value: usize,
    entries: u32,
}

impl Form {
    const fn new<K, V>(kind: MapType, entries: u32) -> Self {
        Self { kind, key: size_of::<K>(), value: size_of::<V>(), entries }
    }

    /// As `ipmp-ebpf/src/maps.rs` declares it.
    fn of(name: &str) -> Option<Self> {
        match name {
            map::SESSION => Some(Self::new::<u32, Session>(MapType::Array, MAX_SESSIONS)),
            map::EVIDENCE => Some(Self::new::<u32, Evidence>(MapType::Array, MAX_SESSIONS)),
            map::COUNTER => Some(Self::new::<u32, Counters>(MapType::PerCpuHash, MAX_INTERFACES)),
            map::CARRIER => Some(Self::new::<CarrierKey, Carrier>(MapType::Hash, MAX_INTERFACES)),
            map::EVENTS => Some(Self::new::<(), ()>(MapType::RingBuf, EVENT_RING_BYTES)),
            _ => None,
        }
    }

    fn pinned_at(path: &Path) -> Result<Self, MapError> {
        let info = MapInfo::from_pin(path)?;
        let (key, value) = (info.key_size() as usize, info.value_size() as usize);
        Ok(Self { kind: info.map_type()?, key, value, entries: info.max_entries() })
    }
}

/// Removes what is pinned in the place of a map and is none of that form. An error, if it can neither be used nor be removed.
pub(super) fn remove_strangers(dir: &Path) -> Result<(), String> {
    for name in map::ALL {
        let path = dir.join(name);
        let there = path.try_exists().map_err(|error| at(&path, &error))?;
        if !there || Form::pinned_at(&path).is_ok_and(|form| Some(form) == Form::of(name)) {
            continue;
        }
        fs::remove_file(&path).map_err(|error| at(&path, &error))?;
        tracing::warn!(path = %path.display(), "what was pinned there is no map of ours: removed");
    }
    Ok(())
}
