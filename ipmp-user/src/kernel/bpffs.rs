//! The BPF file system that holds our pins.

use std::{fs, io, path::Path};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{FsType, statfs},
};

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);
/// Where everybody expects it.
const USUAL_MOUNT: &str = "/sys/fs/bpf";

/// What a mount of ours is said to be a mount of, by which it is told from an administrator's.
const SOURCE: &str = "ipmp";
/// What a new BPF file system holds (kernel/bpf/preload).
const KERNELS_OWN: [&str; 2] = ["maps.debug", "progs.debug"];
/// Mounts as the calling process sees them (`proc_pid_mountinfo(5)`).
const MOUNTS: &str = "/proc/self/mountinfo";

/// Makes sure that `dir` exists on a BPF file system. Mounts one if there is none: at its usual place, for everybody and for
/// good, if `dir` is below that, else on `dir` itself.
pub(super) fn prepare(dir: &Path) -> io::Result<()> {
    let usual = Path::new(USUAL_MOUNT);
    if is_bpffs(dir) {
        return fs::create_dir_all(dir);
    }
    if dir.starts_with(usual) {
        mount_at(usual, "bpf")?;
        return fs::create_dir_all(dir);
    }
    fs::create_dir_all(dir)?;
    mount_at(dir, SOURCE)
}

/// Undoes what [`prepare`] may have done for a directory that nobody needs any more: one that holds something else stays, and
/// so does a file system that somebody else has mounted.
pub(super) fn give_up(dir: &Path) -> io::Result<()> {
    let is_kernels = |name: &str| KERNELS_OWN.contains(&name);
    if fs::read_dir(dir)?.flatten().any(|entry| !entry.file_name().to_str().is_some_and(is_kernels)) {
        return Ok(());
    }
    let place = dir.canonicalize()?;
    let mounts = fs::read_to_string(MOUNTS)?;
    match source_of_mount(&mounts, &place) {
        Some(SOURCE) => Ok(umount2(dir, MntFlags::MNT_DETACH)?),
        Some(_) => Ok(()),
        None => fs::remove_dir(dir),
    }
}

/// Of what the topmost file system mounted on `place` is said to be.
fn source_of_mount<'m>(mounts: &'m str, place: &Path) -> Option<&'m str> {
    let place = place.to_str()?.replace(' ', "\\040");
    mounts.lines().rev().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_there = mount.split(' ').nth(4) == Some(place.as_str());
        is_there.then(|| file_system.split(' ').nth(1)).flatten()
    })
}

/// Judged by the nearest ancestor that exists.
fn is_bpffs(dir: &Path) -> bool {
    dir.ancestors()
        .find_map(|ancestor| statfs(ancestor).ok())
        .is_some_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

fn mount_at(dir: &Path, source: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some(source), dir, Some("bpf"), flags, Some("mode=0700"))?)
}

#[cfg(test)]
mod tests;
