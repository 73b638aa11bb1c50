//! The daemon's one loop.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};

use crate::config::FileConfig;

/// What the command line and the configuration file gave.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The validated configuration.
    pub config: FileConfig,
    /// Where it came from: read again on SIGHUP.
    pub config_path: PathBuf,
    /// Holds the control socket.
    pub runtime_dir: PathBuf,
    /// The bpffs directory under which the ABI version's sub-directory holds programs, links and maps.
    pub pin_dir: PathBuf,
}

#[expect(clippy::needless_pass_by_value, reason = "the loop owns its options")]
/// Runs until a signal ends the daemon.
pub fn run(options: DaemonOptions) -> Result<ExitCode> {
    bail!(
        "the daemon's loop is not built yet ({})",
        options.config_path.display()
    )
}
