//! The network namespace in which to look: that of the daemon, which may be another than the client's.

use std::{fs::File, io, thread};

use nix::sched::{CloneFlags, setns};

/// Runs `look` in the network namespace of a process. If that is the caller's own, or the process is not to be seen, as
/// it is; else on a thread that enters it, which needs root (`CAP_SYS_ADMIN`, setns(2)).
///
/// # Errors
/// When the other namespace must not be entered.
pub fn in_namespace_of<T: Send>(process: Option<i32>, look: impl FnOnce() -> T + Send) -> io::Result<T> {
    let Some(other) = process.and_then(elsewhere) else { return Ok(look()) };
    thread::scope(|scope| {
        let looking = scope.spawn(move || {
            setns(File::open(other)?, CloneFlags::CLONE_NEWNET)?;
            Ok(look())
        });
        // It ends without a result only if it panicked, which was printed then.
        looking.join().unwrap_or_else(|_| Err(io::Error::other("looking was cut short")))
    })
}

/// Whether a process is in another network namespace than the caller.
pub fn is_elsewhere(process: Option<i32>) -> bool {
    process.and_then(elsewhere).is_some()
}

/// The file of the process's namespace, if it is another one than ours. Its name is `net:[INODE]` (namespaces(7)); who
/// may not read it cannot tell, and looks in its own.
fn elsewhere(process: i32) -> Option<String> {
    let path = format!("/proc/{process}/ns/net");
    let (theirs, ours) =
        (std::fs::read_link(&path).ok()?, std::fs::read_link("/proc/thread-self/ns/net").ok()?);
    (theirs != ours).then_some(path)
}
