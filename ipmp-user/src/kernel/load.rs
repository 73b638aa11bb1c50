//! The embedded object: its maps (created or adopted from their pins), and its programs, each loaded when it
//! is first wanted, so that one the kernel refuses does not spoil the others.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::{
    Btf, Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, MapData, MapError, PerCpuHashMap, RingBuf},
    programs::{Program, ProgramError},
};
use ipmp_common::abi::{self, Carrier, CarrierKey, Counters, Evidence, Session, map, program, rodata};

use super::{btf::Offsets, namespace::Namespace, pins::Pins, refusal};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipmp-ebpf"));

/// An ABI type as aya wants map keys and values.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Plain<T>(pub(super) T);

macro_rules! plain {
    ($($type:ty),+) => {
        // SAFETY: `repr(C)` without padding, and every bit pattern is a value (asserted in `abi`).
        $(unsafe impl Pod for Plain<$type> {})+
    };
}
plain!(Session, Evidence, Counters, CarrierKey, Carrier);

/// Maps and programs of one loaded object.
pub(super) struct Loaded {
    pub(super) sessions: Array<MapData, Plain<Session>>,
    pub(super) evidence: Array<MapData, Plain<Evidence>>,
    /// The same map, to be mapped.
    evidence_fd: OwnedFd,
    pub(super) counters: PerCpuHashMap<MapData, u32, Plain<Counters>>,
    pub(super) carriers: HashMap<MapData, Plain<CarrierKey>, Plain<Carrier>>,
    pub(super) events: RingBuf<MapData>,
    programs: Ebpf,
    /// What became of those that were wanted.
    outcomes: BTreeMap<&'static str, Result<OwnedFd, String>>,
    offsets: Offsets,
    /// The kernel's types, read when a program first needs them: that takes a while.
    types: Option<Btf>,
}

impl Loaded {
    /// Parses the object and creates its maps, or adopts those pinned by an earlier run.
    pub(super) fn new(pins: &Pins, namespace: Namespace) -> Result<Self, String> {
        crate::privilege::unlimit_locked_memory();
        let offsets = Offsets::of_running_kernel().unwrap_or_else(|error| {
            tracing::debug!(%error, "no kernel type information");
            Offsets::UNKNOWN
        });
        let offsets = offsets.to_tell(namespace);
        let mut ebpf = loader(pins, &offsets).load(OBJECT).map_err(|error| refusal::of(&error))?;
        let maps = |error: MapError| refusal::of(&error);
        let evidence = take(&mut ebpf, map::EVIDENCE)?;
        let evidence_fd = if let aya::maps::Map::Array(data) = &evidence {
            data.fd().as_fd().try_clone_to_owned()
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
        .map_err(|error| refusal::of(&error))?;
        Ok(Self {
            sessions: Array::try_from(take(&mut ebpf, map::SESSION)?).map_err(maps)?,
            evidence: Array::try_from(evidence).map_err(maps)?,
            evidence_fd,
            counters: PerCpuHashMap::try_from(take(&mut ebpf, map::COUNTER)?).map_err(maps)?,
            carriers: HashMap::try_from(take(&mut ebpf, map::CARRIER)?).map_err(maps)?,
            events: RingBuf::try_from(take(&mut ebpf, map::EVENTS)?).map_err(maps)?,
            programs: ebpf,
            outcomes: BTreeMap::new(),
            offsets,
            types: None,
        })
    }

    /// The evidence map's descriptor.
    pub(super) fn evidence_fd(&self) -> BorrowedFd<'_> {
        self.evidence_fd.as_fd()
    }

    /// The loaded program `name`, or why the kernel refused it. Loaded and pinned at the first call.
    pub(super) fn program(&mut self, name: &'static str, pins: &Pins) -> Result<&OwnedFd, &str> {
        let Self { outcomes, programs, offsets, types, .. } = self;
        outcomes
            .entry(name)
            .or_insert_with(|| {
                let fd = load(programs, name, (offsets, types)).inspect_err(|reason| {
                    tracing::info!(program = name, %reason, "not loaded");
                })?;
                pins.replace(name, fd.as_fd());
                Ok(fd)
            })
            .as_ref()
            .map_err(String::as_str)
    }

    /// The XDP program: for all frame sizes, or where the kernel does not know how, for linear frames.
    pub(super) fn xdp(&mut self, pins: &Pins) -> Result<&OwnedFd, &str> {
        let name = match self.program(program::XDP, pins) {
            Ok(_) => program::XDP,
            Err(_) => program::XDP_LINEAR,
        };
        self.program(name, pins)
    }

