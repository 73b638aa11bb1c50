//! Tier 4: the eBPF programs and the kernel room. Needs root; works in private namespaces only.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod carrier;
mod flaps;
mod frames;
mod links;
mod pins;
mod programs;
mod rtnl;
mod veth;
mod world;
