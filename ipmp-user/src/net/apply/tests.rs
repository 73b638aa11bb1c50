use super::*;

/// An address that goes while the kernel is read may be in what was read, and its routes with it: that the kernel took them
/// shows the next time only.
#[test]
fn what_was_heard_late_explains_what_is_missing_the_next_time() {
    const ROBBED: u32 = 7;
    let directory = tempfile::tempdir().expect("a directory");
    let mut applier = Applier::open(directory.path()).expect("reading needs no privilege");
    let job = Job { group: GroupId(0), epoch: 1, wanted: Wanted::default(), neighbours: Neighbours::new() };
    applier.late.robbed.insert(ROBBED);
    applier.carry_out(&job);
    assert!(applier.base.news.robbed.contains(&ROBBED));
    applier.carry_out(&job);
    assert!(!applier.base.news.robbed.contains(&ROBBED), "once more, not for ever");
}
