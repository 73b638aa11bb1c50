//! The compiler and the linker for the eBPF programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::packages;
use crate::{
    ebpf_toolchain::{
        BPF_LINKER_VERSION, Compiler, LINKED_TOOLCHAIN, NIGHTLY, find_compiler, has_rustup, linker_root,
        nightly_sysroot,
    },
    shell::{cargo, output, run, say, step},
};

/// Debian's compiler with a ready `core` for the BPF target.
const DEBIAN_COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// The LLVM of both compilers, Debian's and the dated nightly's, and hence of the linker.
const LLVM_MAJOR: &str = "22";

/// Arranges both, unless a ready object file makes them needless.
pub(super) fn arrange() -> Result<()> {
    if let Some(object) = env::var_os("IPMP_EBPF_OBJECT") {
        let object = PathBuf::from(object);
        ensure!(
            object.is_file(),
            "IPMP_EBPF_OBJECT={}: no such file; unset it to build the eBPF programs here",
            object.display()
        );
        say(&format!(
            "eBPF: the ready object {} (IPMP_EBPF_OBJECT): no BPF tool chain is needed",
            object.display()
        ));
        return Ok(());
    }
    let compiler = match find_compiler() {
        Some(compiler) => compiler,
        None => install_compiler()?,
    };
    say(match compiler {
        Compiler::Linked => {
            "eBPF: the distribution's compiler, which brings a `core` for the BPF target (rustup calls it ipmp-ebpf)"
        }
        Compiler::Nightly => "eBPF: rustup's nightly with rust-src (builds `core` for the BPF target itself)",
        Compiler::Distribution => {
            "eBPF: the distribution's compiler, which brings a `core` for the BPF target (there is no rustup)"
        }
    });
    arrange_linker(compiler)
}

/// rustup's way where rustup may download, else the distribution's.
fn install_compiler() -> Result<Compiler> {
    let may_download = env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0");
    let mut tried = Vec::new();
    if !has_rustup() {
        tried.push("rustup: not in PATH".to_owned());
    } else if !may_download {
        tried.push("rustup: RUSTUP_AUTO_INSTALL=0 forbids it to download".to_owned());
    } else {
        let installed = step(
            &format!("rustup may download: installing {NIGHTLY} with rust-src"),
            Command::new("rustup").args([
                "toolchain",
                "install",
                NIGHTLY,
                "--profile",
                "minimal",
                "--component",
                "rust-src",
            ]),
        );
        match installed {
            Ok(()) => return Ok(Compiler::Nightly),
            Err(error) => tried.push(format!("rustup: {error:#}")),
        }
    }
    for reason in &tried {
        say(&format!("{reason}; taking the distribution's compiler instead"));
    }
    if let Err(error) = install_debian_compiler() {
        tried.push(format!("Debian packages: {error:#}"));
        bail!(
            "no compiler for the BPF target can be had ({}). Install rustup (https://rustup.rs) and run this again, \
             or give a ready object file in IPMP_EBPF_OBJECT",
            tried.join("; ")
        );
    }
    find_compiler().context(
        "the compiler was installed, but finds no `core` for the BPF target below its sysroot's lib/rustlib",
    )
}

fn install_debian_compiler() -> Result<()> {
    packages::install(&DEBIAN_COMPILER, "to compile for the BPF target")?;
    if has_rustup() {
        say(&format!(
            "telling rustup of Debian's compiler under the name {LINKED_TOOLCHAIN}"
        ));
        run(Command::new("rustup").args(["toolchain", "link", LINKED_TOOLCHAIN, "/usr"]))?;
    }
    Ok(())
}

fn arrange_linker(compiler: Compiler) -> Result<()> {
    let root =
        linker_root().context("neither XDG_CACHE_HOME nor HOME is set: there is no place for bpf-linker")?;
    let linker = root.join("bin/bpf-linker");
    if output(Command::new(&linker).arg("--version")).is_some() {
        say(&format!("bpf-linker {BPF_LINKER_VERSION}: {}", linker.display()));
        return Ok(());
    }
    let mut install = cargo();
    // With its own place in PATH, cargo does not advise the user to put it there.
    let mut path = vec![root.join("bin")];
    match compiler {
        Compiler::Nightly => {
            let sysroot = nightly_sysroot().context("rustup's nightly vanished")?;
            install.env("LLVM_PREFIX", keep_llvm(&sysroot, &root)?);
        }
        Compiler::Linked | Compiler::Distribution => {
            packages::install(
                &[&format!("llvm-{LLVM_MAJOR}-dev"), "g++"],
                "to build bpf-linker against",
            )?;
            path.push(PathBuf::from(format!("/usr/lib/llvm-{LLVM_MAJOR}/bin")));
        }
    }
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    step(
        &format!(
            "building bpf-linker {BPF_LINKER_VERSION} into {} (about a minute, once)",
            root.display()
        ),
        install
            .args([
                "install",
                "bpf-linker",
                "--version",
                BPF_LINKER_VERSION,
                "--locked",
            ])
            .args([
                "--no-default-features",
                "--features",
                &format!("llvm-{LLVM_MAJOR}"),
            ])
            .args(["--force", "--root"])
            .arg(&root),
    )
}

/// Links the nightly's libLLVM into the linker's own directory, where a removed tool chain cannot pull it away.
fn keep_llvm(sysroot: &Path, root: &Path) -> Result<PathBuf> {
    let prefix = root.join("llvm");
    let kept = prefix.join("lib");
    fs::create_dir_all(&kept).with_context(|| format!("creating {}", kept.display()))?;
    let library = fs::read_dir(sysroot.join("lib"))
        .context("reading the nightly's libraries")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name().is_some_and(|name| {
                name.to_string_lossy()
                    .starts_with(&format!("libLLVM.so.{LLVM_MAJOR}"))
            })
        })
        .with_context(|| format!("{} has no libLLVM.so.{LLVM_MAJOR}", sysroot.display()))?;
    // The linker asks for libLLVM.so; the loader later asks for the library's own name.
    let own_name = library.file_name().context("the library has a name")?;
    for name in [Path::new("libLLVM.so"), Path::new(own_name)] {
        let to = kept.join(name);
        if to.exists() {
            continue;
        }
        fs::hard_link(&library, &to)
            .or_else(|_| fs::copy(&library, &to).map(drop))
            .with_context(|| format!("keeping {} as {}", library.display(), to.display()))?;
    }
    Ok(prefix)
}
