//! The simulated network: ports with loss in each direction, targets, frames under way, kernel stamps.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::net::IpAddr;

use crate::engine::{
    event::NotSent,
    ids::{MemberId, SessionId},
    rng::Rng,
    time::{Nanos, Timestamp},
};

/// A path that is good and bad in turn, each for an exponentially distributed time; while it is bad everything
/// is lost. (Gilbert's model; Elliott's has a chance to pass in the bad state.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bursts {
    mean_good: Nanos,
    mean_bad: Nanos,
    bad: bool,
    until: Timestamp,
}

impl Bursts {
    /// Loses the share `loss` of all time, in bursts of `burst` on average. `loss` must lie in (0, 1).
    pub fn new(loss: f64, burst: Nanos) -> Self {
        let good = burst.0 as f64 * (1.0 - loss) / loss;
        Self { mean_good: Nanos(good as u64), mean_bad: burst, bad: true, until: Timestamp(0) }
    }

    fn passes(&mut self, now: Timestamp, rng: &mut Rng) -> bool {
        if self.until == Timestamp(0) {
            // Long bursts must not all begin with the simulation: the state at its start is drawn, too.
            self.bad = rng.below(Nanos(self.mean_good.0 + self.mean_bad.0)) < self.mean_bad;
            self.until = now + self.sojourn(rng);
        }
        while self.until <= now {
            self.bad = !self.bad;
            self.until = self.until + self.sojourn(rng);
        }
        !self.bad
    }

    fn sojourn(self, rng: &mut Rng) -> Nanos {
        let mean = if self.bad { self.mean_bad } else { self.mean_good };
        let uniform = (rng.below(Nanos(1 << 53)).0 + 1) as f64 / (1u64 << 53) as f64;
        Nanos((-uniform.ln() * mean.0 as f64) as u64).max(Nanos(1))
    }
}

/// What one direction of a port does to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Everything passes.
    None,
    /// Nothing passes.
    Cut,
    /// Drops so many frames, then none.
    Drop(u32),
    /// Passes so many frames, then none.
    Pass(u32),
    /// Drops all but each so-manieth frame.
    Most {
        /// One of so many passes.
        answered: u32,
        /// Counts frames; starts at zero.
        seen: u32,
    },
    /// Gilbert–Elliott: in the bad state everything is lost. Chances in per mille per frame.
    Burst {
        /// Chance of good to become bad.
        begins: u64,
        /// Chance of bad to become good.
        ends: u64,
        /// The state.
        bad: bool,
    },
    /// Gilbert–Elliott in time: the path is bad for a while, whoever sends.
    Bursts(Bursts),
}

impl Loss {
    fn passes(&mut self, now: Timestamp, rng: &mut Rng) -> bool {
        match self {
            Self::None => true,
            Self::Cut => false,
            Self::Drop(left) => {
                let passes = *left == 0;
                *left = left.saturating_sub(1);
                passes
            }
            Self::Pass(left) => {
                let passes = *left > 0;
                *left = left.saturating_sub(1);
                passes
            }
            Self::Most { answered, seen } => {
                *seen += 1;
                (*seen).is_multiple_of(*answered)
            }
            Self::Burst { begins, ends, bad } => {
                let chance = if *bad { *ends } else { *begins };
                if rng.below(Nanos(1000)).0 < chance {
                    *bad = !*bad;
                }
                !*bad
            }
            Self::Bursts(bursts) => bursts.passes(now, rng),
        }
    }
}

/// The path from one member to the switch.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// Whether the link is up.
    pub carrier: bool,
    /// From the host.
    pub out: Loss,
    /// To the host.
    pub back: Loss,
    /// Family-wise filter: frames of this family do not pass.
    pub no_v4: bool,
    /// The same for IPv6.
    pub no_v6: bool,
    /// What the send call reports instead of sending.
    pub refuses: Option<NotSent>,
    /// The same, for IPv6 alone.
    pub refuses_v6: Option<NotSent>,
}

impl Port {
    pub(super) const fn new() -> Self {
        Self {
            carrier: true,
            out: Loss::None,
            back: Loss::None,
            no_v4: false,
            no_v6: false,
            refuses: None,
            refuses_v6: None,
        }
    }
}

/// Stamps kept for a session, as the kernel's ring of them does.
const STAMPS: u64 = 64;

/// Kernel stamps of one probe.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    received: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
enum Leg {
    ToTarget,
    Back,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    member: MemberId,
    session: SessionId,
    seq: u64,
    target: IpAddr,
    rtt: Nanos,
    leg: Leg,
}

