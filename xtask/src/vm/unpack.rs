//! From Debian packages to a directory to boot from: the kernel's image and the modules that network tests can want.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{bzimage, name::Name};
use crate::shell;

/// What is kept of the modules, below `kernel/`; the rest (graphics, sound, radio, disks) is four fifths of the size.
const KEPT: [&str; 24] = [
    "arch",
    "crypto",
    "drivers/char/hw_random",
    "drivers/char/virtio_console",
    "drivers/dca",
    "drivers/i2c/algos",
    "drivers/net/bonding",
    "drivers/net/ethernet/intel",
    "drivers/net/ipvlan",
    "drivers/net/mdio",
    "drivers/net/netdevsim",
    "drivers/net/phy",
    "drivers/net/team",
    "drivers/net/vmxnet3",
    "drivers/net/vxlan",
    "drivers/net/wireguard",
    "drivers/pps",
    "drivers/ptp",
    "drivers/virtio",
    "fs/9p",
    "fs/fscache",
    "fs/netfs",
    "fs/overlayfs",
    "net",
];
/// Directories of which the files are kept, but of their directories only those above.
const KEPT_FILES: [&str; 2] = ["drivers/net", "lib"];
const INDEXES: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];

/// Makes `into` (empty) from a directory of packages: `vmlinux` and `lib/modules/NAME`.
pub(super) fn packages(name: &Name, debs: &Path, into: &Path) -> Result<()> {
    let tree = debs.join("tree");
    fs::create_dir(&tree).context("creating a directory to unpack to")?;
    for deb in files(debs)?.iter().filter(|path| path.extension() == Some(OsStr::new("deb"))) {
        shell::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&tree))?;
    }
    let release = name.as_str();
    let places = ["lib/modules", "usr/lib/modules"].map(|place| tree.join(place).join(release));
    let from = places.iter().find(|path| path.is_dir());
    let from = from.with_context(|| format!("the packages of {name} hold no modules"))?;
    let images = [from.join("vmlinuz"), tree.join(format!("boot/vmlinuz-{name}"))];
    let image = images.iter().find(|path| path.is_file());
    let image = image.with_context(|| format!("the packages of {name} hold no kernel image"))?;
    decompress_image(image, &into.join("vmlinux"))?;
    keep_modules(from, &into.join("lib/modules").join(release))?;
    shell::run(Command::new(program("depmod")?).arg("-b").arg(into).arg(release))
}

/// A program that an ordinary user's `PATH` may lack.
fn program(name: &str) -> Result<PathBuf> {
    ipmp_tests::skip::find_program(name).with_context(|| format!("`{name}` is missing"))
}

fn decompress_image(image: &Path, to: &Path) -> Result<()> {
    let data = fs::read(image).with_context(|| image.display().to_string())?;
    let (range, compression) = bzimage::payload(&data).with_context(|| image.display().to_string())?;
    let payload = to.with_extension("payload");
    fs::write(&payload, data.get(range).unwrap_or_default()).context("writing the kernel's payload")?;
    let output = File::create(to).with_context(|| to.display().to_string())?;
    let status = Command::new(compression.program())
        .arg("-dc")
        .stdin(File::open(&payload).context("the kernel's payload")?)
        .stdout(output)
        .stderr(Stdio::inherit())
        .status()
        .with_context(|| format!("starting {}", compression.program()))?;
    ensure!(status.success(), "{} cannot decompress {}", compression.program(), image.display());
    fs::remove_file(&payload).context("removing the kernel's payload")?;
    let magic = fs::read(to).is_ok_and(|data| data.starts_with(b"\x7fELF"));
    ensure!(magic, "{} holds no ELF kernel", image.display());
    Ok(())
}

fn keep_modules(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).context("creating the module directory")?;
    for index in INDEXES {
        if let Ok(text) = fs::read_to_string(from.join(index)) {
            fs::write(to.join(index), text.replace(".ko.xz", ".ko")).with_context(|| index.to_owned())?;
        }
    }
    let kernel = from.join("kernel");
    let mut kept: Vec<PathBuf> = KEPT.iter().map(|place| kernel.join(place)).collect();
    for place in KEPT_FILES {
        kept.extend(files(&kernel.join(place))?.into_iter().filter(|path| path.is_file()));
    }
    for path in kept {
        let target = to.join(path.strip_prefix(from).context("a module outside its tree")?);
        // A directory, a module of that name, or nothing: not every release has each.
        for variant in [path.clone(), path.with_extension("ko"), path.with_extension("ko.xz")] {
            if variant.exists() {
                let target = target.with_file_name(variant.file_name().unwrap_or_default());
                fs::create_dir_all(target.parent().unwrap_or(to)).context("creating a module directory")?;
                shell::run(Command::new("cp").arg("-r").arg(&variant).arg(&target))?;
                break;
            }
        }
    }
    decompress_modules(to)
}

/// Uncompressed modules load faster under emulation.
fn decompress_modules(directory: &Path) -> Result<()> {
    shell::run(Command::new("find").arg(directory).args([
        "-name",
        "*.ko.xz",
        "-exec",
        "xz",
        "--decompress",
        "{}",
        "+",
    ]))
}

/// What a directory holds; nothing if it does not exist.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}
