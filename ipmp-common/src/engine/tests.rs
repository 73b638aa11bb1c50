//! The engine proved without root, clock or network: a simulated host and network (`sim`), the
//! transition table, properties, and one test for each rule and requirement that needs no I/O.

mod absence;
mod activity;
mod adaptive;
mod capacity;
mod consistency;
mod damping;
mod detection;
mod foresee;
mod groups;
mod interfaces;
mod late;
mod links;
mod live_keys;
mod outbound;
mod placement;
mod properties;
mod reconfigure;
mod repair;
mod rtt;
mod schedule;
mod suspicion;
mod table;
mod targets;
mod totality;

use super::sim as harness;
