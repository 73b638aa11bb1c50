//! Each frame → right action, right map contents, right counters, by `BPF_PROG_TEST_RUN`: XDP and tc ingress
//! must agree on everything.

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use ipmp_common::abi::{
    Counters, EVENT_REPLY, RingEvent, SESSION_NOTIFY, SESSION_NOTIFY_EACH, STAMPS, Session, program,
};
use ipmp_user::kernel::Kernel;

use crate::{
    frames::{ICMP_ID, Pair, SESSION, TOKEN, V4, V6, reply, reply_with, request, session, tagged},
    world::{self, World, now_ns},
};

/// `BPF_PROG_TEST_RUN` presents its frames as received on the namespace's loopback interface.
const LO: u32 = 1;
const XDP_PASS: u32 = 2;
/// `TC_ACT_UNSPEC`, -1.
const TC_NEXT: u32 = u32::MAX;
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]);

struct Bench<'a> {
    world: &'a World,
    kernel: Kernel,
    /// The program that takes replies.
    ingress: &'static str,
}

impl<'a> Bench<'a> {
    /// With the XDP program that this kernel's interfaces get.
    fn new(world: &'a World) -> Self {
        let mut kernel = world.kernel();
        kernel.attach(LO, "lo");
        let frags = kernel.try_program(program::XDP).is_ok();
        Self { world, kernel, ingress: if frags { program::XDP } else { program::XDP_LINEAR } }
    }

    /// Arms the session anew; the programs' counters so far.
    fn arm(&mut self, session: Session) -> Counters {
        self.kernel.arm(SESSION, session).expect("armed");
        self.counters()
    }

    fn counters(&self) -> Counters {
        self.kernel.counters(LO).expect("lo is attached")
    }

    /// Hands `frame` to a program `repeat` times; its action and nanoseconds a frame.
    fn run(&self, name: &str, frame: &[u8], repeat: u32) -> (u32, u128) {
        // The descriptor alone decides what kind of program it is.
        let program = SchedClassifier::from_pin(self.world.pin(name)).expect("pinned");
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let result = program.test_run(options).expect("test run");
        (result.return_value, result.duration.as_nanos())
    }

    fn receive(&self, frame: &[u8]) {
        let pass = if self.ingress == program::INGRESS { TC_NEXT } else { XDP_PASS };
        assert_eq!(self.run(self.ingress, frame, 1).0, pass, "never dropped");
    }

    fn send(&self, pair: Pair, seq: u64) {
        let frame = request(pair, seq, MACS);
        assert_eq!(self.run(program::EGRESS, &frame, 1).0, TC_NEXT, "never dropped");
    }

    /// Sends probe `seq`, receives `frame`, and expects the counters to grow by `grown`.
    fn expect(&mut self, what: &str, session: Session, frame: &[u8], grown: Counters) {
        let before = self.arm(session);
        self.receive(frame);
        let sum = Counters {
            seen: before.seen + 1,
            ours: before.ours + grown.ours,
            foreign_id: before.foreign_id + grown.foreign_id,
            malformed: before.malformed + grown.malformed,
            duplicate: before.duplicate + grown.duplicate,
            late: before.late + grown.late,
            ..before
        };
        assert_eq!(self.counters(), sum, "{}: {what}", self.ingress);
        let stamped = self.kernel.stamp(SESSION, 3).is_some_and(|stamp| stamp.received_ns != 0);
        assert_eq!(stamped, grown.ours == 1, "{}: {what}: stamp", self.ingress);
        assert_eq!(self.kernel.evidence(SESSION).replies, grown.ours, "{}: {what}", self.ingress);
    }
}

const NOTHING: Counters =
    Counters { seen: 0, ours: 0, foreign_id: 0, malformed: 0, duplicate: 0, late: 0, ring_full: 0, sent: 0 };
