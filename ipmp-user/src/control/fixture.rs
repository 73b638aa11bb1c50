//! A daemon without a loop, and its data, for the tests of the control socket and of the client.

use std::{
    collections::BTreeMap,
    io::Write as _,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use ipmp_common::engine::{
    event::CarrierSource,
    ids::{GroupId, MemberId, SessionId},
    reason::{Kind, Reason, Record},
    snapshot::{
        AddressSnapshot, Bounds, GroupSnapshot, GroupState, MemberSnapshot, ProbeState, ShownState, Snapshot,
        TargetSnapshot, TargetState,
    },
    time::{Nanos, Timestamp},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{
    ControlHandle, Request, RequestKind, Response,
    client::Client,
    protocol::{Refusal, RefusalCode},
    socket::SOCKET,
    spawn,
    status::{Counters, DeviceInfo, EvidenceInfo, ReplyEvidence, TargetOrigin, TestInfo},
};
use crate::journal::{Journal, Names};

/// Generous: a loaded two-core machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) fn snapshot() -> Snapshot {
    let member = |id: u32, name: &str, state, reason| MemberSnapshot {
        member: MemberId(id),
        name: name.to_owned(),
        ifindex: 4 + id,
        state,
        active: state == ShownState::Ok,
        standby: false,
        link_up: Some(state == ShownState::Ok),
        probe: ProbeState::Ok,
        reason,
        since: Timestamp(1_000_000_000),
        deferred: None,
        targets: vec![TargetSnapshot {
            session: Some(SessionId(id)),
            state: TargetState::Active,
            address: "192.168.10.1".parse().unwrap(),
            source: format!("192.168.10.11{id}").parse().unwrap(),
            rtt_kernel: Some(Nanos(41_000)),
            rtt_daemon: Some(Nanos(97_000)),
            sent: 900,
            acked: 899,
            lost: 1,
            unsent: 0,
        }],
    };
    let down = Reason::LinkDown { source: CarrierSource::Poll, downs: 1 };
    Snapshot {
        at: Timestamp(5_000_000_000),
        stalls: 2,
        skipped_slots: 30,
        groups: vec![GroupSnapshot {
            group: GroupId(0),
            name: "ipmp0".to_owned(),
            state: GroupState::Degraded,
            fdt: Nanos::from_millis(100),
            fdt_configured: Nanos::from_millis(100),
            bounds: Some(Bounds {
                detection: Nanos::from_millis(90),
                repair: Nanos::from_millis(160),
                repair_by_one: Nanos::from_millis(160),
            }),
            withdrawn: false,
            put_back: 3,
            members: vec![
                member(0, "eth0", ShownState::Failed, down),
                member(1, "eth1", ShownState::Ok, Reason::Failover { from: MemberId(0) }),
            ],
            addresses: vec![AddressSnapshot {
                address: "192.168.10.10/24".parse().unwrap(),
                home: MemberId(0),
                on: MemberId(1),
            }],
        }],
    }
}

pub(crate) fn evidence() -> BTreeMap<MemberId, EvidenceInfo> {
    let info = EvidenceInfo {
        reply_evidence: ReplyEvidence::XdpNative,
        carrier_evidence: CarrierSource::Poll,
        notes: vec!["fentry: refused by this kernel (EPERM)".to_owned()],
        counters: Some(Counters { seen: 5000, ours: 899, ..Counters::default() }),
        outbound: false,
        device: Some(DeviceInfo {
            section: None,
            left_alone: Vec::new(),
            up: true,
            mac: Some("00:03:ba:93:90:fc".to_owned()),
            mtu: 1500,
            test: vec![TestInfo {
                address: "192.168.10.110".parse().unwrap(),
                targets: TargetOrigin::Routes,
            }],
        }),
    };
    BTreeMap::from([(MemberId(0), info)])
}

/// A daemon whose loop answers from fixed data.
pub(crate) struct Fake {
    pub(crate) dir: TempDir,
    pub(crate) journal: Arc<Journal>,
    pub(crate) asked: Arc<AtomicU64>,
    handle: Option<ControlHandle>,
    answering: Option<thread::JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new();
        let mut handle = spawn(dir.path(), None, Arc::clone(&journal)).unwrap();
        let mut requests = std::mem::replace(&mut handle.requests, mpsc::channel(1).1);
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let answering = thread::spawn(move || {
            while let Some(request) = requests.blocking_recv() {
                count.fetch_add(1, Ordering::SeqCst);
                answer(request);
            }
        });
        Self { dir, journal, asked, handle: Some(handle), answering: Some(answering) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.dir.path()).unwrap()
    }

    pub(crate) fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join(SOCKET)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    pub(crate) fn raw_saying(&self, line: &[u8]) -> UnixStream {
        let mut stream = self.raw();
        stream.write_all(line).unwrap();
        stream
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.handle.take());
        self.answering.take().unwrap().join().unwrap();
    }
}

fn answer(request: Request) {
    let response = match request.kind {
        RequestKind::Status => Response::Status { snapshot: snapshot(), evidence: evidence() },
        RequestKind::Reload | RequestKind::Detach(_) | RequestKind::Attach(_) => {
            Response::Done("done".to_owned())
        }
        RequestKind::Offline { interface, force } => Response::Done(format!("{interface} {force}")),
        RequestKind::Online { interface } => {
            Response::Refused(Refusal::new(RefusalCode::NotSupported, format!("online: {interface}: wait")))
        }
    };
    // The client may have gone.
    let _ = request.reply.send(response);
}

pub(crate) fn link_down(t_ns: u64) -> Record {
    Record {
        at: Timestamp(t_ns),
        kind: Kind::LinkDown,
        group: Some(GroupId(0)),
        member: Some(MemberId(0)),
        address: None,
        reason: Reason::LinkDown { source: CarrierSource::Netlink, downs: 1 },
        evidence_at: Some(Timestamp(t_ns)),
        decided_at: None,
        applied_at: None,
        announced_at: None,
    }
}

pub(crate) fn publish(journal: &Journal, times: std::ops::Range<u64>) {
    let names = Names::in_snapshot(&snapshot());
    for t_ns in times {
        journal.publish(&link_down(t_ns), &names);
    }
}
