//! Our probes as they leave.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use ipmp_common::{
    abi::Stamp,
    stamp::{self, Step},
    wire::{self, Kind},
};

use crate::{
    maps::{self, Count, Record},
    packet::Frame,
};

/// Stamps the frame if it is a probe of ours.
#[inline(always)]
pub(crate) fn inspect<F: Frame>(frame: &F) {
    let Ok(probe) = wire::recognise(frame, Kind::Request) else {
        return;
    };
    let ifindex = frame.ifindex();
    let armed = maps::session(probe.session)
        .filter(|session| probe.belongs_to(session, ifindex, Kind::Request))
        .and_then(|session| Record::of(probe.session, session.token));
    let Some(record) = armed else {
        return;
    };
    let slot = record.slot(probe.seq);
    match stamp::on_departure(&slot.read(), probe.seq) {
        Step::First | Step::Take => {
            slot.invalidate();
            record.add_sent();
            // SAFETY: the helper has no preconditions.
            let now = unsafe { bpf_ktime_get_ns() };
            slot.publish(Stamp {
                seq: probe.seq,
                sent_ns: now,
                received_ns: 0,
            });
            if let Some(count) = Count::of(ifindex) {
                count.add(|c| &mut c.sent);
            }
        }
        Step::Duplicate | Step::Overwritten => {}
    }
}
