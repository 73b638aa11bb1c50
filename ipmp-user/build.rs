//! Puts the eBPF object file where `kernel/` embeds it from: `$OUT_DIR/ipmp-ebpf`.
//!
//! * `IPMP_EBPF_OBJECT=path` takes a ready object file and needs no BPF tool chain.
//! * Otherwise `aya-build` compiles `ipmp-ebpf` with the tool chain that `cargo xtask setup` arranged:
//!   one that rustup knows as `ipmp-ebpf` (a distribution's compiler with a ready `core` for the BPF target),
//!   else rustup's nightly with `rust-src`, else, without rustup, the compiler in `PATH`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

/// The version `cargo xtask setup` installs; the directory's name carries it.
const BPF_LINKER: &str = "bpf-linker-0.13.0";
/// The name under which `cargo xtask setup` links a distribution's compiler into rustup.
const LINKED_TOOLCHAIN: &str = "ipmp-ebpf";

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=IPMP_EBPF_OBJECT");
    println!("cargo:rerun-if-env-changed=XDG_CACHE_HOME");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../ipmp-common/src/abi");
    println!("cargo:rerun-if-changed=../ipmp-common/src/wire");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?).join("ipmp-ebpf");
    if let Some(ready) = env::var_os("IPMP_EBPF_OBJECT") {
        println!("cargo:rerun-if-changed={}", Path::new(&ready).display());
        fs::copy(&ready, &out)
            .with_context(|| format!("IPMP_EBPF_OBJECT={}: cannot be copied", Path::new(&ready).display()))?;
        return Ok(());
    }
    build(&out)
}

fn build(out: &Path) -> Result<()> {
    let mut path: Vec<PathBuf> = linker_dir().into_iter().collect();
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    if !path.iter().any(|dir| dir.join("bpf-linker").is_file()) {
        bail!("bpf-linker is missing: run `cargo xtask setup`, or give a ready object in IPMP_EBPF_OBJECT");
    }
    let path = env::join_paths(path).context("PATH has an entry that cannot be joined")?;
    let toolchain = toolchain()?;
    // SAFETY: a build script's main thread, before any other thread exists.
    unsafe {
        env::set_var("PATH", path);
        if !matches!(toolchain, Toolchain::Nightly) {
            // aya-ebpf uses compiler intrinsics that stable hides; no other crate is let through.
            env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf");
        }
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../ipmp-ebpf");
    let package = Package { name: "ipmp-ebpf", root_dir: root, ..Package::default() };
    aya_build::build_ebpf([package], toolchain)
        .context("the eBPF programs do not compile; `cargo xtask setup` arranges the tool chain")?;
    if out.is_file() { Ok(()) } else { bail!("{} is missing after the eBPF build", out.display()) }
}

/// Where `cargo xtask setup` installs bpf-linker: outside the tree, so that a second clone finds it.
fn linker_dir() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("ipmp/tools").join(BPF_LINKER).join("bin"))
}

fn toolchain() -> Result<Toolchain<'static>> {
    let works = |name: &str| {
        Command::new("rustup")
            .args(["run", name, "rustc", "--print", "sysroot"])
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    if works(LINKED_TOOLCHAIN).is_some() {
        return Ok(Toolchain::Custom(LINKED_TOOLCHAIN));
    }
    if works("nightly").is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir()) {
        return Ok(Toolchain::Nightly);
    }
    let bare = Command::new("rustup").arg("--version").stderr(Stdio::null()).output().is_err();
    if bare && Path::new("/usr/lib/rustlib/bpfel-unknown-none").is_dir() {
        return Ok(Toolchain::Custom("distribution"));
    }
    bail!(
        "no compiler with a `core` for the BPF target: run `cargo xtask setup`, or give a ready object in IPMP_EBPF_OBJECT"
    )
}
