//! Requests of the control socket, answered between two turns of the loop.

use std::collections::BTreeMap;

use ipmp_common::{
    abi,
    engine::{
        self,
        event::{CarrierSource, Command, Event},
        ids::{Family, MemberId},
        reason::Reason,
        snapshot::Snapshot,
        time::Timestamp,
    },
};

use super::{Daemon, left_alone, members::MemberIo, pci};
use crate::{
    control::{
        Request, RequestKind, Response,
        protocol::{Refusal, RefusalCode},
        status::{Counters, DeviceInfo, EvidenceInfo, ReplyEvidence, TargetOrigin, TestInfo},
    },
    kernel::{CarrierRung, Kernel, Refused, ReplyRung, Rungs},
    net::inventory::Link,
};

impl Daemon {
    pub(super) fn serve(&mut self, now: Timestamp, request: Request) {
        let Request { kind, reply } = request;
        let response = match kind {
            RequestKind::Reload => return self.reload(Some(reply)),
            RequestKind::Detach(wanted) => return self.detach(now, &wanted, Some(reply)),
            RequestKind::Attach(wanted) => return self.attach(now, &wanted, Some(reply)),
            RequestKind::Status => {
                Response::Status { snapshot: self.snapshot(now), evidence: self.evidence() }
            }
            RequestKind::Offline { interface, force } => {
                self.command(now, &interface, |member| Command::Offline { member, force })
            }
            RequestKind::Online { interface } => {
                self.command(now, &interface, |member| Command::Online { member })
            }
        };
        // The client may have gone; then nobody wants the answer.
        let _ = reply.send(response);
    }

    fn command(
        &mut self,
        now: Timestamp,
        interface: &str,
        command: impl Fn(MemberId) -> Command,
    ) -> Response {
        let interface = &*self.meant(interface);
        let Some(member) = self.members.iter().find(|member| member.config.name == interface) else {
            let text = format!("{interface}: is in no group: `ipmp status` lists the interfaces");
            return Response::Refused(Refusal::new(RefusalCode::NotFound, text));
        };
        if member.leaving {
            let text = format!("{interface}: is being detached: try again when that is over");
            return Response::Refused(Refusal::new(RefusalCode::Busy, text));
        }
        let absent = member.ifindex.is_none().then(|| self.why_absent(interface));
        let command = command(member.id);
        if let (Some(why), Command::Offline { .. }) = (&absent, &command) {
            let text = format!("{interface}: cannot be taken offline: {why}");
            return Response::Refused(Refusal::new(RefusalCode::Refused, text));
        }
        match self.engine.check(&command) {
            Ok(()) => {
                self.engine.handle(now, Event::Command(command));
                self.keep_offline();
                Response::Done(match absent {
                    Some(why) => format!("{interface}: is offline no longer, but cannot serve yet: {why}"),
                    None => format!("{interface}: done"),
                })
            }
            Err(refusal) => Response::Refused(refused(interface, refusal)),
        }
    }

    /// The engine knows only that an interface is not there for it.
    fn snapshot(&self, now: Timestamp) -> Snapshot {
        let mut snapshot = self.engine.snapshot(now);
        let members = snapshot.groups.iter_mut().flat_map(|group| &mut group.members);
        for member in members.filter(|member| member.ifindex == 0 && member.reason != Reason::Detached) {
            if let Some(obstacle) = self.why_not_taken(&member.name) {
                member.reason = Reason::NotTaken { obstacle };
            }
        }
        snapshot
    }

    fn evidence(&self) -> BTreeMap<MemberId, EvidenceInfo> {
        let present = self.members.iter().filter_map(|member| {
            let mut info = info(&self.kernel, member.ifindex?, self.kernel.rungs(member.ifindex?)?);
            let used = self.outbound.get(&member.group);
            info.outbound = used.zip(member.ifindex).is_some_and(|(used, ifindex)| used.contains(&ifindex));
            info.device = self.inventory.link(member.ifindex?).map(|link| self.device(link, member));
            Some((member.id, info))
        });
        present.collect()
    }

