//! `ACCEPTANCE.md` and `docs/requirements.md` name a test for each promise; here stands that every one of them exists.

#![expect(clippy::expect_used, reason = "a failed expectation fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const PACKAGES: [&str; 4] = ["ipmp-common", "ipmp-user", "tests", "xtask"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What follows `fn ` up to the bracket, if a line declares a function.
fn function(line: &str) -> Option<&str> {
    line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()
}

/// Functions that are marked as tests, and the names that a macro of tests is called with (`name: A, B;`).
fn tests_in(text: &str, found: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(name) = function(line) {
            if std::mem::take(&mut marked) {
                found.insert(name.to_owned());
            }
        } else if let Some((name, _)) = line.split_once(": ").filter(|_| line.ends_with(';'))
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            found.insert(name.to_owned());
        }
    }
}

/// The first and second cell of each row.
fn rows(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---") && !line.contains("| Tests |"))
        .filter_map(|line| {
            let mut cells = line.split('|').skip(1).map(str::trim);
            Some((cells.next()?, cells.next()?))
        })
        .collect()
}

/// Words in back quotes that can be names of functions.
fn names(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.contains('_') && !word.contains(['/', '.', ' '])).collect()
}

/// All tests of all packages.
fn known_tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    for package in PACKAGES {
        for part in ["src", "netns", "net", "ebpf", "cable"] {
            let dir = root().join(package).join(part);
            if dir.is_dir() {
                sources(&dir, &mut files);
            }
        }
    }
    for entry in fs::read_dir(root().join("tests")).expect("this package").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            files.push(entry.path());
        }
    }
    let mut known = BTreeSet::new();
    for file in files {
        tests_in(&fs::read_to_string(&file).expect("a source file"), &mut known);
    }
    assert!(known.len() > 200, "tests are not found: {}", known.len());
    known
}

#[test]
fn every_promise_names_tests_that_exist() {
    let known = known_tests();
    let text = fs::read_to_string(root().join("tests/ACCEPTANCE.md")).expect("the table");
    let rows = rows(&text);
    assert!(rows.len() > 100, "rows are not found: {}", rows.len());
    let bare: Vec<&str> =
        rows.iter().filter(|(_, tests)| names(tests).is_empty()).map(|(check, _)| *check).collect();
    assert!(bare.is_empty(), "no test is named for {bare:#?}");
    let gone: Vec<&str> = names(&text).into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(gone.is_empty(), "no such tests: {gone:#?}");
}

/// The number of a requirement at the start of a cell, the verdict, the tests and the remark.
fn requirement(line: &str) -> Option<(&str, &str, &str, &str)> {
    let mut cells = line.strip_prefix("| ")?.split('|').map(str::trim);
    let number = cells.next()?.split(' ').next()?;
    let is_number = number.starts_with(['A', 'B']) && number.get(1..)?.parse::<u8>().is_ok();
    is_number.then_some((number, cells.next()?, cells.next()?, cells.next()?))
}

#[test]
fn every_requirement_on_administration_has_tests_that_exist_or_a_reason() {
    let known = known_tests();
    let text = fs::read_to_string(root().join("docs/requirements.md")).expect("the table");
    let gone: Vec<&str> = names(&text).into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(gone.is_empty(), "no such tests: {gone:#?}");
    let rows: Vec<_> = text.lines().filter_map(requirement).collect();
    let wanted: Vec<String> = (24..=63)
        .map(|number| format!("A{number}"))
        .chain((1..=29).map(|number| format!("B{number}")))
        .collect();
    let told: Vec<&str> = rows.iter().map(|(number, ..)| *number).collect();
    assert_eq!(told, wanted);
    for (number, verdict, tests, remark) in rows {
        assert!(["M", "S", "O", "X"].contains(&verdict), "{number}: {verdict}");
        let told = !names(tests).is_empty() || !remark.is_empty();
        assert!(told || matches!(verdict, "O" | "X"), "{number} has neither a test nor a reason");
    }
}
