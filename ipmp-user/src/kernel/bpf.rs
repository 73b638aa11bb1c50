//! eBPF at work: the loaded object with its evidence mapped, and what is written into its maps.

use aya::{maps::PerCpuValues, util::nr_cpus};
use ipmp_common::abi::{
    CARRIER_BY_POLL, Carrier, CarrierKey, Counters, Evidence, MAX_SESSIONS, STAMPS, Session, Stamp, map,
};

use super::{
    KernelError,
    carrier::CarrierChange,
    evidence::Mapped,
    load::{Loaded, Plain},
    namespace::Namespace,
    pins::Pins,
    refusal::explain,
};

/// `linux/bpf.h`: only if the key is not there.
const BPF_NOEXIST: u64 = 1;

pub(super) struct Bpf {
    pub(super) loaded: Loaded,
    pub(super) evidence: Mapped,
}

impl Bpf {
    /// Loads the object with these pins. If the kernel accepts it only without them, they are given up, and the second value
    /// says why.
    pub(super) fn open(pins: &mut Pins, namespace: Namespace) -> Result<(Self, Option<String>), String> {
        let refused = match Self::load(pins, namespace) {
            Ok(bpf) => return Ok((bpf, None)),
            Err(reason) => reason,
        };
        let Some(dir) = pins.dir() else { return Err(refused) };
        let why = format!("{}: {refused}", dir.display());
        let unpinned = Self::load(&Pins::none(), namespace).map_err(|_| refused)?;
        *pins = Pins::none();
        Ok((unpinned, Some(why)))
    }

    /// What an earlier run left armed in adopted maps is disarmed.
    fn load(pins: &Pins, namespace: Namespace) -> Result<Self, String> {
        let mut loaded = Loaded::new(pins, namespace)?;
        let evidence = Mapped::new(loaded.evidence_fd()).map_err(|error| explain(&error))?;
        for number in 0..MAX_SESSIONS {
            if loaded.sessions.get(&number, 0).is_ok_and(|Plain(session)| session.token != 0) {
                loaded
                    .sessions
                    .set(number, Plain(Session::default()), 0)
                    .map_err(|error| error.to_string())?;
            }
        }
        while loaded.events.next().is_some() {}
        Ok(Self { loaded, evidence })
    }

    /// Clears the evidence of a slot, then arms it.
    pub(super) fn arm(&mut self, number: u32, session: Session) -> Result<(), KernelError> {
        let blank = Evidence {
            token: session.token,
            replies: 0,
            sent: 0,
            last_received_ns: 0,
            stamps: [Stamp::default(); STAMPS],
        };
        self.loaded
            .evidence
            .set(number, Plain(blank), 0)
            .map_err(|source| KernelError::map(map::EVIDENCE, source))?;
        self.set_session(number, session)
    }

    pub(super) fn set_session(&mut self, number: u32, session: Session) -> Result<(), KernelError> {
        self.loaded
            .sessions
            .set(number, Plain(session), 0)
            .map_err(|source| KernelError::map(map::SESSION, source))
    }

    /// Counters of an interface that is attached for the first time; those of an earlier run go on.
    pub(super) fn arm_counters(&mut self, ifindex: u32) {
        let cpus = nr_cpus().map_or(1, |cpus| cpus);
        let armed = PerCpuValues::try_from(vec![Plain(Counters::default()); cpus])
            .map_err(Into::into)
            .and_then(|zero| self.loaded.counters.insert(ifindex, zero, BPF_NOEXIST));
        if let Err(error) = armed
            && self.counters(ifindex).is_none()
        {
            tracing::warn!(ifindex, %error, "counter map: not armed, replies are not seen");
        }
    }

    pub(super) fn counters(&self, ifindex: u32) -> Option<Counters> {
        let per_cpu = self.loaded.counters.get(&ifindex, 0).ok()?;
        Some(per_cpu.iter().fold(Counters::default(), |sum, Plain(cpu)| add(sum, cpu)))
    }

    pub(super) fn arm_carrier(&mut self, key: CarrierKey, history: Carrier) {
        if let Err(error) = self.loaded.carriers.insert(Plain(key), Plain(history), 0) {
            tracing::warn!(ifindex = key.ifindex, %error, "carrier map: not armed");
        }
    }

    pub(super) fn carrier(&self, key: CarrierKey) -> Option<Carrier> {
        let Plain(history) = self.loaded.carriers.get(&Plain(key), 0).ok()?;
        Some(history)
    }

    /// Enters what polling saw.
    pub(super) fn record_poll(&mut self, key: CarrierKey, change: &CarrierChange) {
        let mut history = self.carrier(key).unwrap_or_default();
        history.up = u32::from(change.up);
        history.source = CARRIER_BY_POLL;
        if change.up {
            history.ups += 1;
            history.last_up_ns = change.at_ns;
        } else {
            history.downs += 1;
            history.last_down_ns = change.at_ns;
        }
        self.arm_carrier(key, history);
    }

    /// Disarms what belongs to an interface.
    pub(super) fn forget(&mut self, key: CarrierKey) {
        let gone = [self.loaded.counters.remove(&key.ifindex), self.loaded.carriers.remove(&Plain(key))];
        for error in gone.into_iter().filter_map(Result::err) {
            tracing::debug!(ifindex = key.ifindex, %error, "was not armed");
        }
    }
}

fn add(sum: Counters, cpu: &Counters) -> Counters {
    Counters {
        seen: sum.seen + cpu.seen,
        ours: sum.ours + cpu.ours,
        foreign_id: sum.foreign_id + cpu.foreign_id,
        malformed: sum.malformed + cpu.malformed,
        duplicate: sum.duplicate + cpu.duplicate,
        late: sum.late + cpu.late,
        ring_full: sum.ring_full + cpu.ring_full,
        sent: sum.sent + cpu.sent,
    }
}
