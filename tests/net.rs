//! Moving addresses and routes in a real kernel: each test in a network namespace of its own, which ends with it.
//! Needs root; says SKIPPED where it may not make namespaces.
#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

#[path = "net/foreseen.rs"]
mod foreseen;
#[path = "net/groups.rs"]
mod groups;
#[path = "net/harness.rs"]
mod harness;
#[path = "net/identity.rs"]
mod identity;
#[path = "net/lifetimes.rs"]
mod lifetimes;
#[path = "net/monitoring.rs"]
mod monitoring;
#[path = "net/moving.rs"]
mod moving;
#[path = "net/neighbours.rs"]
mod neighbours;
#[path = "net/nexthops.rs"]
mod nexthops;
#[path = "net/obstacles.rs"]
mod obstacles;
#[path = "net/order.rs"]
mod order;
#[path = "net/property.rs"]
mod property;
#[path = "net/rules.rs"]
mod rules;
#[path = "net/sources.rs"]
mod sources;
#[path = "net/witness.rs"]
mod witness;
