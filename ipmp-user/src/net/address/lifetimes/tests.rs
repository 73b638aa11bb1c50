use super::*;

const SECOND: u64 = 1_000_000_000;

const fn lifetimes(preferred: u32, valid: u32) -> Lifetimes {
    Lifetimes { preferred, valid }
}

#[test]
fn time_passes_for_what_ends_and_for_nothing_else() {
    let later =
        |life: Lifetimes, seconds| life.later(Timestamp(5 * SECOND), Timestamp((5 + seconds) * SECOND));
    assert_eq!(later(lifetimes(200, 300), 150), lifetimes(50, 150));
    assert_eq!(later(lifetimes(200, 300), 1000), lifetimes(0, 0));
    assert_eq!(later(lifetimes(200, FOREVER), 1000), lifetimes(0, FOREVER));
    assert_eq!(later(lifetimes(FOREVER, FOREVER), u64::from(u32::MAX)), lifetimes(FOREVER, FOREVER));
    // A clock that was read earlier changes nothing.
    assert_eq!(lifetimes(1, 2).later(Timestamp(SECOND), Timestamp(0)), lifetimes(1, 2));
}

#[test]
fn accounts_of_one_life_agree_although_they_are_rounded() {
    assert!(lifetimes(200, 300).agrees(lifetimes(198, 302)));
    assert!(!lifetimes(200, 300).agrees(lifetimes(197, 300)));
    assert!(!lifetimes(0, FOREVER).agrees(lifetimes(FOREVER, FOREVER)));
}

#[test]
fn what_is_deprecated_for_ever_does_not_run_out() {
    assert!(!lifetimes(0, FOREVER).run_out() && !lifetimes(FOREVER, FOREVER).run_out());
    assert!(lifetimes(5, FOREVER).run_out() && lifetimes(0, 5).run_out());
}
