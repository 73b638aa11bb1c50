//! Tests that need privileges or tools say so loudly where these are missing; they never pass silently.

use std::{env, ffi::OsStr, path::PathBuf, thread};

use nix::unistd::Uid;

/// The programs that the network tests call.
const TOOLS: [&str; 2] = ["ip", "bridge"];

/// What stops network tests here, if anything does.
pub fn missing() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some(
            "needs root for network namespaces: run `cargo xtask test`, or this binary with sudo".into(),
        );
    }
    TOOLS
        .iter()
        .find(|tool| find_program(tool).is_none())
        .map(|tool| format!("`{tool}` (iproute2) is missing: run `cargo xtask setup`"))
}

/// `true` when network tests can run. Otherwise prints the line that `cargo xtask test` counts as a skipped test.
pub fn can_run() -> bool {
    match missing() {
        None => true,
        Some(reason) => {
            say(&reason);
            false
        }
    }
}

/// Prints `SKIPPED: TEST: REASON` on standard error.
pub fn say(reason: &str) {
    let current = thread::current();
    eprintln!("SKIPPED: {}: {reason}", current.name().unwrap_or("unnamed test"));
}

/// Looks a program up in `PATH` and in the directories where distributions keep administration tools, which an
/// ordinary user's `PATH` lacks.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(OsStr::new(name)))
        .find(|candidate| candidate.is_file())
}
