//! Carrier changes, at the moment the driver reports them: linkwatch tells user space up to a second later
//! (`net/core/link_watch.c`). fentry and kprobe programs run this same code.

use core::ptr;

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel};
use ipmp_common::abi::{
    CARRIER_BY_TRACING, Carrier, CarrierKey, EVENT_CARRIER_DOWN, EVENT_CARRIER_UP, RingEvent,
};

use crate::maps::{
    self, Count, NET_COOKIE, NET_DEVICE_IFINDEX, NET_DEVICE_NET, NET_DEVICE_STATE, NET_INODE, UNKNOWN,
};

/// `__LINK_STATE_NOCARRIER` of `enum netdev_state_t` (`include/linux/netdevice.h`), as a mask.
const NO_CARRIER: u64 = 1 << 2;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Up,
    Down,
}

/// Records that `device` (a `struct net_device`) is about to change, unless it is in that state already:
/// drivers call `netif_carrier_off` freely.
#[inline(always)]
pub(crate) fn observe(device: *const u8, transition: Transition) {
    let Some(state) = read::<u64>(device, NET_DEVICE_STATE.load()) else {
        return;
    };
    let is_down = state & NO_CARRIER != 0;
    if is_down == (transition == Transition::Down) {
        return;
    }
    let Some(ifindex) = read::<u32>(device, NET_DEVICE_IFINDEX.load()) else {
        return;
    };
    let Some(netns_cookie) = namespace(device) else {
        return;
    };
    let key = CarrierKey { netns_cookie, ifindex, reserved: 0 };
    if let Some(history) = maps::carrier(&key) {
        record(history, &key, transition);
    }
}

#[inline(always)]
fn record(history: *mut Carrier, key: &CarrierKey, transition: Transition) {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: a live, aligned map value.
    unsafe {
        match transition {
            Transition::Up => {
                maps::increment(&raw mut (*history).ups);
                ptr::write_volatile(&raw mut (*history).last_up_ns, now);
                ptr::write_volatile(&raw mut (*history).up, 1);
            }
            Transition::Down => {
                maps::increment(&raw mut (*history).downs);
                ptr::write_volatile(&raw mut (*history).last_down_ns, now);
                ptr::write_volatile(&raw mut (*history).up, 0);
            }
        }
        ptr::write_volatile(&raw mut (*history).source, CARRIER_BY_TRACING);
    }
    let event = RingEvent {
        kind: match transition {
            Transition::Up => EVENT_CARRIER_UP,
            Transition::Down => EVENT_CARRIER_DOWN,
        },
        subject: key.ifindex,
        at_ns: now,
        detail: key.netns_cookie,
    };
    if !maps::report(&event)
        && let Some(count) = Count::of(key.ifindex)
    {
        count.add(|c| &mut c.ring_full);
    }
}

/// The device's namespace as [`CarrierKey::netns_cookie`] has it: its cookie where user space told where that is, else
/// its inode number, an `unsigned int` (`include/linux/ns_common.h`).
#[inline(always)]
fn namespace(device: *const u8) -> Option<u64> {
    let net = read::<usize>(device, NET_DEVICE_NET.load())? as *const u8;
    read::<u64>(net, NET_COOKIE.load()).or_else(|| read::<u32>(net, NET_INODE.load()).map(u64::from))
}

#[inline(always)]
fn read<T>(base: *const u8, offset: u32) -> Option<T> {
    if offset == UNKNOWN {
        return None;
    }
    // SAFETY: the helper checks the address itself and fails where nothing can be read.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast()) }.ok()
}
