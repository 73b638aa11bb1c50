//! Why the kernel refused something, in words for people.

use std::{error::Error, io};

use aya::programs::ProgramError;
use ipmp_common::abi::program;

/// How much of a verifier's log is shown: it may run to megabytes, and says at its end what it objects to.
const LOG_LINES: usize = 40;

/// Why a program was not loaded. A verifier that objects to it is a fault of ours or of the kernel's, so the end of its
/// log goes to ours.
pub(super) fn of_program(name: &str, error: &ProgramError) -> String {
    if let ProgramError::LoadError { verifier_log, io_error } = error
        && let Some(told) = of_load(name, io_error, &verifier_log.to_string())
    {
        return told;
    }
    of(error)
}

fn of_load(name: &str, error: &io::Error, log: &str) -> Option<String> {
    if let Some(verdict) = verdict(log) {
        tracing::warn!(program = name, "refused by the kernel's verifier; its log ends with:\n{}", end(log));
        return Some(format!("{error}: verifier: {verdict}"));
    }
    // BPF_F_XDP_HAS_FRAGS is refused before the verifier looks at the program.
    (name == program::XDP && error.raw_os_error() == Some(libc::EINVAL))
        .then(|| format!("{error}: no XDP for frames in several buffers (it came with kernel 5.18)"))
}

/// The innermost cause as the kernel put it, with what it takes if that is a privilege.
pub(super) fn of(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(os) => explain(os),
        None => cause.to_string(),
    }
}

/// An errno with what to do about it.
pub(super) fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if !nix::unistd::geteuid().is_root() => {
            format!("{error}: needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")
        }
        Some(libc::EPERM | libc::EACCES) => {
            format!("{error}: this kernel or its lockdown does not permit it")
        }
        _ => error.to_string(),
    }
}

/// What a verifier objects to: the last line before its statistics. `None`: it was not asked, or did not object.
fn verdict(log: &str) -> Option<&str> {
    log.lines().rfind(|line| !is_statistics(line))
}

/// Lines that the verifier writes at the end of any log.
fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth "].iter().any(|start| line.starts_with(start))
        || line.trim().is_empty()
}

fn end(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests;
