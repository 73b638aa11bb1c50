//! Sending probes. Replies never come here: the XDP program sees them.
//!
//! Probes leave as complete frames through one `AF_PACKET` socket. That keeps routing, policy rules, firewall
//! and the neighbour table's state out of the judgement: on a member whose route is gone, or whose neighbour
//! entry has just failed, the probe still leaves and a missing reply still means the path.

mod sender;

pub use sender::{SendResult, Sender};
