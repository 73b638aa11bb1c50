//! `cargo xtask test`: every tier, each under the user it needs, and one summary.

pub(crate) mod tally;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use self::tally::{Counts, Tally};
use crate::{build, privilege, setup, shell, vm::suite};

/// The package whose test binaries need root.
const ROOT_PACKAGE: &str = "tests";
/// Those among them that need none: the network is simulated, or there is none.
const ROOTLESS: [&str; 3] = ["acceptance", "replay", "sim"];
/// Network tests at the same time: each runs several processes, and two cores are the least we run on.
const ROOT_TEST_THREADS: &str = "2";

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Also run a few of the network tests under another kernel, in a virtual machine (repeatable; see `vm --list`); under
    /// the last one also those of what this kernel may be built without: netem, VLAN, bonding
    #[arg(long, value_name = "KERNEL")]
    kernel: Vec<String>,
    /// Only tests whose name contains one of these
    filter: Vec<String>,
}

/// A test binary that cargo built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Binary {
    /// The package's directory name.
    package: String,
    /// The target's name within the package.
    pub(crate) name: String,
    /// Whether it is an integration test (the others are unit tests inside a library or program).
    integration: bool,
    /// Its package's directory, where cargo runs it.
    pub(crate) dir: PathBuf,
    pub(crate) executable: PathBuf,
}

impl Binary {
    pub(crate) fn needs_root(&self) -> bool {
        self.integration && self.package == ROOT_PACKAGE && !ROOTLESS.contains(&self.name.as_str())
    }

    fn label(&self) -> String {
        let tier = if self.needs_root() { "root" } else { "unit" };
        format!("{tier}  {}/{}", self.package, self.name)
    }
}

/// Sets up, builds as the current user, runs, and sums up; fails if a test failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(setup::For::Running)?;
    let bin_dir = build::binaries("debug")?;
    let binaries = compile(&[])?;
    let (root, unit): (Vec<_>, Vec<_>) = binaries.iter().partition(|binary| binary.needs_root());
    let mut tally = Tally::default();
    for binary in unit {
        let mut command = Command::new(&binary.executable);
        command.args(["--quiet", "--nocapture"]);
        execute(binary, command, options, &mut tally)?;
    }
    doc_tests(options, &mut tally)?;
    for binary in root {
        match privilege::as_root("env") {
            Some(mut command) => {
                command.arg(format!("IPMP_BIN_DIR={}", bin_dir.display())).arg(&binary.executable).args([
                    "--nocapture",
                    "--test-threads",
                    ROOT_TEST_THREADS,
                ]);
                execute(binary, command, options, &mut tally)?;
            }
            None => skip(binary, &mut tally)?,
        }
    }
    for (index, kernel) in options.kernel.iter().enumerate() {
        under_kernel(kernel, index + 1 == options.kernel.len(), &mut tally)?;
    }
    println!("\n{tally}");
    if tally.total().failed > 0 {
        bail!("{} tests failed", tally.total().failed);
    }
    Ok(())
}

/// Builds test binaries without running them: all, or what cargo's `selection` says.
pub(crate) fn compile(selection: &[&str]) -> Result<Vec<Binary>> {
    shell::say("building the tests");
    let output = shell::cargo()
        .args(["test", "--no-run", "--message-format=json-render-diagnostics"])
        .args(selection)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo test --no-run")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|message: Value| test_binary(&message))
        .map(Ok)
        .collect()
}

/// A test binary, if a message of cargo's (doc.rust-lang.org/cargo/reference/external-tools.html) tells of one.
fn test_binary(message: &Value) -> Option<Binary> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let dir = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some(Binary {
        package: dir.file_name()?.to_string_lossy().into_owned(),
        name: message["target"]["name"].as_str()?.to_owned(),
        integration: message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test"),
        dir: dir.to_path_buf(),
        executable: message["executable"].as_str()?.into(),
    })
}

fn execute(binary: &Binary, mut command: Command, options: &Options, tally: &mut Tally) -> Result<()> {
    let label = binary.label();
    shell::say(&label);
    command.args(&options.filter).current_dir(&binary.dir).env("CARGO_MANIFEST_DIR", &binary.dir);
    tally.add(&label, tally::watch(&mut command)?);
    Ok(())
}

fn doc_tests(options: &Options, tally: &mut Tally) -> Result<()> {
    let label = "unit  examples in the documentation";
    shell::say(label);
    let mut command = shell::cargo();
    command.args(["test", "--quiet", "--doc", "--"]).args(&options.filter);
    tally.add(label, tally::watch(&mut command)?);
    Ok(())
}

/// Counts the network tests under another kernel; where there can be no machine for it, that counts as one skipped.
fn under_kernel(kernel: &str, wide: bool, tally: &mut Tally) -> Result<()> {
    match suite::run(kernel, wide)? {
        suite::Outcome::Ran(counts) => {
            for (name, counts) in counts {
                tally.add(&format!("vm    {kernel}/{name}"), counts);
            }
        }
        suite::Outcome::Impossible(error) => {
            eprintln!("SKIPPED: tests under kernel {kernel}: {error:#}");
            tally.add(&format!("vm    {kernel}"), Counts { skipped: 1, ..Counts::default() });
        }
    }
    Ok(())
}

/// Counts the tests of a binary that cannot run here as skipped.
fn skip(binary: &Binary, tally: &mut Tally) -> Result<()> {
    let list = shell::output(Command::new(&binary.executable).args(["--list", "--format", "terse"]))
        .with_context(|| format!("listing the tests of {}", binary.executable.display()))?;
    let skipped = list.lines().filter(|line| line.ends_with(": test")).count();
    eprintln!(
        "SKIPPED: {} with {skipped} tests: needs root, and there is no sudo that works without a password",
        binary.label()
    );
    tally.add(&binary.label(), Counts { skipped, ..Counts::default() });
    Ok(())
}

#[cfg(test)]
mod tests;