    fn device(&self, link: &Link, member: &MemberIo) -> DeviceInfo {
        let test = |address| TestInfo {
            address,
            targets: if self.engine.probes_hosts(member.group, Family::of(address)) {
                TargetOrigin::Neighbours
            } else {
                TargetOrigin::Routes
            },
        };
        DeviceInfo {
            up: link.admin_up(),
            section: self
                .admin
                .identities
                .section_of(&link.name)
                .filter(|s| *s != link.name)
                .map(str::to_owned),
            mac: link.mac.map(pci::mac_text),
            mtu: link.mtu,
            left_alone: left_alone::on(&self.inventory, link.ifindex),
            test: member.probe_sources().into_iter().map(test).collect(),
        }
    }
}

/// in.mpathd's words where it has some.
pub(super) fn refused(interface: &str, refusal: engine::Refusal) -> Refusal {
    let (code, why) = match refusal {
        engine::Refusal::NoSuchMember => {
            (RefusalCode::NotFound, "is in no group: `ipmp status` lists the interfaces")
        }
        engine::Refusal::AlreadyOffline => {
            (RefusalCode::Refused, "is already offline: `ipmp online` undoes it")
        }
        engine::Refusal::NotOffline => (RefusalCode::Refused, "is not offline: nothing to do"),
        engine::Refusal::DuplicateHardwareAddress => (
            RefusalCode::Refused,
            "interface has duplicate hardware address: its hardware address is not unique in its IPMP group; give it another one, or take the other offline",
        ),
        engine::Refusal::LastFunctioning => (
            RefusalCode::Refused,
            "no other functioning interfaces are in its IPMP group: repair one first, or use --force",
        ),
        engine::Refusal::Ungrouped => (
            RefusalCode::Refused,
            "is in no IPMP group, so nothing could take over its addresses: use --force to detach it anyway",
        ),
        engine::Refusal::Absent => (RefusalCode::Refused, "is not there: nothing to detach"),
    };
    Refusal::new(code, format!("{interface}: {why}"))
}

fn info(kernel: &Kernel, ifindex: u32, rungs: &Rungs) -> EvidenceInfo {
    let refusals = [
        ("replies", &rungs.reply_refused),
        ("departures", &rungs.departure_refused),
        ("carrier", &rungs.carrier_refused),
    ];
    let note = |what: &str, refused: &Refused| format!("{what}: no {}: {}", refused.rung, refused.reason);
    EvidenceInfo {
        reply_evidence: match rungs.reply {
            ReplyRung::XdpNative => ReplyEvidence::XdpNative,
            ReplyRung::Tcx => ReplyEvidence::Tcx,
            ReplyRung::XdpGeneric => ReplyEvidence::XdpGeneric,
            ReplyRung::Socket => ReplyEvidence::Socket,
        },
        carrier_evidence: source(rungs.carrier),
        notes: refusals
            .iter()
            .flat_map(|(what, list)| list.iter().map(move |refused| note(what, refused)))
            .collect(),
        counters: kernel.counters(ifindex).map(counters),
        device: None,
        outbound: false,
    }
}

/// The rung's name among the sources of carrier events.
pub(super) const fn source(rung: CarrierRung) -> CarrierSource {
    match rung {
        CarrierRung::Fentry => CarrierSource::Fentry,
        CarrierRung::Kprobe => CarrierSource::Kprobe,
        CarrierRung::Poll => CarrierSource::Poll,
        CarrierRung::Netlink => CarrierSource::Netlink,
    }
}

const fn counters(counted: abi::Counters) -> Counters {
    let abi::Counters { seen, ours, foreign_id, malformed, duplicate, late, ring_full, sent } = counted;
    Counters { seen, ours, foreign_id, malformed, duplicate, late, ring_full, sent }
}