const OURS: Counters = Counters { ours: 1, ..NOTHING };
const FOREIGN: Counters = Counters { foreign_id: 1, ..NOTHING };
const MALFORMED: Counters = Counters { malformed: 1, ..NOTHING };

/// At every hook that takes replies.
fn at_each_hook(test: fn(&mut Bench<'_>)) {
    world::run(move |world| {
        let mut bench = Bench::new(world);
        // The best of the kernel's XDP programs, and those that every kernel takes.
        let mut hooks = vec![bench.ingress, program::XDP_LINEAR, program::INGRESS];
        hooks.dedup();
        for ingress in hooks {
            bench.kernel.try_program(ingress).expect("every kernel takes it");
            bench.ingress = ingress;
            test(&mut bench);
        }
        bench.kernel.release();
    });
}

#[test]
fn every_kernel_takes_the_programs_that_all_fall_back_upon() {
    world::run(|world| {
        let mut kernel = world.kernel();
        for name in program::ALL {
            let outcome = kernel.try_program(name);
            eprintln!("{name}: {outcome:?}");
            let needed = [program::XDP_LINEAR, program::INGRESS, program::EGRESS].contains(&name);
            assert!(outcome.is_ok() || !needed, "{name}: {outcome:?}");
            assert_eq!(world.pin(name).exists(), outcome.is_ok(), "{name}: pinned if taken");
        }
        kernel.release();
    });
}

#[test]
fn our_replies_are_stamped_untagged_and_behind_one_and_two_tags() {
    at_each_hook(|bench| {
        for pair in [V4, V6] {
            for tags in 0..=2 {
                let frame = tagged(&reply(pair, 3), tags);
                bench.expect("ours", session(pair, LO), &frame, OURS);
            }
            let frame = tagged(&reply(pair, 3), 3);
            bench.expect("three tags", session(pair, LO), &frame, NOTHING);
        }
    });
}

#[test]
fn evidence_must_be_ours() {
    at_each_hook(|bench| {
        for pair in [V4, V6] {
            let right = session(pair, LO);
            let stranger = if pair == V4 { "192.0.2.77" } else { "fe80::77" };
            let stranger: std::net::IpAddr = stranger.parse().expect("an address");
            let frames = [
                ("session", reply_with(pair, 3, |p| p.session = 6)),
                ("session out of range", reply_with(pair, 3, |p| p.session = u32::MAX)),
                ("token", reply_with(pair, 3, |p| p.token = TOKEN + 1)),
                ("identifier", reply_with(pair, 3, |p| p.icmp_id = ICMP_ID + 1)),
                ("target", reply_with(pair, 3, |p| p.source = stranger)),
                ("destination", reply_with(pair, 3, |p| p.target = stranger)),
            ];
            for (what, frame) in frames {
                bench.expect(what, right, &frame, FOREIGN);
            }
            let good = reply(pair, 3);
            bench.expect("interface", session(pair, 2), &good, FOREIGN);
            bench.expect("not armed", Session { token: 0, ..right }, &good, FOREIGN);
            let unarmed = reply_with(pair, 3, |p| p.token = 0);
            bench.expect("token zero", Session { token: 0, ..right }, &unarmed, FOREIGN);
            bench.expect("a request", right, &request(pair, 3, MACS), NOTHING);
        }
        let mut magic = reply(V4, 3);
        magic[42] = b'X';
        bench.expect("magic", session(V4, LO), &magic, FOREIGN);
        bench.expect("other family", session(V6, LO), &reply(V4, 3), FOREIGN);
    });
}

#[test]
fn frames_cut_short_at_every_length_are_never_evidence() {
    at_each_hook(|bench| {
        for (pair, code_at) in [(V4, 35), (V6, 55)] {
            let frame = reply(pair, 3);
            // BPF_PROG_TEST_RUN wants an Ethernet header, and for tc a whole IP header behind it.
            let first = if bench.ingress == program::INGRESS { code_at - 1 } else { 15 };
            for len in first..frame.len() {
                let grown = if len <= code_at { NOTHING } else { MALFORMED };
                bench.expect(&format!("{len} bytes"), session(pair, LO), &frame[..len], grown);
            }
        }
    });
}

#[test]
fn malformed_frames_are_counted_and_fragments_ignored() {
    at_each_hook(|bench| {
        let frame = reply(V4, 3);
        let right = session(V4, LO);
        for (what, at, value, grown) in [
            ("code", 35, 1, MALFORMED),
            ("sequence numbers differ", 41, 9, MALFORMED),
            ("shorter than an echo header", 17, 27, MALFORMED),
            ("another payload's length", 17, 60, FOREIGN),
            ("more fragments", 20, 0x20, NOTHING),
            ("a later fragment", 21, 1, NOTHING),
            ("header length", 14, 0x44, NOTHING),
            ("version", 14, 0x65, NOTHING),
            ("protocol", 23, 17, NOTHING),
        ] {
            let mut changed = frame.clone();
            changed[at] = value;
            bench.expect(what, right, &changed, grown);
        }
    });
}

#[test]
fn the_first_reply_counts_and_duplicates_are_counted() {
    at_each_hook(|bench| {
        let before = bench.arm(session(V4, LO));
        bench.send(V4, 3);
        let start = now_ns();
        bench.receive(&reply(V4, 3));
        let first = bench.kernel.stamp(SESSION, 3).expect("stamped");
        assert!(first.sent_ns > 0 && first.sent_ns < start && first.received_ns >= start, "{first:?}");
        bench.receive(&reply(V4, 3));
        assert_eq!(bench.kernel.stamp(SESSION, 3), Some(first));
        let after = bench.counters();
        assert_eq!(after.ours - before.ours, 1);
        assert_eq!(after.duplicate - before.duplicate, 1);
        assert_eq!(after.sent - before.sent, 1);
        let totals = bench.kernel.evidence(SESSION);
        assert_eq!((totals.sent, totals.replies), (1, 1));
        assert_eq!(totals.last_received_ns, first.received_ns);
    });
}

#[test]
fn late_replies_are_stamped_and_counted_and_overwritten_ones_only_counted() {
    at_each_hook(|bench| {
        let before = bench.arm(Session { late_after_ns: 0, ..session(V4, LO) });
        bench.send(V4, 3);
        bench.receive(&reply(V4, 3));
        let late = bench.counters();
        assert_eq!((late.ours - before.ours, late.late - before.late), (1, 1));
        assert!(bench.kernel.stamp(SESSION, 3).is_some_and(|stamp| stamp.received_ns != 0));

        let newer = 3 + STAMPS as u64;
        bench.send(V4, newer);
        assert_eq!(bench.kernel.stamp(SESSION, 3), None, "its slot was taken");
        bench.receive(&reply(V4, 3));
        let overwritten = bench.counters();
        assert_eq!((overwritten.ours, overwritten.late), (late.ours, late.late + 1));
        let stamp = bench.kernel.stamp(SESSION, newer).expect("sent");
        assert_eq!(stamp.received_ns, 0, "never the time of another probe");
    });
}

#[test]
fn arming_again_forgets_the_evidence_of_the_session_before() {
    at_each_hook(|bench| {
        bench.arm(session(V6, LO));
        bench.send(V6, 3);
        bench.receive(&reply(V6, 3));
        bench.kernel.disarm(SESSION).expect("disarmed");
        assert!(bench.kernel.stamp(SESSION, 3).is_some(), "history stays readable");
        let before = bench.counters();
        bench.receive(&reply(V6, 4));
        assert_eq!(bench.counters().foreign_id, before.foreign_id + 1);
        bench.arm(Session { token: 77, ..session(V6, LO) });
        assert_eq!(bench.kernel.stamp(SESSION, 3), None);
        assert_eq!(bench.kernel.evidence(SESSION).replies, 0);
    });
}

#[test]
fn foreign_requests_are_not_stamped_at_egress() {
    world::run(|world| {
        let mut bench = Bench::new(world);
        let before = bench.arm(session(V4, LO));
        bench.send(V6, 3);
        bench.run(program::EGRESS, &reply(V4, 3), 1);
        assert_eq!(bench.counters(), before);
        assert_eq!(bench.kernel.stamp(SESSION, 3), None);
        bench.arm(session(V4, 2));
        bench.send(V4, 3);
        assert_eq!(bench.kernel.stamp(SESSION, 3), None, "another interface's session");
    });
}

#[test]
fn one_reply_in_sixteen_wakes_the_daemon_of_a_session_with_notify() {
    at_each_hook(|bench| {
        while bench.kernel.next_event().is_some() {}
        bench.arm(Session { flags: SESSION_NOTIFY, ..session(V4, LO) });
        for seq in 1..=32 {
            bench.receive(&reply(V4, seq));
        }
        for seq in [1, 17] {
            let at_ns = bench.kernel.stamp(SESSION, seq).expect("stamped").received_ns;
            let expected = RingEvent { kind: EVENT_REPLY, subject: SESSION.0, at_ns, detail: seq };
            assert_eq!(bench.kernel.next_event(), Some(expected));
        }
        assert_eq!(bench.kernel.next_event(), None);
    });
}

#[test]
fn every_reply_wakes_the_daemon_of_a_session_that_somebody_watches() {
    at_each_hook(|bench| {
        while bench.kernel.next_event().is_some() {}
        let flags = SESSION_NOTIFY | SESSION_NOTIFY_EACH;
        bench.arm(Session { flags, ..session(V4, LO) });
        for seq in 1..=20 {
            bench.receive(&reply(V4, seq));
        }
        let told: Vec<u64> =
            std::iter::from_fn(|| bench.kernel.next_event()).map(|event| event.detail).collect();
        assert_eq!(told, (1..=20).collect::<Vec<_>>());
    });
}

#[test]
fn events_that_the_ring_has_no_room_for_are_counted() {
    world::run(|world| {
        let mut bench = Bench::new(world);
        let before = bench.arm(Session { flags: SESSION_NOTIFY, ..session(V4, LO) });
        // A record takes 32 bytes of the ring with its header.
        let room = u64::from(ipmp_common::abi::EVENT_RING_BYTES) / 32;
        for number in 0..room + 2 {
            bench.receive(&reply(V4, 1 + 16 * number));
        }
        let after = bench.counters();
        assert!(after.ring_full > before.ring_full, "{after:?}");
        assert_eq!(after.ours - before.ours, room + 2, "the map holds the facts all the same");
    });
}

#[test]
fn cost_of_a_frame_is_reported() {
    const REPEAT: u32 = 100_000;
    world::run(|world| {
        let mut bench = Bench::new(world);
        bench.arm(session(V4, LO));
        let mut tcp = reply(V4, 3);
        tcp[23] = 6;
        for (what, name, frame) in [
            ("XDP, TCP frame", bench.ingress, tcp.clone()),
            ("XDP, foreign echo reply", bench.ingress, reply_with(V4, 3, |p| p.token = 1)),
            ("XDP, our reply (duplicate)", bench.ingress, reply(V4, 3)),
            ("tc ingress, our reply (duplicate)", program::INGRESS, reply(V4, 3)),
            ("tc egress, TCP frame", program::EGRESS, tcp),
            ("tc egress, our probe", program::EGRESS, request(V4, 3, MACS)),
        ] {
            let (_, cost_ns) = bench.run(name, &frame, REPEAT);
            eprintln!("{what}: {cost_ns} ns");
            // The bound tells a loop or a map walk from straight-line code, on the slowest emulated machine.
            assert!(cost_ns < 20_000, "{what}: {cost_ns} ns");
        }
        assert_eq!(bench.counters().duplicate, u64::from(2 * REPEAT - 1));
    });
}
