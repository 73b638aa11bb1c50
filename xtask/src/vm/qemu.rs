//! QEMU's command line.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

/// Kernel arguments of every guest: a panic ends the machine instead of hanging it, NICs are called ethN.
const KERNEL_ARGUMENTS: &str =
    "console=ttyS0 panic=-1 oops=panic net.ifnames=0 random.trust_cpu=1 mitigations=off";

/// The first NICs are the ports of one card, functions of one PCI device, …
const PORTS_OF_CARD: usize = 2;
/// … in a slot that nothing else takes.
const CARD_SLOT: u8 = 0x10;

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU, which emulates it: 8 to 23 times slower.
    Tcg {
        /// The host's time stamp counter in kHz. A guest that has to measure it under emulation gets it wrong now and
        /// then, and its clock then runs many times too fast.
        tsc_khz: Option<u32>,
    },
}

impl Accelerator {
    /// Its name as QEMU says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg { .. } => "tcg",
        }
    }

    /// By how much tests stretch their times, `IPMP_TEST_SLOWNESS`: less than the processor is slower, for most of a test's
    /// time is waiting.
    pub(super) fn slowness(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Tcg { .. } => 5,
        }
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg { .. } => ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"],
        }
    }
}

/// An emulated network card with a cable to pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Nic {
    VirtioNet,
    E1000,
    E1000e,
    Igb,
    Vmxnet3,
}

impl Nic {
    /// QEMU's name of the device.
    fn device(self) -> &'static str {
        match self {
            Self::VirtioNet => "virtio-net-pci",
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Igb => "igb",
            Self::Vmxnet3 => "vmxnet3",
        }
    }

    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::VirtioNet, Self::Vmxnet3, Self::E1000, Self::E1000e, Self::Igb];

    /// The guest's module.
    pub(super) fn driver(self) -> &'static str {
        match self {
            Self::VirtioNet => "virtio_net",
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Igb => "igb",
            Self::Vmxnet3 => "vmxnet3",
        }
    }

    /// PCI Express cards behave only behind a root port.
    fn wants_root_port(self) -> bool {
        match self {
            Self::E1000e | Self::Igb => true,
            Self::VirtioNet | Self::E1000 | Self::Vmxnet3 => false,
        }
    }
}

/// A machine to start.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The kernel's release.
    pub(super) kernel: String,
    pub(super) image: PathBuf,
    /// Its modules on the host: `.../lib/modules/RELEASE`.
    pub(super) module_dir: PathBuf,
    pub(super) accelerator: Accelerator,
    pub(super) cpus: u32,
    pub(super) memory_mib: u32,
    /// All on one segment.
    pub(super) nics: Vec<Nic>,
    /// Modules to load before the command runs.
    pub(super) modules: Vec<String>,
    /// Directories of the host that the guest may write to, under the same path.
    pub(super) shares: Vec<PathBuf>,
    /// Whether the console shows the kernel's log.
    pub(super) verbose: bool,
}

impl Plan {
    /// The address of the NIC that QEMU and `set-link` call `nicINDEX`.
    pub(super) fn address(index: usize) -> String {
        format!("52:54:00:69:70:{index:02x}")
    }

    /// QEMU's arguments; `run` is the directory for this machine's files.
    pub(super) fn arguments(&self, run: &Path) -> Vec<OsString> {
        let mut words = Words::default();
        words.add(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-M", "q35"]);
        words.add(&self.accelerator.arguments());
        words.add(&["-smp", &self.cpus.to_string(), "-m", &format!("{}M", self.memory_mib)]);
        words.0.extend(["-kernel".into(), self.image.clone().into_os_string()]);
        words.0.extend(["-initrd".into(), run.join("initramfs").into_os_string()]);
        words.add(&["-append", &self.kernel_arguments(), "-device", "virtio-rng-pci"]);
        words.share("root", Path::new("/"), ",readonly=on");
        words.share("run", run, "");
        for (index, share) in self.shares.iter().enumerate() {
            words.share(&format!("share{index}"), share, "");
        }
        self.add_ports(&mut words, run);
        for (index, nic) in self.nics.iter().enumerate() {
            words.nic(index, *nic);
        }
        words.0
    }

    /// The console goes to a file; the command's two outputs to QEMU's own, which the caller reads through pipes.
    fn add_ports(&self, words: &mut Words, run: &Path) {
        words.add(&["-serial", &format!("file:{}", escaped(&run.join("console")))]);
        words.add(&["-device", "virtio-serial-pci"]);
        for (id, descriptor) in [("out", 1), ("err", 2)] {
            words.add(&["-chardev", &format!("file,id={id},path=/dev/fd/{descriptor},append=on")]);
            words.add(&["-device", &format!("virtserialport,chardev={id},name=ipmp.{id}")]);
        }
        if !self.nics.is_empty() {
            // A port of the guest wired to this machine's own monitor: the guest pulls its own cables.
            let socket = escaped(&run.join("qmp"));
            words.add(&["-chardev", &format!("socket,id=monitor,path={socket},server=on,wait=off")]);
            words.add(&["-mon", "chardev=monitor,mode=control"]);
            words.add(&["-chardev", &format!("socket,id=qmp,path={socket}")]);
            words.add(&["-device", "virtserialport,chardev=qmp,name=ipmp.qmp"]);
        }
    }

    fn kernel_arguments(&self) -> String {
        let clock = match self.accelerator {
            Accelerator::Tcg { tsc_khz: Some(khz) } => format!(" tsc=reliable tsc_early_khz={khz}"),
            Accelerator::Tcg { tsc_khz: None } | Accelerator::Kvm => String::new(),
        };
        let log = if self.verbose { "loglevel=7" } else { "quiet" };
        format!("{KERNEL_ARGUMENTS}{clock} {log}")
    }
}

/// The machine that shows whether an accelerator works: it says so on its console, and ends.
pub(super) fn trial(image: &Path, initramfs: &Path, accelerator: Accelerator) -> Vec<OsString> {
    let mut words = Words::default();
    words.add(&[
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-M",
        "q35",
        "-m",
        "256M",
    ]);
    words.add(&accelerator.arguments());
    words.0.extend(["-kernel".into(), image.as_os_str().to_owned()]);
    words.0.extend(["-initrd".into(), initramfs.as_os_str().to_owned()]);
    words.add(&["-append", &format!("{KERNEL_ARGUMENTS} quiet ipmp.trial"), "-serial", "file:/dev/fd/1"]);
    words.0
}

#[derive(Default)]
struct Words(Vec<OsString>);

impl Words {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn share(&mut self, tag: &str, path: &Path, more: &str) {
        let path = escaped(path);
        self.add(&[
            "-fsdev",
            &format!("local,id={tag},path={path},security_model=none,multidevs=remap{more}"),
        ]);
        self.add(&["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")]);
    }

    fn nic(&mut self, index: usize, nic: Nic) {
        let (device, address) = (nic.device(), Plan::address(index));
        let mut bus = String::new();
        if nic.wants_root_port() {
            let port = format!("port{index}");
            self.add(&["-device", &format!("pcie-root-port,id={port},chassis={}", index + 1)]);
            bus = format!(",bus={port}");
        } else if index < PORTS_OF_CARD {
            let several = if index == 0 { ",multifunction=on" } else { "" };
            bus = format!(",addr={CARD_SLOT:x}.{index:x}{several}");
        }
        self.add(&["-netdev", &format!("hubport,id=hub{index},hubid=0")]);
        self.add(&["-device", &format!("{device},netdev=hub{index},id=nic{index},mac={address}{bus}")]);
    }
}

/// A path within an option of QEMU's, where a comma ends the value unless it is doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests;
