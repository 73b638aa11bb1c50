//! The kernel's own counts of carrier changes, which it shows without taking a lock.
//!
//! `netif_carrier_off` and `netif_carrier_on` count at once (`net/sched/sch_generic.c`), and `carrier_changes_show` and
//! `carrier_down_count_show` only read (`net/core/net-sysfs.c`), from Linux 4.16 to the newest. What else tells the carrier
//! waits for the RTNL lock: `ETHTOOL_GLINK` (`dev_ethtool`, `net/ethtool/ioctl.c`), `RTM_GETLINK`, and `carrier` in sysfs since
//! 6.9 (`carrier_show`); or comes from linkwatch, which takes that lock as well: `operstate`, and `IFF_RUNNING` of
//! `SIOCGIFFLAGS` (`dev_get_flags`, `net/core/dev.c`). And linkwatch, before it tells, keeps the lock while it waits for RCU
//! (`linkwatch_do_dev`: `dev_deactivate`).

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

/// How often a link that changes while it is looked at is looked at again.
const ATTEMPTS: usize = 4;

/// sysfs of one network namespace: the one at `/sys` may be of another.
#[derive(Clone, Debug)]
pub struct Sysfs(Arc<OwnedFd>);

impl Sysfs {
    /// Of the caller's. It is seen nowhere, and gone with this.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN` in that namespace; fsopen(2)'s.
    pub fn of_namespace() -> io::Result<Self> {
        let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Self(Arc::new(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)))
    }

    /// What looks like it.
    #[cfg(test)]
    pub(super) fn at(directory: OwnedFd) -> Self {
        Self(Arc::new(directory))
    }

    fn open(&self, path: &str) -> io::Result<File> {
        Ok(openat(&*self.0, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?.into())
    }
}

/// How often an interface's carrier came and went, since the interface exists. The two alternate, or come as a pair
/// (`netif_carrier_event`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ups: u32,
    pub(super) downs: u32,
}

impl Counts {
    /// What became of the carrier since; none if it is as it was, whatever happened between.
    pub(super) const fn news_since(self, earlier: Self) -> Option<bool> {
        let ups = self.ups.wrapping_sub(earlier.ups);
        let downs = self.downs.wrapping_sub(earlier.downs);
        // They differ by one at most, which is also right when one of them has wrapped.
        match ups.wrapping_sub(downs) as i32 {
            0 => None,
            more => Some(more > 0),
        }
    }

    const fn changes(self) -> u32 {
        self.ups.wrapping_add(self.downs)
    }
}

/// Where the counts of one interface stand. Another name of it does not matter; once it is gone, reading fails (`ENODEV`).
#[derive(Debug)]
pub(super) struct Counter {
    /// Both together.
    changes: File,
    downs: File,
}

impl Counter {
    pub(super) fn open(sysfs: &Sysfs, name: &str) -> io::Result<Self> {
        let open = |attribute| sysfs.open(&format!("class/net/{name}/{attribute}"));
        Ok(Self { changes: open("carrier_changes")?, downs: open("carrier_down_count")? })
    }

    /// How they stand, if not as they did: where nothing changed, one system call of about 2 µs.
    ///
    /// # Errors
    /// The interface is gone.
    pub(super) fn other_than(&self, known: Counts) -> io::Result<Option<Counts>> {
        if read(&self.changes)? == known.changes() { Ok(None) } else { self.counts().map(Some) }
    }

    /// How they stand, both at one moment.
    ///
    /// # Errors
    /// The interface is gone, or its link changes faster than it can be looked at (`EAGAIN`).
    pub(super) fn counts(&self) -> io::Result<Counts> {
        let mut changes = read(&self.changes)?;
        for _ in 0..ATTEMPTS {
            let downs = read(&self.downs)?;
            let again = read(&self.changes)?;
            if again == changes {
                return Ok(Counts { ups: changes.wrapping_sub(downs), downs });
            }
            changes = again;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// `atomic_t`, printed as a signed number, which wraps.
fn read(attribute: &File) -> io::Result<u32> {
    let mut text = [0; 16];
    let length = attribute.read_at(&mut text, 0)?;
    let text = text.get(..length).and_then(|text| str::from_utf8(text).ok());
    let count: Option<i32> = text.and_then(|text| text.trim_end().parse().ok());
    count.map(|count| count as u32).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
