//! The kernel, and the daemon's place in it.

use super::HOST;
use crate::diagnosis::{Finding, Severity, host::facts::Kernel};

pub(super) fn check(kernel: &Kernel, no_daemon: bool) -> Vec<Finding> {
    let mut found = if no_daemon { without_daemon(kernel) } else { Vec::new() };
    let mut warning = |check: &str, told: [&str; 3]| {
        found.push(Finding::new(Severity::Warning, check, HOST, told));
    };
    if !kernel.btf {
        warning(
            "btf",
            [
                &format!("kernel {} has no type information (/sys/kernel/btf/vmlinux)", kernel.release),
                "carrier loss is then polled instead of being told by the kernel at once",
                "take a kernel with CONFIG_DEBUG_INFO_BTF",
            ],
        );
    }
    if kernel.jit == Some(false) {
        warning(
            "bpf-jit",
            [
                "eBPF programs are interpreted",
                "every frame on a member costs more",
                "`sysctl net.core.bpf_jit_enable=1`",
            ],
        );
    }
    found
}

/// What the daemon would need, were it started now.
fn without_daemon(kernel: &Kernel) -> Vec<Finding> {
    let told = [
        "ipmpd does not answer",
        "no failure is detected",
        "start ipmpd, or name its directory with --runtime-dir",
    ];
    let mut found = vec![Finding::new(Severity::Warning, "no-daemon", HOST, told)];
    let mut note = |check: &str, told: [&str; 3]| {
        found.push(Finding::new(Severity::Note, check, HOST, told));
    };
    if !kernel.missing_capabilities.is_empty() {
        note(
            "privileges",
            [
                &format!("this user lacks {}", kernel.missing_capabilities.join(", ")),
                "ipmpd does not start without",
                "run it as root, or by its systemd unit",
            ],
        );
    }
    if !kernel.bpffs {
        note(
            "bpffs",
            [
                "no BPF file system at /sys/fs/bpf",
                "ipmpd mounts one; without it, its programs end with it",
                "`mount -t bpf bpf /sys/fs/bpf`",
            ],
        );
    }
    found
}
