//! Round-trip time estimate of one target.

use super::time::Nanos;

/// Samples until the deviation, guessed from the first sample, is measured: what is left of the guess then is
/// less than two hundredths of the round trip.
const TRAINING: u32 = 16;

/// Van Jacobson's estimator (RFC 6298, section 2) in nanoseconds: mean scaled by 8, deviation by 4, as in
/// in.mpathd, but without its millisecond rounding, so that a LAN's round trip is a known value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RttEstimate {
    mean_x8: u64,
    deviation_x4: u64,
    samples: u32,
    /// A suspicious sample that waits for the next one to confirm it.
    aside: Option<Nanos>,
    /// Two samples in a row were suspicious.
    excessive: bool,
}

impl RttEstimate {
    /// Before the first sample.
    pub(super) const fn unknown() -> Self {
        Self { mean_x8: 0, deviation_x4: 0, samples: 0, aside: None, excessive: false }
    }

    /// Takes one sample. One that would push the bound beyond `limit` is put aside: if the next would too, both
    /// count, otherwise it was an accident and is dropped (in.mpathd's deferred samples). As long as the
    /// deviation is a guess, only a sample that is itself beyond the limit is suspicious.
    pub(super) fn sample(&mut self, rtt: Nanos, limit: Nanos) {
        let mut with = *self;
        with.take(rtt);
        let measured = with.samples >= TRAINING;
        let suspicious = rtt > limit || (measured && with.bound() > Some(limit));
        if !suspicious {
            *self = Self { aside: None, excessive: false, ..with };
        } else if let Some(first) = self.aside.take() {
            self.take(first);
            self.take(rtt);
            self.excessive = true;
        } else {
            self.aside = Some(rtt);
        }
    }

    /// Whether replies have been too late for the limit, not only once.
    pub(super) const fn excessive(&self) -> bool {
        self.excessive
    }

    fn take(&mut self, rtt: Nanos) {
        let rtt = rtt.0.max(1);
        self.samples = self.samples.saturating_add(1);
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
