//! Puts the eBPF object file where `kernel/` embeds it from: `$OUT_DIR/ipmp-ebpf`.
//!
//! * `IPMP_EBPF_OBJECT=path` takes a ready object file and needs no BPF tool chain.
//! * Otherwise `aya-build` compiles `ipmp-ebpf` with the tool chain that `cargo xtask setup` arranged (see
//!   `ebpf_toolchain.rs`).

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

mod ebpf_toolchain;
use ebpf_toolchain::{Compiler, LINKED_TOOLCHAIN, NIGHTLY, find_compiler, linker_root};

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=IPMP_EBPF_OBJECT");
    println!("cargo:rerun-if-env-changed=XDG_CACHE_HOME");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=ebpf_toolchain.rs");
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
    let mut path: Vec<PathBuf> = linker_root().into_iter().map(|root| root.join("bin")).collect();
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    if !path.iter().any(|dir| dir.join("bpf-linker").is_file()) {
        bail!("bpf-linker is missing: run `cargo xtask setup`, or give a ready object in IPMP_EBPF_OBJECT");
    }
    let path = env::join_paths(path).context("PATH has an entry that cannot be joined")?;
    let toolchain = match find_compiler() {
        Some(Compiler::Linked) => LINKED_TOOLCHAIN,
        Some(Compiler::Nightly) => NIGHTLY,
        // Without rustup aya-build calls the compiler in PATH, whatever the name.
        Some(Compiler::Distribution) => "distribution",
        None => bail!(
            "no compiler with a `core` for the BPF target: run `cargo xtask setup`, or give a ready object in IPMP_EBPF_OBJECT"
        ),
    };
    // SAFETY: a build script's main thread, before any other thread exists.
    unsafe {
        env::set_var("PATH", path);
        // aya-build turns each line of progress into a warning; compilers' own warnings and errors still show.
        env::set_var("CARGO_TERM_QUIET", "true");
        if toolchain != NIGHTLY {
            // aya-ebpf uses compiler intrinsics that stable hides; no other crate is let through.
            env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf");
        }
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../ipmp-ebpf");
    let package = Package { name: "ipmp-ebpf", root_dir: root, ..Package::default() };
    aya_build::build_ebpf([package], Toolchain::Custom(toolchain))
        .context("the eBPF programs do not compile; `cargo xtask setup` arranges the tool chain")?;
    if out.is_file() { Ok(()) } else { bail!("{} is missing after the eBPF build", out.display()) }
}
