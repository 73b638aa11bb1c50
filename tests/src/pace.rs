//! How much slower than real hardware the machine is on which the tests run.
//!
//! Under software emulation everything takes 8 to 23 times as long, and other work delays it further. What a test waits
//! for and the failure detection times it configures are stretched by `IPMP_TEST_SLOWNESS`, which `cargo xtask vm` sets;
//! what it asserts stays as it is.

use std::{env, sync::OnceLock, time::Duration};

/// More than this is a mistake in the variable, not a machine.
const MAX: u32 = 100;

/// By how much times are stretched; 1 if the variable is not set or makes no sense.
pub fn slowness() -> u32 {
    static SLOWNESS: OnceLock<u32> = OnceLock::new();
    *SLOWNESS.get_or_init(|| parse(env::var("IPMP_TEST_SLOWNESS").ok().as_deref()))
}

/// A time for this machine.
pub fn stretched(time: Duration) -> Duration {
    time * slowness()
}

fn parse(value: Option<&str>) -> u32 {
    value.and_then(|text| text.trim().parse().ok()).filter(|factor| (1..=MAX).contains(factor)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_a_sensible_factor_stretches_time() {
        assert_eq!(parse(Some(" 4\n")), 4);
        for value in [None, Some(""), Some("0"), Some("-1"), Some("fast"), Some("1000")] {
            assert_eq!(parse(value), 1, "{value:?}");
        }
    }
}
