//! What the kernel does with our own eBPF programs.

use std::{fs, path::Path, process};

use anyhow::Result;
use ipmp_common::abi::{ABI_VERSION, program};
use ipmp_tests::netns::Netns;
use ipmp_user::kernel::{CarrierRung, DepartureRung, Kernel, KernelOptions, Refused, ReplyRung, Rungs};

use crate::{Finding, tried};

/// What was tried, with what came of it.
type Tried = Vec<(&'static str, Finding)>;
/// The rungs that were chosen.
type Chosen = Vec<(&'static str, String)>;

/// Where programs can be pinned on any system.
const BPFFS: &str = "/sys/fs/bpf";
/// Set by the kernel's first timer helper, 5.15.
const TIMER_HELPER: &str = "bpf_timer_init";
const CARRIER_FUNCTION: &str = "netif_carrier_off";
const KPROBE_EVENTS: &str = "/sys/kernel/tracing/kprobe_events";

/// Loads and attaches through the kernel room as the daemon would, then by iproute2 where the room, content with a
/// better rung, does not try.
///
/// The second list names the rungs that the kernel room chose.
pub(crate) fn try_all(netns: &Netns) -> Result<(Tried, Chosen)> {
    let pins = Path::new(BPFFS).join(format!("ipmp-capabilities-{}", process::id()));
    let (findings, chosen) = netns.run(|| {
        let mut chosen = Vec::new();
        let mut kernel = Kernel::open(&KernelOptions::new(&pins));
        let complaint = || kernel.complaints().join("; ");
        let mut findings = vec![
            ("object loads, maps are made", if_so(kernel.complaints().is_empty(), complaint())),
            ("ring buffer", if_so(kernel.ring_fd().is_some(), complaint())),
        ];
        match nix::net::if_::if_nametoindex("v0") {
            Ok(ifindex) => {
                let rungs = kernel.attach(ifindex, "v0");
                findings.extend(attached(&rungs));
                chosen.extend([
                    ("evidence chosen on veth, replies", rungs.reply.to_string()),
                    ("evidence chosen on veth, departures", rungs.departure.to_string()),
                    ("evidence chosen on veth, carrier", rungs.carrier.to_string()),
                ]);
            }
            Err(error) => findings.push(("attach", Err(error.to_string()))),
        }
        findings.push(("XDP frags", kernel.try_program(program::XDP)));
        findings.extend(pinned(netns, &pins.join(format!("v{ABI_VERSION}"))));
        kernel.release();
        (findings, chosen)
    })?;
    // The kernel room leaves the directory itself, which the daemon's user chose.
    if pins.exists() {
        fs::remove_dir(&pins)?;
    }
    let tried = [("kprobe", kprobe()), ("bpf_timer", timer())];
    Ok((findings.into_iter().chain(tried).collect(), chosen))
}

/// What the kernel room took, and what it says of the rest.
fn attached(rungs: &Rungs) -> [(&'static str, Finding); 3] {
    let Rungs { reply, reply_refused, departure, departure_refused, carrier, carrier_refused } = rungs;
    [
        (
            "XDP native on veth",
            if_so(*reply == ReplyRung::XdpNative, reason(reply_refused, &ReplyRung::XdpNative.to_string())),
        ),
        (
            "tcx",
            if_so(
                *departure == DepartureRung::Tcx,
                reason(departure_refused, &DepartureRung::Tcx.to_string()),
            ),
        ),
        (
            "fentry",
            if_so(*carrier == CarrierRung::Fentry, reason(carrier_refused, &CarrierRung::Fentry.to_string())),
        ),
    ]
}

/// Our programs, attached from their pins by iproute2.
fn pinned(netns: &Netns, pins: &Path) -> Vec<(&'static str, Finding)> {
    let (frags, linear) = (pins.join(program::XDP), pins.join(program::XDP_LINEAR));
    let xdp = if frags.exists() { &frags } else { &linear };
    let egress = pins.join(program::EGRESS);
    let generic = |device: &str| {
        tried(netns, "ip", &format!("link set dev {device} xdpgeneric pinned {}", xdp.display()))
    };
    let clsact = tried(netns, "tc", "qdisc add dev v2 clsact").and_then(|_| {
        tried(
            netns,
            "tc",
            &format!("filter add dev v2 egress bpf direct-action object-pinned {}", egress.display()),
        )
    });
    vec![
        ("XDP generic on veth", generic("v2").map(drop)),
        ("XDP generic on dummy", generic("d0").map(drop)),
        ("clsact", clsact.map(drop)),
    ]
}

/// A kprobe on the function that tells of a lost carrier, made by tracefs (Documentation/trace/kprobetrace.rst): the
/// kernel room tries one only where fentry fails.
fn kprobe() -> Finding {
    let name = format!("ipmp_capabilities_{}", process::id());
    let write = |text: String| {
        fs::OpenOptions::new()
            .append(true)
            .open(KPROBE_EVENTS)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(|error| format!("{KPROBE_EVENTS}: {error}"))
    };
    write(format!("p:{name} {CARRIER_FUNCTION}\n"))?;
    write(format!("-:{name}\n"))
}

/// None of our programs needs a timer, so whether the helper is there is read, not tried.
fn timer() -> Finding {
    let symbols = fs::read_to_string("/proc/kallsyms").map_err(|error| format!("/proc/kallsyms: {error}"))?;
    let found = symbols.lines().any(|line| line.split_whitespace().nth(2) == Some(TIMER_HELPER));
    if_so(found, format!("the kernel has no {TIMER_HELPER} (5.15 brought it)"))
}

fn reason(refused: &[Refused], rung: &str) -> String {
    refused
        .iter()
        .find(|refused| refused.rung == rung)
        .map_or_else(|| "it was not tried".to_owned(), |refused| refused.reason.clone())
}

fn if_so(works: bool, otherwise: String) -> Finding {
    if works { Ok(()) } else { Err(otherwise) }
}
