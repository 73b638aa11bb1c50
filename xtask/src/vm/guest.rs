//! The scripts that run inside the guest, and the settings they read.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::qemu::Plan;

const SESSION: &str = include_str!("guest/session.sh");
const SET_LINK: &str = include_str!("guest/set-link.sh");
/// Variables of the caller that a command in the guest sees too.
const KEPT_VARIABLES: [&str; 7] =
    ["PATH", "HOME", "TERM", "LANG", "CI", "INSTA_UPDATE", "CARGO_MANIFEST_DIR"];
/// The same, by how their names begin.
const KEPT_PREFIXES: [&str; 3] = ["IPMP_", "RUST_", "PROPTEST_"];

/// A command for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Lines of shell.
    pub(super) script: Vec<u8>,
}

impl Command {
    /// A program with its arguments, run in a directory with the caller's relevant environment.
    pub(super) fn new<W: AsRef<OsStr>>(directory: &Path, words: &[W]) -> Self {
        let mut command = Self::in_directory(directory);
        command.line(words);
        command
    }

    /// No program yet, but the directory and the environment.
    pub(super) fn in_directory(directory: &Path) -> Self {
        let mut script = Vec::new();
        for (name, value) in std::env::vars_os().filter(|(name, _)| is_kept(&name.to_string_lossy())) {
            script.extend_from_slice(b"export ");
            script.extend_from_slice(name.as_bytes());
            script.push(b'=');
            script.extend_from_slice(&quoted(&value));
            script.push(b'\n');
        }
        script.extend_from_slice(b"export PATH=/run/ipmp-vm/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin\ncd ");
        script.extend_from_slice(&quoted(directory.as_os_str()));
        script.extend_from_slice(b" || exit 125\n");
        Self { script }
    }

    /// Adds a line: a program and its arguments.
    pub(super) fn line<W: AsRef<OsStr>>(&mut self, words: &[W]) {
        let words: Vec<Vec<u8>> = words.iter().map(|word| quoted(word.as_ref())).collect();
        self.script.extend_from_slice(&words.join(&b' '));
        self.script.push(b'\n');
    }

    /// Puts a line before all others but those that set the environment: a program and its arguments, whose status is ignored.
    pub(super) fn first<W: AsRef<OsStr>>(&mut self, words: &[W]) {
        let rest = std::mem::take(&mut self.script);
        self.line(words);
        self.script.extend_from_slice(&rest);
    }

    /// Adds a line of shell as it is.
    pub(super) fn shell(&mut self, line: &str) {
        self.script.extend_from_slice(line.as_bytes());
        self.script.push(b'\n');
    }
}

/// Fills the directory that the guest sees as `/run/ipmp-vm`.
pub(super) fn prepare(run: &Path, plan: &Plan, command: &Command) -> Result<()> {
    let bin = run.join("bin");
    fs::create_dir_all(&bin).context("creating the run directory")?;
    let mut session = b"set --".to_vec();
    for share in &plan.shares {
        session.push(b' ');
        session.extend_from_slice(&quoted(share.as_os_str()));
    }
    session.push(b'\n');
    session.extend_from_slice(SESSION.as_bytes());
    let set_link = bin.join("set-link");
    let files = [
        (run.join("session"), session),
        (run.join("settings"), settings(plan)),
        (run.join("command"), command.script.clone()),
        (set_link.clone(), SET_LINK.as_bytes().to_vec()),
    ];
    for (path, content) in files {
        fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    fs::set_permissions(&set_link, fs::Permissions::from_mode(0o755)).context("set-link")
}

/// What the session reads: the kernel, its modules, those to load, and the NICs as `nicN=ADDRESS`.
fn settings(plan: &Plan) -> Vec<u8> {
    let drivers = plan.nics.iter().map(|nic| nic.driver());
    let load: Vec<&str> = drivers.chain(plan.modules.iter().map(String::as_str)).collect();
    let nics: Vec<String> =
        (0..plan.nics.len()).map(|index| format!("nic{index}={}", Plan::address(index))).collect();
    let mut text = Vec::new();
    for (name, value) in [
        ("kernel", quoted(OsStr::new(&plan.kernel))),
        ("modules", quoted(plan.module_dir.as_os_str())),
        ("load", quoted(OsStr::new(&load.join(" ")))),
        ("nics", quoted(OsStr::new(&nics.join(" ")))),
        ("slowness", quoted(OsStr::new(&plan.accelerator.slowness().to_string()))),
    ] {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(&value);
        text.push(b'\n');
    }
    text
}

fn is_kept(name: &str) -> bool {
    KEPT_VARIABLES.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A word that the shell takes as it is.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut result = vec![b'\''];
    for byte in word.as_bytes() {
        if *byte == b'\'' {
            result.extend_from_slice(b"'\\''");
        } else {
            result.push(*byte);
        }
    }
    result.push(b'\'');
    result
}

#[cfg(test)]
mod tests;
