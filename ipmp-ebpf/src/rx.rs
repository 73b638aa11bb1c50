//! Replies: XDP and tc ingress run this same code.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use ipmp_common::{
    abi::{EVENT_REPLY, NOTIFY_EVERY, RingEvent, SESSION_NOTIFY, SESSION_NOTIFY_EACH, Session, Stamp},
    stamp::{self, Step},
    wire::{self, Kind, Probe, Rejected},
};

use crate::{
    maps::{self, Count, Record},
    packet::Frame,
};

/// Counts a frame that arrived on an armed interface, and stamps it if it answers a probe of ours.
#[inline(always)]
pub(crate) fn inspect<F: Frame>(frame: &F) {
    let ifindex = frame.ifindex();
    let Some(count) = Count::of(ifindex) else {
        return;
    };
    count.add(|c| &mut c.seen);
    match wire::recognise(frame, Kind::Reply) {
        Ok(probe) => accept(&probe, ifindex, count),
        Err(Rejected::Other) => {}
        Err(Rejected::Malformed) => count.add(|c| &mut c.malformed),
        Err(Rejected::Foreign) => count.add(|c| &mut c.foreign_id),
    }
}

#[inline(always)]
fn accept(probe: &Probe, ifindex: u32, count: Count) {
    let armed = maps::session(probe.session)
        .filter(|session| probe.belongs_to(session, ifindex, Kind::Reply))
        .and_then(|session| Some((session, Record::of(probe.session, session.token)?)));
    match armed {
        Some((session, record)) => record_reply(probe, session, record, count),
        None => count.add(|c| &mut c.foreign_id),
    }
}

#[inline(always)]
fn record_reply(probe: &Probe, session: &Session, record: Record, count: Count) {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let slot = record.slot(probe.seq);
    let stamp = slot.read();
    match stamp::on_reply(&stamp, probe.seq) {
        Step::First => slot.answer(now),
        Step::Take => {
            slot.invalidate();
            slot.publish(Stamp { seq: probe.seq, sent_ns: 0, received_ns: now });
        }
        Step::Duplicate => return count.add(|c| &mut c.duplicate),
        Step::Overwritten => return count.add(|c| &mut c.late),
    }
    record.add_reply(now);
    count.add(|c| &mut c.ours);
    if stamp.seq == probe.seq && stamp.sent_ns != 0 && now - stamp.sent_ns > session.late_after_ns {
        count.add(|c| &mut c.late);
    }
    let sample = session.flags & SESSION_NOTIFY != 0 && probe.seq % NOTIFY_EVERY == 1;
    if sample || session.flags & SESSION_NOTIFY_EACH != 0 {
        let event = RingEvent { kind: EVENT_REPLY, subject: probe.session, at_ns: now, detail: probe.seq };
        if !maps::report(&event) {
            count.add(|c| &mut c.ring_full);
        }
    }
}
