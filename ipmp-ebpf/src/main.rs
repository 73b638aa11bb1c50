//! The kernel half of IP multipathing: entry points.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::Array,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use ipmp_common::abi::{Evidence, MAX_SESSIONS};

#[btf_map]
static ipmp_evidence: Array<Evidence, { MAX_SESSIONS as usize }, 1024> = Array::new();

#[xdp(frags)]
pub fn ipmp_xdp(_ctx: XdpContext) -> u32 {
    if let Some(p) = ipmp_evidence.get_ptr_mut(0) {
        unsafe { (*p).replies += 1 }
    }
    xdp_action::XDP_PASS
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
