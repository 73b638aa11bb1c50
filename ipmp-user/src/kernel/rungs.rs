//! Which evidence is in use on an interface, and why nothing better.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the arrival of replies is stamped, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyRung {
    /// XDP in the driver: before anything else can delay or drop the frame.
    XdpNative,
    /// tc ingress by a tcx link.
    Tcx,
    /// XDP in the stack.
    XdpGeneric,
    /// The kernel's receive time on a packet socket.
    Socket,
}

/// Where the departure of probes is stamped, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DepartureRung {
    /// tc egress by a tcx link.
    Tcx,
    /// tc egress by a clsact filter (kernels before 6.6).
    Clsact,
    /// When the send call returned: the daemon says so with `Kernel::note_sent`.
    UserSpace,
}

/// How carrier changes are learned, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarrierRung {
    /// fentry on `netif_carrier_on` and `_off`.
    Fentry,
    /// kprobe on the same.
    Kprobe,
    /// The kernel's count of carrier changes, polled; where that cannot be read, `ETHTOOL_GLINK`.
    Poll,
    /// `RTM_NEWLINK` only.
    Netlink,
}

macro_rules! display_as {
    ($type:ty { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }
    };
}

display_as!(ReplyRung { XdpNative => "xdp-native", Tcx => "tcx", XdpGeneric => "xdp-generic", Socket => "socket" });
display_as!(DepartureRung { Tcx => "tcx", Clsact => "clsact", UserSpace => "user-space" });
display_as!(CarrierRung { Fentry => "fentry", Kprobe => "kprobe", Poll => "poll", Netlink => "netlink" });

/// A better rung that is not in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its name, as in `ipmp status`.
    pub rung: String,
    /// What the kernel said, for people.
    pub reason: String,
}

impl Refused {
    pub(super) fn new(rung: &impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { rung: rung.to_string(), reason: reason.into() }
    }
}

/// The evidence in use on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rungs {
    /// For replies.
    pub reply: ReplyRung,
    /// Better ones for replies, best first.
    pub reply_refused: Vec<Refused>,
    /// For departures.
    pub departure: DepartureRung,
    /// Better ones for departures, best first.
    pub departure_refused: Vec<Refused>,
    /// For the carrier.
    pub carrier: CarrierRung,
    /// Better ones for the carrier, best first.
    pub carrier_refused: Vec<Refused>,
}
