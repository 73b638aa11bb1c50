use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn median_and_worst_of_unsorted_values() -> Result<()> {
    assert_eq!(median_and_worst(&[5 * MS, MS, 9 * MS])?, (5 * MS, 9 * MS));
    assert_eq!(median_and_worst(&[2 * MS])?, (2 * MS, 2 * MS));
    assert!(median_and_worst::<Duration>(&[]).is_err());
    Ok(())
}

#[test]
fn the_table_shows_shares_of_the_detection_time() -> Result<()> {
    let seen =
        |sent| Seen { gap: vec![2 * MS; 3], lost: vec![3, 1, 21], sent, watched: Duration::from_secs(1) };
    let figures = || Figures {
        decided: vec![70 * MS, 80 * MS, 75 * MS],
        evident: vec![MS, 4 * MS, 2 * MS],
        announced: vec![MS; 3],
        act_announced: vec![MS; 3],
        away: seen(9000),
        back: seen(9000),
    };
    let text = table(&figures(), &figures())?;
    let title = "| 3 cuts each, failure detection time 100 ms, 9000 packets a second to each address |";
    assert!(text.contains(title), "{text}");
    assert!(text.contains("| carrier loss: packets of the neighbour lost | 3 | 21 |"), "{text}");
    assert!(text.contains("| carrier loss: port down → its evidence | 2.00 ms | 4.00 ms |"), "{text}");
    assert!(text.contains("| path cut → decided | 0.75 × FDT | 0.80 × FDT |"), "{text}");
    Ok(())
}
