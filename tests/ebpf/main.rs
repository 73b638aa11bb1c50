//! Tier 4: the eBPF programs and the kernel room. Needs root; works in private namespaces only.

mod carrier;
mod frames;
mod programs;
mod veth;
mod world;
