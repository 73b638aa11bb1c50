use super::*;

fn echo(sent_ns: u64, answered_ns: Option<u64>) -> Echo {
    Echo { sent_ns, answered_ns }
}

#[test]
fn gap_reaches_from_the_last_answer_before_to_the_first_after() {
    let echoes = [echo(10, Some(11)), echo(20, None), echo(30, None), echo(40, Some(42))];
    let seen = report(&echoes, 15, 45);
    assert_eq!((seen.sent, seen.lost), (3, 2));
    assert_eq!(seen.longest_gap, Duration::from_nanos(31));
}

#[test]
fn silence_at_the_end_is_a_gap_too() {
    let seen = report(&[echo(10, Some(11)), echo(20, None)], 0, 100);
    assert_eq!(seen.longest_gap, Duration::from_nanos(89));
}

#[test]
fn without_any_answer_the_whole_period_is_the_gap() {
    let seen = report(&[echo(10, None)], 5, 25);
    assert_eq!((seen.lost, seen.longest_gap), (1, Duration::from_nanos(20)));
}

#[test]
fn other_periods_do_not_count() {
    let echoes = [echo(1, None), echo(10, Some(11)), echo(20, Some(21)), echo(90, None)];
    let seen = report(&echoes, 10, 21);
    assert_eq!((seen.sent, seen.lost), (2, 0));
    assert_eq!(seen.longest_gap, Duration::from_nanos(10));
}
