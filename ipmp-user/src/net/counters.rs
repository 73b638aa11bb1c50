//! What an interface has counted, read by a thread of its own: the question takes the RTNL lock.

use ipmp_common::engine::errors::Errors;
use rtnetlink::packet_route::link::LinkAttribute;

use super::{NetError, socket::Socket};
use crate::beside::Answerer;

/// Answers with the interface; one that has gone has no answer.
pub(crate) type Counters = Answerer<u32, (u32, Errors)>;

/// Starts the thread in the caller's network namespace.
pub(crate) fn start() -> Result<Counters, NetError> {
    let mut socket = Socket::open()?;
    let counted = move |ifindex| match read(&mut socket, ifindex) {
        Ok(errors) => Some((ifindex, errors)),
        Err(error) => {
            tracing::debug!(ifindex, %error, "its counters cannot be read");
            None
        }
    };
    Answerer::start("ipmp-count", counted)
        .map_err(|e| NetError::io("starting the thread that reads counters", e))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
fn read(socket: &mut Socket, ifindex: u32) -> Result<Errors, NetError> {
    let link = socket.link(ifindex)?;
    let mut errors = Errors::default();
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Stats64(stats) => {
                errors = Errors {
                    rx_errors: stats.rx_errors,
                    rx_crc_errors: stats.rx_crc_errors,
                    rx_frame_errors: stats.rx_frame_errors,
                    rx_missed_errors: stats.rx_missed_errors,
                    rx_dropped: stats.rx_dropped,
                    tx_errors: stats.tx_errors,
                    tx_carrier_errors: stats.tx_carrier_errors,
                    tx_dropped: stats.tx_dropped,
                    collisions: stats.collisions,
                    carrier_losses: errors.carrier_losses,
                };
            }
            LinkAttribute::CarrierDownCount(count) => errors.carrier_losses = u64::from(*count),
            _ => {}
        }
    }
    Ok(errors)
}
