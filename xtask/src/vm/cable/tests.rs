use super::*;

const OUTPUT: &str = r#"==> cable
test a_pulled_cable ... cable: {"driver":"igb","flapped":4,"reply":"xdp-native","carrier":"fentry","notes":["replies: no xdp-native: a"],"samples":[{"pulled_to_evidence":3000000,"evidence_to_announced":2000000,"gap":9000000},{"pulled_to_evidence":1000000,"evidence_to_announced":4000000,"gap":5000000},{"pulled_to_evidence":2000000,"evidence_to_announced":3000000,"gap":7000000}]}
ok
"#;

#[test]
fn median_and_worst_of_a_report_become_a_row() {
    let row = parse("6.12", OUTPUT).unwrap();
    assert_eq!(
        (row.told, row.announced, row.gap),
        ((2_000_000, 3_000_000), (3_000_000, 4_000_000), (7_000_000, 9_000_000))
    );
    let table = render(&[row]);
    assert!(
        table.ends_with("| 6.12 | igb | xdp-native | fentry | 4 | 2.0 / 3.0 | 3.0 / 4.0 | 7.0 / 9.0 | 3 | replies: no xdp-native: a |\n"),
        "{table}"
    );
}

#[test]
fn no_report_is_an_error_and_so_is_one_without_samples() {
    assert!(parse("6.12", "test a ... ok\n").is_err());
    assert!(
        parse(
            "6.12",
            r#"cable: {"driver":"igb","flapped":0,"reply":"r","carrier":"c","notes":[],"samples":[]}"#
        )
        .is_err()
    );
}
