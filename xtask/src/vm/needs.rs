//! What virtual machines need of the host, installed like everything else that set-up installs: only when missing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::skip::find_program;

use super::archive::{self, Archive};
use crate::{
    privilege::as_root,
    setup::packages,
    shell::{say, step},
};

pub(super) const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";
const WHY: &str = "to run virtual machines";
/// The release of Debian whose own QEMU (7.2) has no igb and an e1000e that never reports a cable pulled.
const OLD_DEBIAN: &str = "bookworm";

/// Programs to unpack kernels with, and their packages.
const FETCHING: [(&str, &str); 4] =
    [("depmod", "kmod"), ("xz", "xz-utils"), ("zstd", "zstd"), ("dpkg-deb", "dpkg")];

/// Makes this machine able to fetch kernels.
pub(super) fn for_fetching() -> Result<()> {
    ensure!(packages::has_apt(), "kernels come from Debian's archive, and this machine has no apt");
    install(&FETCHING)
}

/// Makes this machine able to start guests; returns the static busybox that starts them.
pub(super) fn for_running() -> Result<PathBuf> {
    if find_program(QEMU).is_none() {
        install_qemu()?;
    }
    // The guest's kernel loads modules by the host's modprobe.
    install(&[("modprobe", "kmod")])?;
    if find_program("busybox").is_none_or(|path| !is_static(&path)) {
        say("a static busybox is missing");
        packages::install(&["busybox-static"], WHY)?;
    }
    let busybox = find_program("busybox").context("busybox is missing: install busybox-static")?;
    ensure!(is_static(&busybox), "{} is not static: install busybox-static", busybox.display());
    Ok(busybox)
}

fn install(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&(&str, &str)> =
        programs.iter().filter(|(program, _)| find_program(program).is_none()).collect();
    for (program, _) in &missing {
        say(&format!("{program} is missing"));
    }
    let wanted: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    if wanted.is_empty() { Ok(()) } else { packages::install(&wanted, WHY) }
}

fn install_qemu() -> Result<()> {
    say(&format!("{QEMU} is missing"));
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if codename(&release) == Some(OLD_DEBIAN) {
        install_backported_qemu()?;
    } else {
        packages::install(&[QEMU_PACKAGE], WHY)?;
    }
    ensure!(find_program(QEMU).is_some(), "{QEMU} is missing although {QEMU_PACKAGE} is installed");
    Ok(())
}

/// Installs from backports without making them a source of the machine's.
fn install_backported_qemu() -> Result<()> {
    let work = tempfile::tempdir().context("a directory for package lists")?;
    let backports = format!("{OLD_DEBIAN}-backports");
    let updates = format!("{OLD_DEBIAN}-updates");
    let security = format!("{OLD_DEBIAN}-security");
    let archive = Archive::new(work.path().join("apt"), &[OLD_DEBIAN, &updates, &security, &backports])?;
    let Some(mut install) = as_root("env") else {
        anyhow::bail!(
            "root is needed {WHY}, and sudo is not there or asks for a password; add {backports} to apt's sources and \
             run as root: apt-get install -t {backports} {QEMU_PACKAGE}"
        );
    };
    archive.refresh(true)?;
    let result = step(
        &format!("installing {QEMU_PACKAGE} from {backports} {WHY}"),
        install
            .arg(format!("APT_CONFIG={}", archive.configuration().display()))
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--quiet"])
            .args(["--no-install-recommends", "-t", &backports, QEMU_PACKAGE])
            // Standard output belongs to the guest's command.
            .stdout(std::io::stderr()),
    );
    archive::remove(&archive)?;
    result
}

fn codename(os_release: &str) -> Option<&str> {
    os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))
}

/// Whether an ELF program needs no loader, which a guest that has no root yet lacks.
fn is_static(program: &Path) -> bool {
    fs::read(program).is_ok_and(|data| {
        let head = data.get(..data.len().min(4096)).unwrap_or_default();
        !head.windows(8).any(|window| window == b"/ld-linu" || window == b"ld-musl-")
    })
}

#[cfg(test)]
mod tests;
