//! What runs when no command is given: the test binaries that need root, built on the host.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result};

use super::guest::Command;
use crate::{
    build, setup, shell,
    test::{self, Binary, tally::HEADING},
};

/// Tests at the same time: emulated processors are slow, and the tests have deadlines.
const TEST_THREADS: &str = "1";
/// Names of end-to-end tests that stand for the others where time is short: both ways to fail, both families, both
/// arrangements, and a daemon that did not run.
const FEW: [&str; 4] = [
    "failover::carrier_loss_active_active_ipv4",
    "failover::carrier_loss_active_standby_ipv6",
    "failover::path_cut_active_standby_ipv6",
    "stall::",
];
/// And those of what the host's kernel may be built without: they run here, or nowhere.
const WIDE: [&str; 6] = [FEW[0], FEW[1], FEW[2], FEW[3], "kinds::", "netem::"];

/// Which tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// Whatever depends on the kernel.
    All,
    /// The kernel's programs, and a few tests of the daemon as a whole.
    Small,
    /// These, members that are no plain NICs, paths that spoil packets, and a card with two ports; wants NICs.
    Wide,
    /// A pulled cable; wants NICs.
    Cable,
}

impl Suite {
    /// Test binaries in the order in which they run, and names to choose tests by.
    fn tiers(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::All => &[("ebpf", &[]), ("net", &[]), ("netns", &[])],
            Self::Small => &[("ebpf", &[]), ("netns", &FEW)],
            Self::Wide => &[("ebpf", &[]), ("netns", &WIDE), ("cable", &["ports_of_one_card"])],
            Self::Cable => &[("cable", &[])],
        }
    }
}

/// The built tests, and the programs they start.
pub(super) struct Tests {
    bin_dir: PathBuf,
    built: Vec<Binary>,
    root: PathBuf,
}

impl Tests {
    /// Builds them.
    pub(super) fn build() -> Result<Self> {
        setup::run(setup::For::Running)?;
        Ok(Self {
            bin_dir: build::binaries("debug")?.canonicalize().context("the built programs")?,
            built: test::compile(&["--package", "ipmp-tests", "--tests"])?,
            root: shell::root().canonicalize().context("the working tree")?,
        })
    }

    /// The command that runs a suite: its status is 1 if a test failed. Everything goes to standard output, so that a
    /// test that was skipped is found below its binary's heading.
    pub(super) fn command(&self, suite: Suite) -> Result<Command> {
        let mut command = Command::in_directory(&self.root);
        command.shell("exec 2>&1\nfailed=0");
        for (tier, filters) in suite.tiers() {
            let binary = self.built.iter().find(|binary| binary.needs_root() && binary.name == *tier);
            let binary = binary.with_context(|| format!("the package ipmp-tests has no tests `{tier}`"))?;
            command.line(&["cd".into(), binary.dir.clone().into_os_string()]);
            command.line(&["echo".to_owned(), format!("{HEADING}{tier}")]);
            let mut words: Vec<OsString> = vec!["env".into()];
            for (name, value) in [("IPMP_BIN_DIR", &self.bin_dir), ("CARGO_MANIFEST_DIR", &binary.dir)] {
                let mut pair = OsString::from(format!("{name}="));
                pair.push(value);
                words.push(pair);
            }
            words.push(binary.executable.clone().into_os_string());
            words.extend(["--nocapture", "--test-threads", TEST_THREADS].map(OsString::from));
            words.extend(filters.iter().map(OsString::from));
            command.line(&words);
            command.shell("[ $? = 0 ] || failed=1");
        }
        command.shell("exit $failed");
        Ok(command)
    }
}
