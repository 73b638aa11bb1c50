//! The socket's place in the file system: who may open it, and that there is only one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write as _},
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use super::ControlError;

/// The socket's name in the runtime directory.
pub(super) const SOCKET: &str = "ipmpd.sock";
/// Locked by the daemon while it lives; holds its process id, for people.
const LOCK: &str = "ipmpd.lock";
/// root, and the configured group.
const MODE: u32 = 0o660;

/// The socket's file, removed on drop, and the lock that makes it ours.
#[derive(Debug)]
pub(super) struct Bound {
    path: PathBuf,
    _lock: File,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Gone already is as good; the lock is let go after this.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the directory and the socket. A socket file that a dead daemon left behind is replaced.
pub(super) fn bind(dir: &Path, group: Option<&str>) -> Result<(Bound, UnixListener), ControlError> {
    let gid = group.map(gid_of).transpose()?;
    let step = |what, path: &Path| {
        let path = path.to_owned();
        move |source| ControlError::Io { what, path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(step("create the runtime directory", dir))?;
    let lock = lock(dir)?;
    let path = dir.join(SOCKET);
    if UnixStream::connect(&path).is_ok() {
        // Its lock file was removed under a daemon that lives.
        return Err(ControlError::AlreadyRunning(path));
    }
    // Under its own name only once its mode and group are right, and in place of a stale one.
    let fresh = dir.join(format!("{SOCKET}.{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).map_err(step("create the control socket", &fresh))?;
    let placed = fs::set_permissions(&fresh, Permissions::from_mode(MODE))
        .and_then(|()| gid.map_or(Ok(()), |gid| chown(&fresh, None, Some(gid))))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| fs::rename(&fresh, &path));
    if let Err(source) = placed {
        let _ = fs::remove_file(&fresh);
        return Err(step("set up the control socket", &path)(source));
    }
    Ok((Bound { path, _lock: lock }, listener))
}

pub(super) fn lock(dir: &Path) -> Result<File, ControlError> {
    let path = dir.join(LOCK);
    let failed = |source| ControlError::Io { what: "lock the runtime directory", path: path.clone(), source };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o644)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(ControlError::AlreadyRunning(dir.join(SOCKET))),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    // The lock is what counts: a full disk keeps no daemon from its work.
    if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
        tracing::warn!(path = %path.display(), %error, "the process id is not written there");
    }
    Ok(file)
}

/// Whether there is such a group here.
///
/// # Errors
/// If not, or if that cannot be found out.
pub(crate) fn check_group(group: Option<&str>) -> Result<(), ControlError> {
    group.map(gid_of).transpose().map(drop)
}

fn gid_of(name: &str) -> Result<u32, ControlError> {
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(ControlError::NoSuchGroup(name.to_owned())),
        Err(errno) => Err(ControlError::Io {
            what: "look up the control group",
            path: name.into(),
            source: io::Error::from(errno),
        }),
    }
}
