//! Debian's archive through a private configuration of apt: own lists, own cache, the machine's apt state untouched.
//!
//! No root is needed. On a machine that is not Debian it works where apt and `debian-archive-keyring` are installed.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::name::Name;
use crate::{privilege, shell};

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where kernels come from, oldest first.
const KERNEL_SUITES: [&str; 9] = [
    "bullseye",
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "sid",
    "bullseye-security",
    "bookworm-security",
    "trixie-security",
];
/// Lists older than this are fetched again before they are believed.
const LISTS_AGE: Duration = Duration::from_hours(24);
const PREFIX: &str = "linux-image-";

/// apt, confined to a directory.
pub(super) struct Archive {
    directory: PathBuf,
}

impl Archive {
    /// The archive of kernels.
    pub(super) fn of_kernels(cache: &Path) -> Result<Self> {
        Self::new(cache.join("apt"), &KERNEL_SUITES)
    }

    /// An archive of some suites, its lists kept in a directory.
    pub(super) fn new(directory: PathBuf, suites: &[&str]) -> Result<Self> {
        ensure!(
            Path::new(KEYRING).is_file(),
            "{KEYRING} is missing, so Debian's packages cannot be verified: install debian-archive-keyring"
        );
        for part in ["lists/partial", "archives/partial", "empty"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).with_context(|| format!("creating {}", part.display()))?;
        }
        let mirror = env::var("IPMP_DEBIAN_MIRROR").unwrap_or_else(|_| MIRROR.to_owned());
        fs::write(directory.join("sources.list"), sources(&mirror, suites)).context("sources.list")?;
        fs::write(directory.join("apt.conf"), configuration(&directory, privilege::is_root()))
            .context("apt.conf")?;
        Ok(Self { directory })
    }

    /// The configuration file that confines apt (`APT_CONFIG`).
    pub(super) fn configuration(&self) -> PathBuf {
        self.directory.join("apt.conf")
    }

    /// Fetches the lists, unless those here are young enough or `always` is said.
    pub(super) fn refresh(&self, always: bool) -> Result<()> {
        // Two runs at the same time would meet apt's own lock, which fails instead of waiting.
        let lock = File::create(self.directory.join("lock")).context("the archive's lock")?;
        lock.lock().context("the archive's lock")?;
        let stamp = self.directory.join("refreshed");
        let age = fs::metadata(&stamp).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        if !always && age.is_some_and(|age| age < LISTS_AGE) {
            return Ok(());
        }
        shell::step("fetching Debian's package lists", self.apt("apt-get").args(["--quiet=2", "update"]))?;
        fs::write(stamp, "").context("noting that the lists are fresh")
    }

    /// Every stock kernel in the lists.
    pub(super) fn kernels(&self) -> Result<Vec<Name>> {
        let names = shell::output(self.apt("apt-cache").args(["pkgnames", PREFIX]))
            .context("apt-cache cannot read Debian's package lists")?;
        Ok(kernels(&names))
    }

    /// Downloads the packages that make up a kernel, into a directory.
    pub(super) fn download(&self, name: &Name, into: &Path) -> Result<()> {
        let image = format!("{PREFIX}{name}");
        let description = shell::output(self.apt("apt-cache").args(["show", "--no-all-versions", &image]))
            .with_context(|| format!("the archive has no package {image}"))?;
        let packages = packages(name, &description);
        shell::step(
            &format!("downloading {}", packages.join(" ")),
            self.apt("apt-get").args(["--quiet=2", "download"]).args(packages).current_dir(into),
        )
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.configuration()).env("LC_ALL", "C");
        command
    }
}

/// Removes what an archive had to keep while it was in use.
pub(super) fn remove(archive: &Archive) -> Result<()> {
    match fs::remove_dir_all(&archive.directory) {
        Ok(()) => Ok(()),
        Err(error) => bail!("removing {}: {error}", archive.directory.display()),
    }
}

fn sources(mirror: &str, suites: &[&str]) -> String {
    let mut text = String::new();
    for suite in suites {
        let base =
            if suite.ends_with("-security") { format!("{mirror}-security") } else { mirror.to_owned() };
        let _ = writeln!(text, "deb [signed-by={KEYRING}] {base} {suite} main");
    }
    text
}

fn configuration(directory: &Path, is_root: bool) -> String {
    let directory = directory.display();
    let mut text = format!(
        r#"Dir::Etc::sourcelist "{directory}/sources.list";
Dir::Etc::sourceparts "{directory}/empty";
Dir::Etc::preferencesparts "{directory}/empty";
Dir::State::lists "{directory}/lists";
Dir::Cache "{directory}";
Dir::Cache::archives "archives";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Architecture "amd64";
"#
    );
    if is_root {
        // apt would otherwise download as a user who may not enter root's cache.
        text.push_str("APT::Sandbox::User \"root\";\n");
    }
    text
}

/// The kernels among `apt-cache pkgnames`.
fn kernels(names: &str) -> Vec<Name> {
    names.lines().filter_map(|line| line.trim().strip_prefix(PREFIX)?.parse().ok()).collect()
}

/// The packages that hold a kernel's files, by what `apt-cache show` says of its `linux-image`: from 6.19 on that one is
/// empty and depends on parts that end in the same release.
fn packages(name: &Name, description: &str) -> Vec<String> {
    let suffix = format!("-{name}");
    let parts: Vec<String> = description
        .lines()
        .filter_map(|line| line.strip_prefix("Depends:"))
        .flat_map(|line| line.split([',', '|']))
        .filter_map(|dependency| dependency.split_whitespace().next())
        .filter(|package| package.ends_with(&suffix))
        .map(str::to_owned)
        .collect();
    if parts.is_empty() { vec![format!("{PREFIX}{name}")] } else { parts }
}

#[cfg(test)]
mod tests;
