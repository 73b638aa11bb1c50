//! The ladders: the best evidence each interface and kernel permits, and why nothing better.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use ipmp_common::abi::program;

use super::{
    KernelError,
    driver::Drivers,
    load::{Loaded, detach_clsact},
    namespace::Namespace,
    pins::{Pins, link_name},
    refusal::explain,
    rungs::{CarrierRung, DepartureRung, Refused, ReplyRung},
    sys::{self, HOOKS, Hook},
};

/// Said of a rung better than the best that the caller wants.
pub(super) const NOT_WANTED: &str = "it was not asked for";

/// The name, in a list of what was refused, of XDP for frames that take several buffers: without it a driver whose MTU
/// makes them necessary refuses XDP.
const JUMBO: &str = "xdp-frags";

/// The links of one interface; the pins keep them attached when these descriptors are closed.
#[derive(Default)]
pub(super) struct Links {
    held: Vec<(Hook, OwnedFd)>,
    clsact: bool,
}

impl Links {
    /// Climbs down the ladder for replies, until a rung holds. `None`: only a socket is left.
    pub(super) fn attach_reply(
        &mut self,
        loaded: &mut Loaded,
        pins: &Pins,
        (ifindex, name): (u32, &str),
        refused: &mut Vec<Refused>,
    ) -> Option<ReplyRung> {
        const LADDER: [(Hook, ReplyRung); 3] = [
            (Hook::XdpNative, ReplyRung::XdpNative),
            (Hook::TcxIngress, ReplyRung::Tcx),
            (Hook::XdpGeneric, ReplyRung::XdpGeneric),
        ];
        for (hook, rung) in LADDER {
            if hook == Hook::XdpNative && Drivers::new().is_ok_and(|drivers| drivers.is_bond(name)) {
                refused.push(Refused::new(
                    &rung,
                    "a bond's native XDP sees the frames of its ports, not the bond's",
                ));
                continue;
            }
            match link(loaded, pins, ifindex, hook) {
                Ok(link) => {
                    self.held.push((hook, link));
                    if let (Hook::XdpNative | Hook::XdpGeneric, Some(reason)) = (hook, loaded.no_frags()) {
                        refused.push(Refused::new(&JUMBO, reason));
                    }
                    for (other, _) in LADDER.iter().filter(|(other, _)| *other != hook) {
                        pins.remove(&link_name(ifindex, *other));
                    }
                    return Some(rung);
                }
                Err(reason) => refused.push(Refused::new(&rung, reason)),
            }
        }
        None
    }

    /// The same for departures.
    pub(super) fn attach_departure(
        &mut self,
        loaded: &mut Loaded,
        pins: &Pins,
        (ifindex, name, best): (u32, &str, DepartureRung),
        refused: &mut Vec<Refused>,
    ) -> DepartureRung {
        let tcx = if best > DepartureRung::Tcx {
            Err(NOT_WANTED.to_owned())
        } else {
            link(loaded, pins, ifindex, Hook::TcxEgress)
        };
        match tcx {
            Ok(link) => {
                self.held.push((Hook::TcxEgress, link));
                return DepartureRung::Tcx;
            }
            Err(reason) => refused.push(Refused::new(&DepartureRung::Tcx, reason)),
        }
        if best > DepartureRung::Clsact {
            refused.push(Refused::new(&DepartureRung::Clsact, NOT_WANTED));
            return DepartureRung::UserSpace;
        }
        match loaded.attach_clsact(name, pins) {
            Ok(()) => {
                self.clsact = true;
                DepartureRung::Clsact
            }
            Err(reason) => {
                refused.push(Refused::new(&DepartureRung::Clsact, reason));
                DepartureRung::UserSpace
            }
        }
    }

    /// Removes everything of ours from the interface, as far as possible.
    pub(super) fn detach(self, pins: &Pins, ifindex: u32, name: &str) -> Result<(), KernelError> {
        let removed = HOOKS.map(|hook| pins.try_remove(&link_name(ifindex, hook)));
        if self.clsact {
            detach_clsact(name);
        }
        removed.into_iter().fold(Ok(()), Result::and)
    }
}

/// Adopts the link of an earlier run, or makes a new one and pins it.
fn link(loaded: &mut Loaded, pins: &Pins, ifindex: u32, hook: Hook) -> Result<OwnedFd, String> {
    let program = match hook {
        Hook::XdpNative | Hook::XdpGeneric => loaded.xdp(pins),
        Hook::TcxIngress => loaded.program(program::INGRESS, pins),
        Hook::TcxEgress => loaded.program(program::EGRESS, pins),
    }?
    .as_fd();
    if let Some(link) = pins.adopt_link(ifindex, hook, program) {
        return Ok(link);
    }
    let link = sys::link_create(program, ifindex, hook).map_err(|error| refusal(&error, hook))?;
    pins.replace(&link_name(ifindex, hook), link.as_fd());
    Ok(link)
}

fn refusal(error: &io::Error, hook: Hook) -> String {
    match (error.raw_os_error(), hook) {
        (Some(libc::EBUSY | libc::EEXIST), Hook::XdpNative | Hook::XdpGeneric) => {
            format!("{error}: another XDP program is attached, which is never replaced")
        }
        (Some(libc::EOPNOTSUPP), Hook::XdpNative) => format!("{error}: the driver has no native XDP"),
        (Some(libc::EINVAL), Hook::TcxIngress | Hook::TcxEgress) => {
            format!("{error}: no tcx links (they came with kernel 6.6)")
        }
        (Some(libc::ENODEV), _) => format!("{error}: the interface is gone"),
        (_, _) => explain(error),
    }
}

/// The ladder for the carrier, as far as it is the kernel's and not the interface's: a tracing rung serves
/// all interfaces. `None`: poll, or wait for netlink. Tracing sees all network namespaces, and where ours has no
/// name it would take another's device of the same number for ours.
pub(super) fn trace_carrier(
    loaded: &mut Loaded,
    pins: &Pins,
    (namespace, best): (Namespace, CarrierRung),
    refused: &mut Vec<Refused>,
) -> Option<CarrierRung> {
    const LADDER: [(CarrierRung, [&str; 2]); 2] = [
        (CarrierRung::Fentry, [program::FENTRY_ON, program::FENTRY_OFF]),
        (CarrierRung::Kprobe, [program::KPROBE_ON, program::KPROBE_OFF]),
    ];
    for (rung, programs) in LADDER {
        if rung < best {
            refused.push(Refused::new(&rung, NOT_WANTED));
            continue;
        }
        if namespace == Namespace::Unknown {
            refused.push(Refused::new(&rung, "the kernel does not tell network namespaces apart"));
            continue;
        }
        match loaded.trace(programs, pins) {
            Ok(()) => return Some(rung),
            Err(reason) => refused.push(Refused::new(&rung, reason)),
        }
    }
    None
}