/// Everything outside the daemon.
#[derive(Debug)]
pub struct Wire {
    /// By member.
    pub ports: Vec<Port>,
    /// Targets that answer no more than once in so long, whoever asks.
    pub limited_targets: BTreeMap<IpAddr, Nanos>,
    last_answer: BTreeMap<IpAddr, Timestamp>,
    /// Targets that answer nobody.
    pub dead_targets: BTreeSet<IpAddr>,
    /// Round trip of every frame sent from now on.
    pub rtt: Nanos,
    /// Round trips of single targets.
    pub rtt_of: BTreeMap<IpAddr, Nanos>,
    /// Round trips through single ports.
    pub slow_ports: BTreeMap<MemberId, Nanos>,
    frames: BTreeMap<(Timestamp, u64), Frame>,
    serial: u64,
    stamps: BTreeMap<(SessionId, u64), Stamp>,
    rng: Rng,
}

impl Wire {
    pub(super) fn new(members: usize, rtt: Nanos, seed: u64) -> Self {
        Self {
            ports: (0..members).map(|_| Port::new()).collect(),
            dead_targets: BTreeSet::new(),
            limited_targets: BTreeMap::new(),
            last_answer: BTreeMap::new(),
            rtt,
            rtt_of: BTreeMap::new(),
            slow_ports: BTreeMap::new(),
            frames: BTreeMap::new(),
            serial: 0,
            stamps: BTreeMap::new(),
            rng: Rng::new(seed, 1 << 32),
        }
    }

    /// A probe is handed to the interface; `Err` if it does not leave the host.
    pub(super) fn send(
        &mut self,
        now: Timestamp,
        member: MemberId,
        session: SessionId,
        seq: u64,
        target: IpAddr,
    ) -> Result<(), NotSent> {
        let port = &mut self.ports[member.0 as usize];
        if let Some(cause) = port.refuses.or(port.refuses_v6.filter(|_| target.is_ipv6())) {
            return Err(cause);
        }
        self.stamps.insert((session, seq), Stamp { received: None });
        self.stamps.remove(&(session, seq.wrapping_sub(STAMPS)));
        let filtered = if target.is_ipv4() { port.no_v4 } else { port.no_v6 };
        if port.carrier && !filtered && port.out.passes(now, &mut self.rng) {
            let rtt = self.slow_ports.get(&member).or(self.rtt_of.get(&target)).copied().unwrap_or(self.rtt);
            let frame = Frame { member, session, seq, target, rtt, leg: Leg::ToTarget };
            self.put(now + rtt.divided(2), frame);
        }
        Ok(())
    }

    fn put(&mut self, at: Timestamp, frame: Frame) {
        self.serial += 1;
        self.frames.insert((at, self.serial), frame);
    }

    /// Lets frames travel until `now`.
    pub(super) fn run(&mut self, now: Timestamp) {
        while let Some(entry) = self.frames.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), frame) = entry.remove_entry();
            match frame.leg {
                Leg::ToTarget if self.dead_targets.contains(&frame.target) => {}
                Leg::ToTarget if !self.may_answer(at, frame.target) => {}
                Leg::ToTarget => {
                    let rest = Nanos(frame.rtt.0 - frame.rtt.divided(2).0);
                    self.put(at + rest, Frame { leg: Leg::Back, ..frame });
                }
                Leg::Back => self.arrive(at, frame),
            }
        }
    }

    fn may_answer(&mut self, at: Timestamp, target: IpAddr) -> bool {
        let Some(limit) = self.limited_targets.get(&target) else { return true };
        if self.last_answer.get(&target).is_some_and(|last| at.since(*last) < *limit) {
            return false;
        }
        self.last_answer.insert(target, at);
        true
    }

    fn arrive(&mut self, at: Timestamp, frame: Frame) {
        let port = &mut self.ports[frame.member.0 as usize];
        if port.carrier
            && port.back.passes(at, &mut self.rng)
            && let Some(stamp) = self.stamps.get_mut(&(frame.session, frame.seq))
        {
            stamp.received = Some(at);
        }
    }

    /// The kernel's evidence on one probe.
    pub(super) fn received(&self, session: SessionId, seq: u64) -> Option<Timestamp> {
        self.stamps.get(&(session, seq)).and_then(|stamp| stamp.received)
    }

    /// A session was armed anew or disarmed: its token changes, old stamps and late replies are history.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.stamps.retain(|(of, _), _| *of != session);
        self.frames.retain(|_, frame| frame.session != session);
    }
}
