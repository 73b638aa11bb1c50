use super::*;

const fn counts(ups: u32, downs: u32) -> Counts {
    Counts { ups, downs }
}

#[test]
fn what_became_of_the_carrier_is_told_by_the_count_that_grew_more() {
    let earlier = counts(7, 7);
    assert_eq!(counts(7, 7).news_since(earlier), None);
    assert_eq!(counts(7, 8).news_since(earlier), Some(false));
    assert_eq!(counts(9, 10).news_since(earlier), Some(false), "and came and went before");
    assert_eq!(counts(8, 8).news_since(earlier), None, "it is back");
    assert_eq!(counts(8, 8).news_since(counts(7, 8)), Some(true));
    // A driver that tells of a change within the state it is in (netif_carrier_event).
    assert_eq!(counts(8, 9).news_since(counts(7, 8)), None);
}

#[test]
fn counts_wrap() {
    assert_eq!(counts(u32::MAX, 0).news_since(counts(u32::MAX, u32::MAX)), Some(false));
    assert_eq!(counts(0, 0).news_since(counts(u32::MAX, 0)), Some(true));
    assert_eq!(counts(u32::MAX, 0).changes(), u32::MAX);
    assert_eq!(counts(u32::MAX, 1).changes(), 0);
}

#[test]
fn an_attribute_is_a_signed_number() {
    let number = |text: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("carrier_changes");
        std::fs::write(&path, text).expect("written");
        read(&File::open(path).expect("opened")).ok()
    };
    assert_eq!(number("12\n"), Some(12));
    assert_eq!(number("-1\n"), Some(u32::MAX));
    assert_eq!(number("\n"), None);
    assert_eq!(number("4294967296\n"), None);
}
