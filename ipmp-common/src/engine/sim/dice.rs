//! Chance for stories, from the same generator as the engine's.

use crate::engine::{rng::Rng, time::Nanos};

/// Draws what happens in a story, from its seed.
#[derive(Clone, Debug)]
pub struct Dice(Rng);

impl Dice {
    /// A stream of its own, apart from the engine's and the network's.
    pub const fn new(seed: u64) -> Self {
        Self(Rng::new(seed, 1 << 34))
    }

    /// Uniform in `[0, bound)`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.0.below(Nanos(bound)).0
    }
}
