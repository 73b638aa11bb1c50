//! `cargo xtask setup`: makes a fresh machine able to build, and to run labs.

pub(crate) mod packages;
mod toolchain;

use std::time::Instant;

use anyhow::{Result, bail};
use ipmp_tests::skip::find_program;

use crate::shell::say;

/// What the machine shall be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Compile everything.
    Building,
    /// Compile, and run labs in network namespaces.
    Running,
}

/// A program from outside the Rust world.
struct Tool {
    program: &'static str,
    why: &'static str,
    /// Where each family of distributions has it.
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
    /// Whether labs fail without it.
    needed: bool,
}

const TOOLS: [Tool; 5] = [
    Tool {
        program: "ip",
        why: "network namespaces, addresses, routes",
        debian: "iproute2",
        fedora: "iproute",
        arch: "iproute2",
        needed: true,
    },
    Tool {
        program: "bridge",
        why: "the lab's switch",
        debian: "iproute2",
        fedora: "iproute",
        arch: "iproute2",
        needed: true,
    },
    Tool {
        program: "nsenter",
        why: "entering a lab's host with /sys/fs/bpf visible",
        debian: "util-linux",
        fedora: "util-linux",
        arch: "util-linux",
        needed: true,
    },
    Tool {
        program: "busybox",
        why: "its DHCP server and client, for a test",
        debian: "busybox-static",
        fedora: "busybox",
        arch: "busybox",
        needed: false,
    },
    Tool {
        program: "bpftool",
        why: "looking into the pinned maps",
        debian: "bpftool",
        fedora: "bpftool",
        arch: "bpf",
        needed: false,
    },
];

/// Installs what is missing, and nothing else.
pub(crate) fn run(purpose: For) -> Result<()> {
    let started = Instant::now();
    toolchain::arrange()?;
    if purpose == For::Running {
        tools()?;
    }
    say(&format!("set-up complete ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(())
}

fn tools() -> Result<()> {
    let missing = || TOOLS.iter().filter(|tool| find_program(tool.program).is_none()).collect::<Vec<_>>();
    let before = missing();
    for tool in &before {
        say(&format!("{} is missing: {}", tool.program, tool.why));
    }
    if before.is_empty() {
        return Ok(());
    }
    let mut wanted: Vec<&str> = before.iter().map(|tool| tool.debian).collect();
    wanted.dedup();
    let installed = packages::install(&wanted, "to build labs in network namespaces");
    let after = missing();
    let names = |pick: fn(&Tool) -> &'static str| {
        let mut names: Vec<&str> = after.iter().map(|tool| pick(tool)).collect();
        names.dedup();
        names.join(" ")
    };
    let advice = format!(
        "install by hand: Debian, Ubuntu: apt install {} · Fedora: dnf install {} · Arch: pacman -S {}",
        names(|tool| tool.debian),
        names(|tool| tool.fedora),
        names(|tool| tool.arch),
    );
    if after.iter().any(|tool| tool.needed) {
        let why = installed.err().map_or_else(String::new, |error| format!("{error:#}; "));
        bail!("labs cannot be built here: {why}{advice}");
    }
    if !after.is_empty() {
        say(&format!("going on without {}; {advice}", names(|tool| tool.program)));
    }
    Ok(())
}
