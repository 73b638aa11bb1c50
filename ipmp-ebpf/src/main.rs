//! The kernel half of IP multipathing: entry points only. Every frame passes: these programs observe.
//!
//! They act on nothing but what user space armed in the maps, keep no state of their own, and print nothing:
//! what a log line would say is in the counters, and a logger's maps would carry no BTF.
#![no_std]
#![no_main]

mod carrier;
mod maps;
mod packet;
mod rx;
mod tx;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, fentry, kprobe, xdp},
    programs::{FEntryContext, ProbeContext, TcContext, XdpContext},
};

use crate::carrier::Transition;

/// XDP for every frame size: a jumbo frame's fragments are not looked at, our replies have none.
#[xdp(frags)]
fn ipmp_xdp(ctx: XdpContext) -> u32 {
    rx::inspect(&packet::Xdp::new(&ctx));
    xdp_action::XDP_PASS
}

/// The same for kernels before 5.18, which refuse to load a multi-buffer program.
#[xdp]
fn ipmp_xdp_linear(ctx: XdpContext) -> u32 {
    rx::inspect(&packet::Xdp::new(&ctx));
    xdp_action::XDP_PASS
}

/// tc ingress, by tcx. "Unspecified" lets the next program or filter decide.
#[classifier]
fn ipmp_ingress(ctx: TcContext) -> i32 {
    rx::inspect(&packet::Skb::new(&ctx));
    TC_ACT_UNSPEC
}

/// tc egress, by tcx or clsact.
#[classifier]
fn ipmp_egress(ctx: TcContext) -> i32 {
    tx::inspect(&packet::Skb::new(&ctx));
    TC_ACT_UNSPEC
}

/// The device is about to gain carrier.
#[fentry(function = "netif_carrier_on")]
fn ipmp_fentry_on(ctx: FEntryContext) -> i32 {
    carrier::observe(ctx.arg(0), Transition::Up);
    0
}

/// The device is about to lose carrier.
#[fentry(function = "netif_carrier_off")]
fn ipmp_fentry_off(ctx: FEntryContext) -> i32 {
    carrier::observe(ctx.arg(0), Transition::Down);
    0
}

/// The device is about to gain carrier.
#[kprobe(function = "netif_carrier_on")]
fn ipmp_kprobe_on(ctx: ProbeContext) -> u32 {
    if let Some(device) = ctx.arg(0) {
        carrier::observe(device, Transition::Up);
    }
    0
}

/// The device is about to lose carrier.
#[kprobe(function = "netif_carrier_off")]
fn ipmp_kprobe_off(ctx: ProbeContext) -> u32 {
    if let Some(device) = ctx.arg(0) {
        carrier::observe(device, Transition::Down);
    }
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// Kernel helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
