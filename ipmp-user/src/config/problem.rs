//! What is wrong in a file, where, and what to do about it.

use std::fmt;

/// Problems printed at most: a file of another kind altogether shall not flood the terminal.
const MAX_PRINTED: usize = 50;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What was meant, or what to do.
    pub remedy: String,
}

/// A file with at least one problem, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The file's name as people gave it.
    pub file: String,
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    /// `invalid configuration: FILE:LINE:COLUMN: what; remedy`, one line a problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(MAX_PRINTED).enumerate() {
            if index > 0 {
                f.write_str("\nipmp: ")?;
            }
            write!(
                f,
                "invalid configuration: {}:{}:{}: {}; {}",
                self.file, problem.line, problem.column, problem.what, problem.remedy
            )?;
        }
        match self.problems.len().saturating_sub(MAX_PRINTED) {
            0 => Ok(()),
            more => write!(
                f,
                "\nipmp: invalid configuration: {}: {more} more problems; mend the first {MAX_PRINTED} and check again",
                self.file
            ),
        }
    }
}

/// Collects problems of one text.
pub(super) struct Problems<'t> {
    file: &'t str,
    text: &'t str,
    found: Vec<(usize, Problem)>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// Notes a problem at byte `offset` of the text.
    pub(super) fn add(&mut self, offset: usize, what: impl Into<String>, remedy: impl Into<String>) {
        let (line, column) = self.place(offset);
        let problem = Problem { line, column, what: what.into(), remedy: remedy.into() };
        self.found.push((offset, problem));
    }

    /// Line and column, both from 1, of byte `offset`; past the end counts as the end.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(..end).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_invalid(mut self) -> Invalid {
        self.found.sort_by_key(|(offset, _)| *offset);
        Invalid {
            file: self.file.to_owned(),
            problems: self.found.into_iter().map(|(_, problem)| problem).collect(),
        }
    }
}

/// The known word nearest to what was written, if any is near: `FAIL_BACK` → `failback`.
pub(super) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    /// Below this similarity a suggestion is a riddle ("targets" is 0.53 like "standby").
    const NEAR: f64 = 0.8;
    let written = written.to_ascii_lowercase().replace('_', "-");
    known
        .iter()
        .map(|word| (strsim::jaro_winkler(&written, word), *word))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, word)| word)
}
