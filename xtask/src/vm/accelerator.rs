//! KVM where it works, which a trial decides: a `/dev/kvm` that opens may still not run a kernel.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ipmp_tests::skip::find_program;

use super::{
    cache::{Cache, Kernel},
    machine::{Guarded, Wait},
    needs,
    qemu::{Accelerator, trial},
};
use crate::shell::say;

/// A guest under KVM is up in a second or two; one that is not by now never will be.
const TRIAL_LIMIT: Duration = Duration::from_secs(20);
const KVM: &str = "/dev/kvm";
/// What the guest's first process prints when it is told that this is a trial.
const ALIVE: &str = "ipmp-vm: alive";

/// The best accelerator that works here. A trial's outcome is kept until the host's next boot.
pub(super) fn choose(cache: &Cache, kernel: &Kernel, initramfs: &[u8]) -> Result<Accelerator> {
    let emulation =
        Accelerator::Tcg { tsc_khz: tsc_khz(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) };
    if let Err(error) = OpenOptions::new().read(true).write(true).open(KVM) {
        if error.kind() == io::ErrorKind::PermissionDenied {
            say(&format!("{KVM}: {error}: emulating, which is slower; the group `kvm` may open it"));
        }
        return Ok(emulation);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let record = cache.path().join("kvm-trial");
    let known = fs::read_to_string(&record).ok();
    let works = match known.as_deref().and_then(|text| text.split_once('\n')) {
        Some((verdict, tried)) if tried == boot => verdict == "works",
        _ => {
            let works = try_kvm(&kernel.image(), initramfs)?;
            let verdict = if works { "works" } else { "fails" };
            fs::write(&record, format!("{verdict}\n{boot}")).context("noting whether KVM works")?;
            works
        }
    };
    Ok(if works { Accelerator::Kvm } else { emulation })
}

fn try_kvm(image: &Path, initramfs: &[u8]) -> Result<bool> {
    let mut file = tempfile::NamedTempFile::new().context("a file for the initramfs")?;
    file.write_all(initramfs).context("writing the initramfs")?;
    let program = find_program(needs::QEMU).with_context(|| format!("{} is missing", needs::QEMU))?;
    let mut command = Command::new(program);
    command.args(trial(image, file.path(), Accelerator::Kvm));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut guest = Guarded::spawn(&mut command)?;
    let mut console = guest.child().stdout.take().context("QEMU's console")?;
    let ended = guest.wait(TRIAL_LIMIT)?;
    guest.kill()?;
    let mut text = Vec::new();
    console.read_to_end(&mut text).context("reading QEMU's console")?;
    let works = matches!(ended, Wait::Exited(_)) && String::from_utf8_lossy(&text).contains(ALIVE);
    say(if works {
        "KVM runs guests here"
    } else {
        "KVM is there, but a trial guest did not come up: emulating (slower)"
    });
    Ok(works)
}

/// The time stamp counter's rate: the kernel's bogomips are twice its MHz where delays are counted by it
/// (arch/x86/kernel/tsc.c sets `lpj_fine` from `tsc_khz`).
fn tsc_khz(cpuinfo: &str) -> Option<u32> {
    let line = cpuinfo.lines().find(|line| line.starts_with("bogomips"))?;
    let bogomips: f64 = line.split_once(':')?.1.trim().parse().ok()?;
    (bogomips > 0.0).then_some((bogomips * 500.0) as u32)
}

#[cfg(test)]
mod tests;
