//! What the kernel half (`ipmp-ebpf`) and the user half (`ipmp-user`) of IP multipathing share.
//!
//! * [`abi`]: the layout of the eBPF maps, and nothing else.
//! * [`stamp`]: the protocol by which writers and readers share a probe's stamp.
//! * [`wire`]: bounded, panic-free parsers and builders for the few packet formats we speak.
//! * `engine` (feature `engine`): the pure decision engine. It does no I/O and reads no clock.
#![no_std]

#[cfg(feature = "engine")]
extern crate alloc;
#[cfg(any(test, feature = "forecast"))]
extern crate std;

pub mod abi;
#[cfg(feature = "engine")]
pub mod engine;
pub mod stamp;
pub mod wire;
