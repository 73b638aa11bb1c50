//! Debian packages: asks for root only when something is missing, and refreshes the lists only when they lack it.

use std::process::Command;

use anyhow::{Result, bail, ensure};
use ipmp_tests::skip::find_program;

use crate::{
    privilege::as_root,
    shell::{output, run, say, step},
};

/// Whether this machine installs packages with apt.
pub(crate) fn has_apt() -> bool {
    find_program("apt-get").is_some()
}

/// Whether a package is installed.
pub(crate) fn is_installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]))
        .is_some_and(|status| status == "installed")
}

/// Installs those packages that are missing.
///
/// # Errors
/// When there is no apt, no root, or a package that no configured archive has.
pub(crate) fn install(packages: &[&str], why: &str) -> Result<()> {
    ensure!(has_apt(), "this machine has no apt to install {} with", packages.join(" "));
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(mut install) = as_root("apt-get") else {
        bail!(
            "root is needed {why}, and sudo is not there or asks for a password; run as root: apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    };
    if !missing.iter().all(|package| is_offered(package)) {
        say("the package lists do not know all of them: refreshing the lists");
        if let Some(mut update) = as_root("apt-get") {
            run(update.args(["update", "--quiet"]))?;
        }
    }
    let unknown: Vec<&str> = missing.iter().copied().filter(|package| !is_offered(package)).collect();
    ensure!(unknown.is_empty(), "no configured package archive offers {}", unknown.join(" "));
    step(
        &format!("installing Debian packages {why}: {}", missing.join(" ")),
        install
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn is_offered(package: &str) -> bool {
    output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))
        .is_some_and(|policy| policy.contains("Candidate:") && !policy.contains("Candidate: (none)"))
}
