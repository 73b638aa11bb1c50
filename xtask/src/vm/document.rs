//! `docs/kernels.md`: the tables as they came out of real runs, never written by hand.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::shell;

/// Where it is, from the workspace's directory.
pub(super) const PATH: &str = "docs/kernels.md";

/// Writes the page.
pub(super) fn write(kernels: &str, cables: &str, accelerator: &str) -> Result<()> {
    let path = shell::root().join(PATH);
    let day = shell::output(Command::new("date").args(["--utc", "+%Y-%m-%d"])).unwrap_or_default();
    fs::create_dir_all(path.parent().context("a directory")?).with_context(|| path.display().to_string())?;
    fs::write(&path, page(kernels, cables, accelerator, day.trim()))
        .with_context(|| path.display().to_string())
}

/// Both tables with what a reader must know of them.
pub(super) fn page(kernels: &str, cables: &str, accelerator: &str, day: &str) -> String {
    let warning = if accelerator == "kvm" {
        "The processor itself ran the guests (KVM)."
    } else {
        "The guests' processors were emulated (QEMU, TCG) and the programs a debug build, which **inflates every time below** 8 \
         to 23 times, and more on a busy host: compare drivers with one another, not with real hardware."
    };
    format!(
        "# Kernels and drivers\n\n\
         `cargo xtask vm --matrix --write` wrote this page on {day} from runs in virtual machines under Debian's kernels; \
         change the command, not the page. One kernel: `cargo xtask vm 6.1 --matrix`; one driver: `cargo xtask vm 6.12 --nic \
         igb`.\n\n\
         ## What each kernel can do\n\n\
         Everything was tried, nothing looked up. Where something is missing ipmpd falls back and says so (`notes` in `ipmp \
         status --json`). The last rows count the tests that ran there.\n\n\
         {kernels}\n\
         ## A cable to pull\n\n\
         Two members and a neighbour, each with an emulated network card of the same model on one segment; cables were pulled \
         by QEMU (`set_link`), and the drivers told of it themselves. Times are milliseconds, median / worst. The first is the \
         driver's (interrupts tell some, others look at their link now and then), the second is ipmpd's: from the kernel's time \
         of the carrier loss to the announcement of the moved address. Carrier changes at attach are those of drivers that \
         reset their rings for XDP; none of them led to a failover, or the test had failed. {warning}\n\n\
         {cables}"
    )
}
