//! The pin directory: `<pin dir>/v<ABI version>/ipmp_*`. Pins outlive the daemon, so that a restart finds its
//! links attached and its maps filled. One directory serves one network namespace.

mod maps;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use ipmp_common::abi::ABI_VERSION;

use super::{
    KernelError, bpffs,
    load::at,
    sys::{self, HOOKS, Hook},
};

/// Prefix of everything that is ours.
const PREFIX: &str = "ipmp_";

/// The pins, or none if there is no place for them; everything then lives as long as the daemon.
pub(super) struct Pins {
    dir: Option<PathBuf>,
    /// The directory, locked while we live: a second daemon would clear the maps that the first one's verdicts rest on.
    _claim: Option<File>,
}

/// Why nothing can be pinned.
pub(super) enum NoPins {
    /// Another process has pinned here, and lives.
    Taken(PathBuf),
    /// There is no place for pins.
    Refused(String),
}

impl Pins {
    /// No pins at all.
    pub(super) const fn none() -> Self {
        Self { dir: None, _claim: None }
    }

    /// The directory, if there is one.
    pub(super) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Prepares the directory below `root`; what is pinned in place of a map of ours goes. The second value says why there
    /// are no pins.
    pub(super) fn open(root: &Path) -> (Self, Option<NoPins>) {
        let dir = root.join(format!("v{ABI_VERSION}"));
        let refused = |error: io::Error| (Self::none(), Some(NoPins::Refused(at(&dir, &error))));
        let prepared = bpffs::prepare(root).and_then(|()| {
            fs::create_dir_all(&dir)?;
            File::open(&dir)
        });
        let claim = match prepared {
            Ok(claim) => claim,
            Err(error) => return refused(error),
        };
        match claim.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return (Self::none(), Some(NoPins::Taken(dir))),
            Err(TryLockError::Error(error)) => return refused(error),
        }
        if let Err(reason) = maps::remove_strangers(&dir) {
            return (Self::none(), Some(NoPins::Refused(reason)));
        }
        remove_other_versions(root, &dir);
        (Self { dir: Some(dir), _claim: Some(claim) }, None)
    }

    /// Removes the links of interfaces that an earlier run attached and this one has no use for.
    pub(super) fn keep_links_of(&self, wanted: impl Fn(u32) -> bool) {
        let Some(dir) = &self.dir else {
            return;
        };
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let number = HOOKS.iter().find_map(|hook| name.strip_prefix(hook.pin_prefix())?.parse().ok());
            if number.is_some_and(|ifindex| !wanted(ifindex)) {
                self.remove(name);
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(name))
    }

    /// Pins `object` as `name`, in place of what an earlier run pinned.
    pub(super) fn replace(&self, name: &str, object: BorrowedFd<'_>) {
        let Some(path) = self.path(name) else {
            return;
        };
        self.remove(name);
        if let Err(error) = sys::pin(object, &path) {
            tracing::warn!(path = %path.display(), %error, "not pinned: it ends with the daemon");
        }
    }

    /// Removes a pin, if it is there; in the log if it cannot be.
    pub(super) fn remove(&self, name: &str) {
        if let Err(error) = self.try_remove(name) {
            tracing::warn!("{error}");
        }
    }

    /// Removes a pin, if it is there.
    pub(super) fn try_remove(&self, name: &str) -> Result<(), KernelError> {
        let Some(path) = self.path(name) else { return Ok(()) };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(KernelError::Pin { path, source: error })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The link that an earlier run left on an interface, now with `program` in it. One that is attached to
    /// nothing or to something else any more is removed.
    pub(super) fn adopt_link(&self, ifindex: u32, hook: Hook, program: BorrowedFd<'_>) -> Option<OwnedFd> {
        let name = link_name(ifindex, hook);
        let link = sys::get(&self.path(&name)?).ok()?;
        let usable = sys::link_is_on(link.as_fd(), ifindex, hook).and_then(|ours| {
            if ours { sys::link_update(link.as_fd(), program).map(|()| true) } else { Ok(false) }
        });
        match usable {
            Ok(true) => Some(link),
            Ok(false) => {
                self.remove(&name);
                None
            }
            Err(error) => {
                tracing::info!(pin = name, %error, "stale link removed");
                self.remove(&name);
                None
            }
        }
    }

    /// Removes all our pins, the directory, and the file system if it was mounted for it.
    pub(super) fn clear(self) {
        let Some(dir) = self.dir else {
            return;
        };
        remove_all(&dir);
        if let Err(error) = fs::remove_dir(&dir).and_then(|()| dir.parent().map_or(Ok(()), bpffs::give_up)) {
            tracing::warn!(path = %dir.display(), %error, "pin directory stays");
        }
    }
}

/// Removes everything of ours in a directory.
fn remove_all(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        if let Err(error) = fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "pin not removed");
        }
    }
}

/// Removes what daemons of any version left pinned below `root`, by which it is detached as well, and the directories.
/// Those that held something are the answer.
///
/// # Errors
/// `ResourceBusy` while a daemon uses one of them.
pub fn unpin(root: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut done = Vec::new();
    for dir in entries.flatten().map(|entry| entry.path()).filter(|path| is_versions(path)) {
        remove_unused(&dir)?;
        done.push(dir);
    }
    bpffs::give_up(root)?;
    Ok(done)
}

/// Removes what a daemon of another version left: its maps mean something else, and its programs would be in the way of ours.
fn remove_other_versions(root: &Path, own: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for dir in entries.filter(|path| is_versions(path) && path != own) {
        match remove_unused(&dir) {
            Ok(()) => tracing::info!(path = %dir.display(), "pins of another version removed"),
            Err(error) => {
                tracing::warn!(path = %dir.display(), %error, "pins of another version not removed");
            }
        }
    }
}

/// Removes a version's pins and directory; `ResourceBusy` while a daemon uses it.
fn remove_unused(dir: &Path) -> io::Result<()> {
    // Until the end: nobody shall begin to use it meanwhile.
    let claim = File::open(dir)?;
    match claim.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    remove_all(dir);
    fs::remove_dir(dir)
}

/// `v` and a number.
fn is_versions(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix('v'));
    path.is_dir() && number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The pin of the link at `hook` of an interface. bpffs permits no dots in names.
pub(super) fn link_name(ifindex: u32, hook: Hook) -> String {
    format!("{}{ifindex}", hook.pin_prefix())
}
