//! Round-trip time estimate of one target.

use super::time::Nanos;

/// Van Jacobson's estimator (RFC 6298, section 2) in nanoseconds: mean scaled by 8, deviation by 4, as in
/// in.mpathd, but without its millisecond rounding, so that a LAN's round trip is a known value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RttEstimate {
    mean_x8: u64,
    deviation_x4: u64,
}

impl RttEstimate {
    /// Before the first sample.
    pub(super) const fn unknown() -> Self {
        Self { mean_x8: 0, deviation_x4: 0 }
    }

    /// Takes one sample.
    pub(super) fn sample(&mut self, rtt: Nanos) {
        let rtt = rtt.0.max(1);
        if self.mean_x8 == 0 {
            self.mean_x8 = rtt.saturating_mul(8);
            self.deviation_x4 = rtt.saturating_mul(2);
            return;
        }
        let mean = self.mean_x8 / 8;
        let error = rtt.abs_diff(mean);
        self.mean_x8 = (self.mean_x8 - mean).saturating_add(rtt);
        self.deviation_x4 = (self.deviation_x4 - self.deviation_x4 / 4).saturating_add(error);
    }

    /// Mean plus four deviations: a reply later than this is unusual. `None` before the first sample.
    pub(super) fn bound(self) -> Option<Nanos> {
        (self.mean_x8 != 0).then(|| Nanos((self.mean_x8 / 8).saturating_add(self.deviation_x4)))
    }
}
