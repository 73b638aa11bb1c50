//! `cargo xtask vm`: runs a command under another kernel, in a virtual machine that has the working tree inside.
//!
//! The guest's root is the host's, beneath a layer that is thrown away; only the working tree is written through. So
//! everything is built on the host, and runs in the guest under the paths it has on the host.

mod accelerator;
mod archive;
mod bzimage;
mod cable;
mod cache;
mod document;
mod guest;
mod initramfs;
mod machine;
mod matrix;
mod name;
mod needs;
mod pins;
mod qemu;
pub(crate) mod suite;
mod tiers;
mod unpack;

use std::{
    env,
    ffi::OsString,
    io::Write,
    process::exit,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;

use self::{
    cache::{Cache, Kernel},
    guest::Command,
    machine::{End, Run},
    name::Request,
    qemu::{Nic, Plan},
    tiers::{Suite, Tests},
};
use crate::shell::{self, say};

/// Exit statuses that are not the command's, as timeout(1) and shells use them.
const TIME_LIMIT: u8 = 124;
const VM_FAILED: u8 = 125;
const INTERRUPTED: u8 = 130;
/// What a machine has unless told otherwise.
const CPUS: u32 = 2;
const MEMORY_MIB: u32 = 1536;

/// Which kernel, what to run, and in what machine.
#[derive(Args, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
pub(crate) struct Options {
    /// A kernel: one of --list, a series (6.16, 6.16-rt), or a Debian kernel's whole name
    #[arg(required_unless_present_any = ["list", "matrix"])]
    kernel: Option<String>,
    /// What to run instead of the network tests; standard input is closed
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Show the pinned kernels and which of them are here
    #[arg(long, conflicts_with_all = ["kernel", "matrix", "fetch"])]
    list: bool,
    /// Only download and unpack the kernel
    #[arg(long)]
    fetch: bool,
    /// Only a few of the network tests
    #[arg(long, conflicts_with_all = ["fetch", "command", "matrix"])]
    small: bool,
    /// Print the tables of what each pinned kernel can do and how soon each network driver's carrier loss is acted upon,
    /// by trying (with KERNEL: of that one)
    #[arg(long, conflicts_with_all = ["fetch", "command"])]
    matrix: bool,
    /// Let --matrix write docs/kernels.md
    #[arg(long, requires = "matrix", conflicts_with = "kernel")]
    write: bool,
    /// Let --matrix take from an earlier run what that found, and only go on from there
    #[arg(long, requires = "matrix")]
    resume: bool,
    /// Add a network card (repeatable); all are on one segment, `set-link nic0 down` in the guest pulls a cable. Without a
    /// command, three of a kind are pulled and plugged by a test
    #[arg(long, value_name = "MODEL")]
    nic: Vec<Nic>,
    /// Load a kernel module before the command runs (repeatable)
    #[arg(long, value_name = "MODULE")]
    module: Vec<String>,
    /// Processors
    #[arg(long, default_value_t = CPUS)]
    cpus: u32,
    /// Memory in MiB
    #[arg(long, default_value_t = MEMORY_MIB)]
    mem: u32,
    /// Stop the machine after this many seconds and show the end of its console
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
    /// Show the kernel's log when the machine has ended
    #[arg(long)]
    verbose: bool,
}

impl Options {
    /// A plain machine.
    fn of_machine(timeout: u64) -> Self {
        Self {
            kernel: None,
            command: Vec::new(),
            list: false,
            fetch: false,
            small: false,
            matrix: false,
            write: false,
            resume: false,
            nic: Vec::new(),
            module: Vec::new(),
            cpus: CPUS,
            mem: MEMORY_MIB,
            timeout,
            verbose: false,
        }
    }
}

/// Does what the options say; ends this process with the command's exit status, 124 at the time limit, 125 when there is
/// no status to pass on.
pub(crate) fn run(options: &Options) -> Result<()> {
    let status = act(options).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        VM_FAILED
    });
    if status == 0 { Ok(()) } else { exit(i32::from(status)) }
}

