use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::default() + Nanos::from_millis(millis)
}

/// Lets every attempt be refused; when they were made.
fn refused_attempts(reassert: &mut Reassert, count: usize) -> Vec<u64> {
    let mut now = at(0);
    let mut attempts = Vec::new();
    for _ in 0..count {
        reassert.carried_out(now, false);
        now = reassert.due().expect("it is tried again");
        assert!(reassert.is_due(now));
        attempts.push(now.0 / 1_000_000);
    }
    attempts
}

#[test]
fn what_is_refused_is_tried_again_less_and_less_often() {
    let mut reassert = Reassert::default();
    let attempts = refused_attempts(&mut reassert, 9);
    assert_eq!(attempts, [1_000, 3_000, 7_000, 15_000, 31_000, 63_000, 123_000, 183_000, 243_000]);
}

#[test]
fn after_a_success_nothing_is_tried_and_the_pause_is_short_again() {
    let mut reassert = Reassert::default();
    refused_attempts(&mut reassert, 5);
    reassert.carried_out(at(40_000), true);
    assert_eq!(reassert.due(), None);
    reassert.carried_out(at(50_000), false);
    assert_eq!(reassert.due(), Some(at(51_000)));
}

#[test]
fn changes_are_answered_soon_but_not_in_a_loop() {
    let mut reassert = Reassert::default();
    reassert.changed(at(5_000));
    reassert.changed(at(5_100));
    assert_eq!(reassert.due(), Some(at(5_200)));
    assert!(!reassert.is_due(at(5_199)));
    assert!(reassert.is_due(at(5_200)));
    reassert.changed(at(5_201));
    assert_eq!(reassert.due(), Some(at(6_200)), "a second after the last one");
}

#[test]
fn change_does_not_wait_for_a_long_pause() {
    let mut reassert = Reassert::default();
    refused_attempts(&mut reassert, 7);
    reassert.carried_out(at(130_000), false);
    reassert.changed(at(131_000));
    assert_eq!(reassert.due(), Some(at(131_200)));
}

#[test]
fn only_what_had_stood_is_somebody_elses_change() {
    let mut reassert = Reassert::default();
    let group = GroupId(0);
    assert_eq!(reassert.compared(group, 1, 4), None, "carried out for the first time");
    assert_eq!(reassert.compared(group, 1, 0), None, "nothing was changed");
    assert_eq!(reassert.compared(group, 1, 2), Some(1));
    assert_eq!(reassert.compared(group, 2, 6), None, "another placement");
    assert_eq!(reassert.compared(group, 2, 1), Some(2));
}

#[test]
fn what_another_configuration_changes_is_nobody_elses_change() {
    let mut reassert = Reassert::default();
    let group = GroupId(0);
    assert_eq!(reassert.compared(group, 1, 4), None);
    reassert.ordered_anew();
    assert_eq!(reassert.compared(group, 1, 2), None);
    assert_eq!(reassert.compared(group, 1, 2), Some(1));
}
