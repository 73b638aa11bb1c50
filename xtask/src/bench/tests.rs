use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn median_and_worst_of_unsorted_values() -> Result<()> {
    assert_eq!(median_and_worst(&[5 * MS, MS, 9 * MS])?, (5 * MS, 9 * MS));
    assert_eq!(median_and_worst(&[2 * MS])?, (2 * MS, 2 * MS));
    assert!(median_and_worst(&[]).is_err());
    Ok(())
}

#[test]
fn the_table_shows_shares_of_the_detection_time() -> Result<()> {
    let figures = || Figures {
        decided: vec![70 * MS, 80 * MS, 75 * MS],
        announced: vec![MS; 3],
        act_announced: vec![MS; 3],
        gap: vec![2 * MS; 3],
        gap_back: vec![MS; 3],
    };
    let text = table(&figures(), &figures())?;
    assert!(
        text.contains("| 3 cuts each, failure detection time 100 ms |"),
        "{text}"
    );
    assert!(
        text.contains("| path cut → decided | 0.75 × FDT | 0.80 × FDT |"),
        "{text}"
    );
    Ok(())
}
