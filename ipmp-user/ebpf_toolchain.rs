//! Which compiler and which linker build the eBPF programs: one answer for the build script, which uses them, and for
//! `cargo xtask setup`, which arranges them.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Its LLVM is chosen by `cargo xtask setup` and must be at least the compilers', else it meets `Invalid record`.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";
/// The name under which `cargo xtask setup` links a distribution's compiler into rustup.
pub(crate) const LINKED_TOOLCHAIN: &str = "ipmp-ebpf";
/// The nightly for `-Zbuild-std`: dated, because a later one brings a later LLVM than the linker's.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-20";

/// A compiler that can build for the BPF target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// A distribution's, linked into rustup as [`LINKED_TOOLCHAIN`]; brings a ready `core` for the target.
    Linked,
    /// rustup's [`NIGHTLY`] with the component rust-src.
    Nightly,
    /// A distribution's, the only one in `PATH`: there is no rustup.
    Distribution,
}

/// The compiler that `cargo xtask setup` arranged, if it did.
pub(crate) fn find_compiler() -> Option<Compiler> {
    let rustup = |name| {
        let mut command = Command::new("rustup");
        command.args(["run", name, "rustc"]);
        sysroot(command)
    };
    if rustup(LINKED_TOOLCHAIN).is_some_and(|root| has_bpf_core(&root)) {
        return Some(Compiler::Linked);
    }
    if nightly_sysroot().is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir()) {
        return Some(Compiler::Nightly);
    }
    let root = sysroot(Command::new("rustc"))?;
    (!has_rustup() && has_bpf_core(&root)).then_some(Compiler::Distribution)
}

/// Where [`NIGHTLY`] is, if rustup has it.
pub(crate) fn nightly_sysroot() -> Option<PathBuf> {
    let mut command = Command::new("rustup");
    command.args(["run", NIGHTLY, "rustc"]);
    sysroot(command)
}

/// Whether there is a rustup in `PATH`.
pub(crate) fn has_rustup() -> bool {
    Command::new("rustup")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where `cargo xtask setup` installs bpf-linker: outside the tree, so that a second clone finds it.
pub(crate) fn linker_root() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join(format!("ipmp/tools/bpf-linker-{BPF_LINKER_VERSION}")))
}

fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    let output = rustc
        .args(["--print", "sysroot"])
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

fn has_bpf_core(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/bpfel-unknown-none").is_dir()
}
