//! `cargo xtask build`: the release binaries.

use std::path::PathBuf;

use anyhow::Result;

use crate::{setup, shell};

/// Sets up and builds; returns the directory that holds `ipmpd` and `ipmp`.
pub(crate) fn run() -> Result<PathBuf> {
    setup::run(setup::For::Building)?;
    binaries("release")
}

/// Builds `ipmpd` and `ipmp` in a profile, and returns their directory.
pub(crate) fn binaries(profile: &str) -> Result<PathBuf> {
    let mut command = shell::cargo();
    command.args(["build", "--package", "ipmp-user", "--bins"]);
    if profile == "release" {
        command.arg("--release");
    }
    shell::step(&format!("building ipmpd and ipmp ({profile})"), &mut command)?;
    Ok(shell::target_dir(profile))
}
