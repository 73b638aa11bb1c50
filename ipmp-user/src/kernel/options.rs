//! What a caller asks of the kernel room.

use std::{
    io,
    path::{Path, PathBuf},
};

use aya::maps::MapError;
use ipmp_common::abi::MAX_SESSIONS;

use super::{CarrierRung, DepartureRung, Sysfs, bpffs};

/// How to open the kernel room.
#[derive(Clone, Debug)]
pub struct KernelOptions {
    /// Where to pin; a sub-directory is named for the ABI version. One directory serves one network
    /// namespace, that in which the process runs.
    pub pin_dir: PathBuf,
    /// Whether to try eBPF at all; without it every rung is the lowest.
    pub bpf: bool,
    /// The best rung to try for the carrier; tests ask for less than the kernel has.
    pub carrier: CarrierRung,
    /// Likewise for departures.
    pub departure: DepartureRung,
    /// The real-time priority of the thread that polls carriers (sched(7)); 0 = none.
    pub priority: u8,
    /// Where carrier changes are counted; without it drivers are asked, which may have to wait.
    pub sysfs: Option<Sysfs>,
}

impl KernelOptions {
    /// All that the kernel permits, pinned below `pin_dir`.
    pub fn new(pin_dir: impl Into<PathBuf>) -> Self {
        Self {
            pin_dir: pin_dir.into(),
            bpf: true,
            carrier: CarrierRung::Fentry,
            departure: DepartureRung::Tcx,
            priority: 0,
            sysfs: None,
        }
    }
}

/// Makes the place for pins, which only root can: the rest needs fewer privileges.
///
/// # Errors
/// When no BPF file system can be mounted, or the directory not be made.
pub fn prepare(pin_dir: &Path) -> io::Result<()> {
    bpffs::prepare(pin_dir)
}

/// Why a session could not be armed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There are [`MAX_SESSIONS`] slots.
    #[error(
        "session {0}: the kernel maps hold {MAX_SESSIONS} sessions: configure fewer targets or interfaces"
    )]
    TooManySessions(u32),
    /// The kernel refused to change a map.
    #[error("map {map}: cannot be written: {source}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        source: MapError,
    },
    /// A program stays attached, because what holds it cannot be removed.
    #[error("pin {}: cannot be removed: {source}", path.display())]
    Pin {
        /// In the bpf file system.
        path: PathBuf,
        /// unlink(2)'s.
        source: io::Error,
    },
}

impl KernelError {
    pub(super) const fn map(map: &'static str, source: MapError) -> Self {
        Self::Map { map, source }
    }
}
