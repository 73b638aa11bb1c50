//! The engine's only source of chance, seeded by the configuration so that a run can be replayed.

use super::time::Nanos;

/// `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014): small, and any seed is a good seed. It spreads probes in
/// time and guards no secret; tokens are drawn by the daemon from the kernel.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// A stream of its own for each `(seed, stream)`.
    pub(super) const fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xa076_1d64_78bd_642f))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, bound)`; zero if `bound` is zero.
    pub(super) const fn below(&mut self, bound: Nanos) -> Nanos {
        Nanos(((self.next() as u128 * bound.0 as u128) >> 64) as u64)
    }
}
