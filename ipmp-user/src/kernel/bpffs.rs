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

/// Makes sure that `dir` exists on a BPF file system. Mounts one if there is none: at its usual place if
/// `dir` is below that, else on `dir` itself. Returns whether `dir` itself was mounted upon.
pub(super) fn prepare(dir: &Path) -> io::Result<bool> {
    if is_bpffs(dir) {
        return fs::create_dir_all(dir).map(|()| false);
    }
    let usual = Path::new(USUAL_MOUNT);
    if dir.starts_with(usual) {
        mount_at(usual)?;
        return fs::create_dir_all(dir).map(|()| false);
    }
    fs::create_dir_all(dir)?;
    mount_at(dir)?;
    Ok(true)
}

/// Undoes the mount that [`prepare`] reported.
pub(super) fn unmount(dir: &Path) -> io::Result<()> {
    Ok(umount2(dir, MntFlags::MNT_DETACH)?)
}

/// Undoes what [`prepare`] may have done for a directory that nobody needs any more: one that holds something else stays.
pub(super) fn give_up(dir: &Path) -> io::Result<()> {
    if fs::read_dir(dir)?.flatten().any(|entry| entry.path().is_dir()) {
        return Ok(());
    }
    let below = dir.parent().is_some_and(is_bpffs);
    if is_bpffs(dir) && !below {
        return unmount(dir);
    }
    fs::remove_dir(dir)
}

/// Judged by the nearest ancestor that exists.
fn is_bpffs(dir: &Path) -> bool {
    dir.ancestors()
        .find_map(|ancestor| statfs(ancestor).ok())
        .is_some_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

fn mount_at(dir: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("bpf"), dir, Some("bpf"), flags, Some("mode=0700"))?)
}
