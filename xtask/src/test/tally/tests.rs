use super::*;

fn counts(passed: usize, failed: usize, skipped: usize) -> Counts {
    Counts { passed, failed, skipped }
}

#[test]
fn reads_the_closing_line_of_libtest() {
    let line =
        "test result: FAILED. 10 passed; 2 failed; 3 ignored; 0 measured; 7 filtered out; finished in 1.50s";
    assert_eq!(result_line(line), Some(counts(10, 2, 3)));
    assert_eq!(result_line("test result_line ... ok"), None);
}

#[test]
fn a_test_that_skipped_itself_did_not_pass() {
    assert_eq!(judge(&[counts(5, 0, 1)], 2, true), counts(3, 0, 3));
}

#[test]
fn a_crash_before_the_closing_line_is_a_failure() {
    assert_eq!(judge(&[], 0, false), counts(0, 1, 0));
    assert_eq!(judge(&[counts(3, 1, 0)], 0, false), counts(3, 1, 0));
}

#[test]
fn a_watched_command_is_counted_by_what_it_prints() -> Result<()> {
    let script = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out'";
    let seen = watch(Command::new("sh").args(["-c", script]))?;
    assert_eq!(seen, counts(2, 0, 1));
    Ok(())
}

#[test]
fn only_a_line_that_begins_so_is_a_skip() {
    assert!(is_skip("SKIPPED: some::test: needs root"));
    assert!(!is_skip("the line SKIPPED: is quoted here"));
}

#[test]
fn the_summary_closes_with_the_total_alone_on_a_line() {
    let mut tally = Tally::default();
    tally.add("unit  a", counts(1, 0, 0));
    tally.add("root  b", counts(2, 1, 4));
    assert_eq!(tally.to_string().lines().last(), Some("3 passed, 1 failed, 4 skipped"));
}

#[test]
fn the_outputs_of_several_binaries_are_told_apart() {
    let output = "noise\n==> ebpf\ntest a ... ok\ntest b ... SKIPPED: b: no fentry\nok\n\
                  test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
                  ==> netns\nSKIPPED: c: no root\ntest d ... thread panicked\n";
    assert_eq!(
        sections(output),
        [("ebpf".to_owned(), counts(1, 0, 1)), ("netns".to_owned(), counts(0, 1, 1))]
    );
}
