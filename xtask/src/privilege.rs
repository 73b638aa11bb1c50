//! Becoming root, and only where that is needed.

use std::{
    env,
    ffi::OsStr,
    io::{IsTerminal as _, stdin},
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use ipmp_tests::skip::find_program;
use nix::unistd::Uid;

/// What a root process needs to know of the user's environment; sudo drops the rest.
const KEPT_VARIABLES: [&str; 6] =
    ["IPMP_BIN_DIR", "PATH", "RUST_BACKTRACE", "PROPTEST_CASES", "INSTA_UPDATE", "CI"];

/// Whether this process is root already.
pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// A command that will run as root: directly, or through sudo. `None` if neither can be.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Option<Command> {
    if is_root() {
        return Some(Command::new(program));
    }
    let mut command = Command::new(find_program("sudo")?);
    if !stdin().is_terminal() {
        // Nobody is there to type a password.
        command.arg("-n");
        let may = Command::new("sudo").args(["-n", "true"]).output().ok()?;
        if !may.status.success() {
            return None;
        }
    }
    command.arg("env");
    for name in KEPT_VARIABLES {
        if let Some(value) = env::var_os(name) {
            let mut pair = format!("{name}=").into_bytes();
            pair.extend_from_slice(value.as_encoded_bytes());
            command.arg(String::from_utf8_lossy(&pair).into_owned());
        }
    }
    command.arg(program);
    Some(command)
}

/// Goes on as root: returns at once if this process is, else replaces it by the same program under sudo.
pub(crate) fn become_root(why: &str, bin_dir: &Path, arguments: &[&str]) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let own = env::current_exe().context("this program's path")?;
    let Some(mut command) = as_root("env") else {
        bail!(
            "{why} needs root, and sudo is not there or asks for a password; run as root: {} {}",
            own.display(),
            arguments.join(" ")
        );
    };
    crate::shell::say(&format!("{why} needs root: going on through sudo"));
    let error = command.arg(format!("IPMP_BIN_DIR={}", bin_dir.display())).arg(own).args(arguments).exec();
    Err(error).context("starting sudo")
}
