//! Errors that an interface has counted: told after a failure and after a repair, since the verdict before.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::{
    core_loop::Engine,
    ids::MemberId,
    reason::{Kind, Reason},
    time::{Nanos, Timestamp},
};

/// Counters of the kernel (`struct rtnl_link_stats64`, `include/uapi/linux/if_link.h`; what each counts,
/// Documentation/networking/statistics.rst), or what was added to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// Bad frames received, of any kind.
    pub rx_errors: u64,
    /// Of these, with a wrong checksum (FCS).
    pub rx_crc_errors: u64,
    /// Of these, with a broken last byte.
    pub rx_frame_errors: u64,
    /// Frames lost because nobody fetched them from the NIC in time.
    pub rx_missed_errors: u64,
    /// Frames received and thrown away by the host.
    pub rx_dropped: u64,
    /// Frames that could not be sent, for any reason.
    pub tx_errors: u64,
    /// Of these, because the carrier went.
    pub tx_carrier_errors: u64,
    /// Frames that the host did not send.
    pub tx_dropped: u64,
    /// Collisions: half duplex only.
    pub collisions: u64,
    /// How often the carrier was lost (`IFLA_CARRIER_DOWN_COUNT`).
    pub carrier_losses: u64,
}

impl Errors {
    /// What was added since an earlier reading. A counter that is less than it was has begun anew.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            rx_errors: added(self.rx_errors, earlier.rx_errors),
            rx_crc_errors: added(self.rx_crc_errors, earlier.rx_crc_errors),
            rx_frame_errors: added(self.rx_frame_errors, earlier.rx_frame_errors),
            rx_missed_errors: added(self.rx_missed_errors, earlier.rx_missed_errors),
            rx_dropped: added(self.rx_dropped, earlier.rx_dropped),
            tx_errors: added(self.tx_errors, earlier.tx_errors),
            tx_carrier_errors: added(self.tx_carrier_errors, earlier.tx_carrier_errors),
            tx_dropped: added(self.tx_dropped, earlier.tx_dropped),
            collisions: added(self.collisions, earlier.collisions),
            carrier_losses: added(self.carrier_losses, earlier.carrier_losses),
        }
    }

    /// Whether there is nothing to tell.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

const fn added(now: u64, earlier: u64) -> u64 {
    match now.checked_sub(earlier) {
        Some(added) => added,
        None => now,
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = [
            (self.rx_errors, "rx errors"),
            (self.rx_crc_errors, "of them CRC"),
            (self.rx_frame_errors, "of them alignment"),
            (self.rx_missed_errors, "rx missed"),
            (self.rx_dropped, "rx dropped"),
            (self.tx_errors, "tx errors"),
            (self.tx_carrier_errors, "of them carrier"),
            (self.tx_dropped, "tx dropped"),
            (self.collisions, "collisions"),
            (self.carrier_losses, "carrier losses"),
        ];
        for (number, (count, what)) in told.iter().filter(|(count, _)| *count > 0).enumerate() {
            write!(f, "{}{count} {what}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Engine {
    /// An interface has counted errors.
    pub(super) fn counted(&mut self, now: Timestamp, id: MemberId, within: Nanos, errors: Errors) {
        let Some(group) = self.member(id).map(|member| member.group).filter(|_| !errors.is_none()) else {
            return;
        };
        self.publish(now, Kind::Errors, Some(group), Some(id), Reason::Counted { within, errors });
    }
}