fn act(options: &Options) -> Result<u8> {
    let cache = Cache::open()?;
    if options.list {
        list(&cache)?;
        return Ok(0);
    }
    if options.matrix {
        return matrix::run(&cache, options);
    }
    let request: Request = options.kernel.as_deref().context("no kernel was named")?.parse()?;
    let kernel = cache.provide(&request)?;
    if options.fetch {
        println!("{}", kernel.directory.display());
        return Ok(0);
    }
    if options.command.is_empty() {
        let (suite, nics) = match options.nic.as_slice() {
            [] if options.small => (Suite::Small, Vec::new()),
            [] => (Suite::All, Vec::new()),
            [one] => (Suite::Cable, vec![*one; cable::NEEDED]),
            several => (Suite::Cable, several.to_vec()),
        };
        let command = Tests::build()?.command(suite)?;
        let options = Options { nic: nics, ..options.clone() };
        let run = start(&cache, &kernel, &options, &command, &mut std::io::stdout())?;
        return Ok(conclude(&kernel, run.end));
    }
    let command = Command::new(&env::current_dir().context("the current directory")?, &options.command);
    let run = start(&cache, &kernel, options, &command, &mut std::io::stdout())?;
    Ok(conclude(&kernel, run.end))
}

/// Runs a command under a kernel and tells how long it took.
fn start(
    cache: &Cache,
    kernel: &Kernel,
    options: &Options,
    command: &Command,
    out: &mut (dyn Write + Send),
) -> Result<Run> {
    let busybox = needs::for_running()?;
    let initramfs = initramfs::build(&kernel.modules(), &busybox)?;
    let accelerator = accelerator::choose(cache, kernel, &initramfs)?;
    let plan = Plan {
        kernel: kernel.name.to_string(),
        image: kernel.image(),
        module_dir: kernel.modules(),
        accelerator,
        cpus: options.cpus,
        memory_mib: options.mem,
        nics: options.nic.clone(),
        modules: options.module.clone(),
        shares: vec![shell::root().canonicalize().context("the working tree")?],
        verbose: options.verbose,
    };
    say(&format!("{}: starting ({})", kernel.name, accelerator.name()));
    let started = Instant::now();
    let run = machine::run(&plan, &initramfs, command, Duration::from_secs(options.timeout), out)?;
    let seconds = |time: Option<Duration>| {
        time.map_or_else(|| "not seen".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
    };
    say(&format!(
        "{}: up after {}, command {}, ended after {}",
        kernel.name,
        seconds(run.times.boot),
        seconds(run.times.command),
        seconds(Some(started.elapsed()))
    ));
    if let Some(rate) = run.times.clock_rate {
        say(&format!("the guest's clock ran at {rate:.2} of real time: distrust what it measured"));
    }
    Ok(run)
}

/// The exit status for a run's end, which is explained where it is not the command's own.
fn conclude(kernel: &Kernel, end: End) -> u8 {
    let (what, trace, status) = match end {
        End::Status(status) => return status,
        End::Interrupted => {
            say(&format!("{}: interrupted", kernel.name));
            return INTERRUPTED;
        }
        End::TimeLimit(trace) => ("the time limit ran out (--timeout)", trace, TIME_LIMIT),
        End::Died(trace) => ("the machine ended without a status of the command", trace, VM_FAILED),
    };
    say(&format!("{}: {what}; QEMU: {}; the console's end:", kernel.name, trace.qemu));
    eprintln!("{}", trace.console);
    status
}

fn list(cache: &Cache) -> Result<()> {
    for pin in pins::all()? {
        let here = pin.names.iter().find(|name| cache.cached(name).is_some());
        let state = if here.is_some() { "here" } else { "not fetched yet" };
        if let Some(name) = here.or(pin.names.first()) {
            println!("{:<10} {:<28} {state}", pin.alias, name.as_str());
        }
    }
    println!("\nkept in {}", cache.path().display());
    Ok(())
}
