use super::*;

#[test]
fn the_list_in_the_tree_has_the_kernels_the_project_promises() {
    let pins = all().unwrap();
    let aliases: Vec<&str> = pins.iter().map(|pin| pin.alias.as_str()).collect();
    for wanted in ["5.10", "6.1", "6.12", "6.12-rt", "newest"] {
        assert!(aliases.contains(&wanted), "{wanted} is missing in {aliases:?}");
    }
}

#[test]
fn comments_and_empty_lines_are_skipped() {
    let pins = parse("# a comment\n\n  6.1  6.1.0-56-amd64 6.1.0-55-amd64\n").unwrap();
    assert_eq!(pins.len(), 1);
    assert_eq!(pins[0].alias, "6.1");
    assert_eq!(pins[0].names[1].as_str(), "6.1.0-55-amd64");
}

#[test]
fn a_wrong_line_is_named() {
    for (list, line) in [("6.1", "line 1"), ("\n6.1 6.12.9+deb13-amd64", "line 2"), ("6.1 six", "line 1")] {
        let error = format!("{:#}", parse(list).unwrap_err());
        assert!(error.contains(line), "{error}");
    }
}
