//! What the daemon may do: as little as it needs, whoever started it.

use caps::{CapSet, Capability, errors::CapsError};
use nix::sys::{
    prctl,
    resource::{RLIM_INFINITY, Resource, setrlimit},
};

/// What the daemon cannot do without, and for what.
const NEEDED: [(Capability, &str); 3] = [
    (Capability::CAP_NET_ADMIN, "to move addresses and routes"),
    (Capability::CAP_NET_RAW, "to send probes and announcements"),
    (Capability::CAP_BPF, "to load eBPF programs"),
];

/// What serves where it is there: the programs that see the carrier go (`fentry`, `kprobe`), real-time priority, memory
/// that is not paged out.
const USEFUL: [Capability; 3] = [Capability::CAP_PERFMON, Capability::CAP_SYS_NICE, Capability::CAP_IPC_LOCK];

/// What is missing of the needed capabilities, each with what it is for.
///
/// # Errors
/// When the process's capabilities cannot be read.
pub fn missing() -> Result<Vec<String>, CapsError> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability);
    let mut missing = Vec::new();
    for (capability, purpose) in NEEDED {
        // capabilities(7): CAP_BPF was split off from CAP_SYS_ADMIN, which still includes it.
        let implied = capability == Capability::CAP_BPF && has(Capability::CAP_SYS_ADMIN)?;
        if !implied && !has(capability)? {
            missing.push(format!("{capability} ({purpose})"));
        }
    }
    Ok(missing)
}

/// Before 5.11 BPF maps count against `RLIMIT_MEMLOCK` (bpf(2)); where raising it is not permitted nor needed, no harm.
pub(crate) fn unlimit_locked_memory() {
    if let Err(errno) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!(%errno, "RLIMIT_MEMLOCK stays as it is");
    }
}

/// Gives up all capabilities that are of no use, for good, and the possibility to gain any by execve(2). Capabilities
/// belong to threads: to be called before there is a second one. `extra` is kept, if it is there.
///
/// # Errors
/// When the kernel refuses; then nothing is said about what is left.
pub fn drop_others(extra: &[Capability]) -> Result<(), CapsError> {
    // Raising it is one of the things that are given up.
    unlimit_locked_memory();
    let mut keep: Vec<Capability> = NEEDED.iter().map(|(capability, _)| *capability).collect();
    keep.extend(USEFUL);
    keep.extend(extra);
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_BPF)? {
        // capabilities(7): CAP_BPF and CAP_PERFMON were split off from it with kernel 5.8.
        keep.push(Capability::CAP_SYS_ADMIN);
    }
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::all().into_iter().filter(|capability| !keep.contains(capability)) {
            if caps::has_cap(None, CapSet::Bounding, capability)? {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        let mut left = caps::read(None, set)?;
        left.retain(|capability| keep.contains(capability));
        caps::set(None, set, &left)?;
    }
    if let Err(errno) = prctl::set_no_new_privs() {
        tracing::debug!(%errno, "no_new_privs is not set");
    }
    Ok(())
}