    /// Why XDP is for linear frames only, if it is.
    pub(super) fn no_frags(&self) -> Option<&str> {
        self.outcomes.get(program::XDP)?.as_ref().err().map(String::as_str)
    }

    /// Attaches both loaded tracing programs of a rung. They stay attached as long as this object lives.
    pub(super) fn trace(&mut self, names: [&'static str; 2], pins: &Pins) -> Result<(), String> {
        for name in names {
            self.program(name, pins).map_err(str::to_owned)?;
        }
        for name in names {
            let attached = match self.programs.program_mut(name) {
                Some(Program::FEntry(program)) => program.attach().map(drop),
                Some(Program::KProbe(program)) => program.attach(carrier_function(name), 0).map(drop),
                Some(_) | None => Err(ProgramError::UnexpectedProgramType),
            };
            attached.map_err(|error| {
                format!("{}: not traceable: {}", carrier_function(name), refusal::of(&error))
            })?;
        }
        Ok(())
    }

    /// Attaches the egress program by a clsact filter, after removing one that an earlier run left.
    pub(super) fn attach_clsact(&mut self, interface: &str, pins: &Pins) -> Result<(), String> {
        use aya::programs::tc::{NlOptions, TcAttachOptions, TcAttachType, qdisc_add_clsact};
        self.program(program::EGRESS, pins).map_err(str::to_owned)?;
        let Some(Program::SchedClassifier(program)) = self.programs.program_mut(program::EGRESS) else {
            return Err(refusal::of(&ProgramError::UnexpectedProgramType));
        };
        // It may be there already, ours or somebody else's; if it cannot be had, attaching says why.
        if let Err(error) = qdisc_add_clsact(interface) {
            tracing::debug!(interface, %error, "clsact not added");
        }
        detach_clsact(interface);
        program
            .attach_with_options(
                interface,
                TcAttachType::Egress,
                TcAttachOptions::Netlink(NlOptions::default()),
            )
            .map(drop)
            .map_err(|error| refusal::of(&error))
    }
}

/// Removes our clsact filter from an interface, if there is one; whether there was. No pin holds it: it outlives a daemon that
/// ends, and its pins.
pub fn detach_clsact(interface: &str) -> bool {
    use aya::programs::tc::{TcAttachType, qdisc_detach_program};
    qdisc_detach_program(interface, TcAttachType::Egress, program::EGRESS)
        .inspect_err(|error| tracing::debug!(interface, %error, "no clsact filter removed"))
        .is_ok()
}

fn loader<'a>(pins: &Pins, offsets: &'a Offsets) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    // The object has no CO-RE relocations.
    loader
        .btf(None)
        .override_global(rodata::NET_DEVICE_IFINDEX, &offsets.device_ifindex, true)
        .override_global(rodata::NET_DEVICE_NET, &offsets.device_net, true)
        .override_global(rodata::NET_DEVICE_STATE, &offsets.device_state, true)
        .override_global(rodata::NET_COOKIE, &offsets.namespace_cookie, true)
        .override_global(rodata::NET_INODE, &offsets.namespace_inode, true);
    for name in map::ALL {
        if let Some(path) = pins.path(name) {
            loader.map_pin_path(name, path);
        }
    }
    loader
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, String> {
    ebpf.take_map(name)
        .ok_or_else(|| format!("map {name}: missing from the embedded object (ABI {})", abi::ABI_VERSION))
}

fn carrier_function(name: &str) -> &'static str {
    if name == program::FENTRY_ON || name == program::KPROBE_ON {
        "netif_carrier_on"
    } else {
        "netif_carrier_off"
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "aya's list of program types grows; ours are these four")]
fn load(
    programs: &mut Ebpf,
    name: &str,
    (offsets, types): (&Offsets, &mut Option<Btf>),
) -> Result<OwnedFd, String> {
    let program = programs
        .program_mut(name)
        .ok_or_else(|| format!("program {name}: missing from the embedded object"))?;
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::FEntry(_) | Program::KProbe(_) if !offsets.complete() => {
            return Err("the kernel does not tell where its fields are (/sys/kernel/btf/vmlinux)".to_owned());
        }
        Program::FEntry(program) => {
            let types = match types {
                Some(types) => types,
                None => types.insert(Btf::from_sys_fs().map_err(|error| refusal::of(&error))?),
            };
            program.load(carrier_function(name), types)
        }
        Program::KProbe(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .and_then(|()| Ok(program.fd()?.as_fd().try_clone_to_owned()?))
    .map_err(|error| refusal::of_program(name, &error))
}

/// Puts a path of the pin directory into a message.
pub(super) fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {}", path.display(), refusal::explain(error))
}
