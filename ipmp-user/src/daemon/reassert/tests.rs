use super::*;

const GROUP: GroupId = GroupId(0);

fn at(millis: u64) -> Timestamp {
    Timestamp::default() + Nanos::from_millis(millis)
}

/// Lets every attempt be refused; when they were made.
fn refused_attempts(reassert: &mut Reassert, count: usize) -> Vec<u64> {
    let mut now = at(0);
    let mut attempts = Vec::new();
    for _ in 0..count {
        reassert.carried_out(now, GROUP, false);
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
    reassert.carried_out(at(40_000), GROUP, true);
    assert_eq!(reassert.due(), None);
    reassert.carried_out(at(50_000), GROUP, false);
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
    reassert.carried_out(at(130_000), GROUP, false);
    reassert.changed(at(131_000));
    assert_eq!(reassert.due(), Some(at(131_200)));
}

#[test]
fn what_one_group_is_refused_is_not_hurried_by_the_success_of_another() {
    let mut reassert = Reassert::default();
    refused_attempts(&mut reassert, 5);
    reassert.carried_out(at(31_000), GROUP, false);
    reassert.carried_out(at(31_000), GroupId(1), true);
    assert_eq!(reassert.due(), Some(at(63_000)));
    assert!(reassert.is_due(at(63_000)));
    reassert.carried_out(at(63_000), GROUP, false);
    assert_eq!(reassert.due(), Some(at(123_000)), "the longest pause");
}

#[test]
fn only_what_had_stood_is_somebody_elses_change() {
    let mut reassert = Reassert::default();
    assert!(!reassert.compared(GROUP, 1, 4, true), "carried out for the first time");
    assert!(!reassert.compared(GROUP, 1, 0, true), "nothing was changed");
    assert!(reassert.compared(GROUP, 1, 2, true));
    assert!(!reassert.compared(GROUP, 2, 6, true), "another placement");
    assert!(reassert.compared(GROUP, 2, 1, true));
}

#[test]
fn what_is_refused_again_and_again_is_nobody_elses_change() {
    let mut reassert = Reassert::default();
    for _ in 0..3 {
        assert!(!reassert.compared(GROUP, 1, 1, false), "it never stood");
    }
    assert!(!reassert.compared(GROUP, 1, 1, true), "what was refused is accepted");
    assert!(reassert.compared(GROUP, 1, 2, false), "somebody changed it, and it cannot be put back");
    assert!(!reassert.compared(GROUP, 1, 1, false), "the same still");
    assert!(!reassert.compared(GROUP, 1, 1, true));
    assert!(
        !reassert.compared(GROUP, 1, 0, false),
        "what failed changed nothing, the state file for instance"
    );
    assert!(reassert.compared(GROUP, 1, 1, true));
}

#[test]
fn what_another_configuration_changes_is_nobody_elses_change() {
    let mut reassert = Reassert::default();
    assert!(!reassert.compared(GROUP, 1, 4, true));
    reassert.ordered_anew();
    assert!(!reassert.compared(GROUP, 1, 2, true));
    assert!(reassert.compared(GROUP, 1, 2, true));
}
