//! What runs when no command is given: the test binaries that need root, built on the host.

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};

use super::guest::Command;
use crate::{build, setup, shell, test};

/// The tiers that depend on the kernel, in the order in which they run.
const TIERS: [&str; 3] = ["ebpf", "net", "netns"];
/// Tests at the same time: emulated processors are slow, and the tests have deadlines.
const TEST_THREADS: &str = "1";

/// Builds the tests and the programs they start, and makes the command that runs them all: its status is 1 if one failed.
pub(super) fn command() -> Result<Command> {
    setup::run(setup::For::Running)?;
    let bin_dir = build::binaries("debug")?.canonicalize().context("the built programs")?;
    let built = test::compile(&["--package", "ipmp-tests", "--tests"])?;
    let root = shell::root().canonicalize().context("the working tree")?;
    let mut command = Command::in_directory(&root);
    command.shell("failed=0");
    let mut found = false;
    for tier in TIERS {
        for binary in built.iter().filter(|binary| binary.needs_root() && binary.name == tier) {
            found = true;
            command.line(&["cd".into(), binary.dir.clone().into_os_string()]);
            command.line(&["echo".to_owned(), format!("==> {}", binary.name)]);
            let mut words: Vec<OsString> = vec!["env".into()];
            for (name, value) in [("IPMP_BIN_DIR", &bin_dir), ("CARGO_MANIFEST_DIR", &binary.dir)] {
                let mut pair = OsString::from(format!("{name}="));
                pair.push(value);
                words.push(pair);
            }
            words.push(binary.executable.clone().into_os_string());
            words.extend(["--nocapture", "--test-threads", TEST_THREADS].map(OsString::from));
            command.line(&words);
            command.shell("[ $? = 0 ] || failed=1");
        }
    }
    ensure!(found, "the package ipmp-tests has none of the test binaries {}", TIERS.join(", "));
    command.shell("exit $failed");
    Ok(command)
}
