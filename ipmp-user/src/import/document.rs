//! A draft and its text.

use std::collections::BTreeMap;

use super::{ImportError, Note, Place, Proposal};
use crate::config::{self, Problem};

/// A configuration in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// First lines, for whoever reads the file.
    pub(super) heading: Vec<String>,
    /// What concerns everything.
    pub(super) notes: Vec<Note>,
    /// Keys at the top.
    pub(super) settings: Vec<Setting>,
    pub(super) groups: Vec<Group>,
}

/// `key = value`.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    /// As TOML.
    pub(super) value: String,
    pub(super) place: Place,
    pub(super) remark: String,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) settings: Vec<Setting>,
    pub(super) notes: Vec<Note>,
    pub(super) interfaces: Vec<Interface>,
}

#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) notes: Vec<Note>,
    /// `None` = those found on it.
    pub(super) data: Option<Vec<Address>>,
    pub(super) test: Vec<Address>,
    pub(super) standby: Option<Place>,
}

/// An entry of `data` or `test`.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) text: String,
    pub(super) place: Place,
    pub(super) remark: String,
}

impl Draft {
    /// Gives interfaces their names on this system.
    pub(super) fn rename(&mut self, names: &BTreeMap<String, String>) {
        let known: Vec<String> = self
            .groups
            .iter()
            .flat_map(|group| &group.interfaces)
            .map(|interface| interface.name.clone())
            .collect();
        for (old, new) in names.iter().filter(|(old, _)| !known.contains(old)) {
            let text = format!(
                "--rename {old}={new}: the proposal has no interface {old}; take one of {}",
                known.join(", ")
            );
            self.notes.push(Note { place: None, text });
        }
        for interface in self.groups.iter_mut().flat_map(|group| &mut group.interfaces) {
            if let Some(new) = names.get(&interface.name) {
                let text = format!("{} of the old system", interface.name);
                interface.notes.insert(0, Note { place: None, text });
                interface.name.clone_from(new);
            }
        }
    }

    /// The group of that name, made if it is new.
    pub(super) fn group(&mut self, name: &str, place: &Place) -> &mut Group {
        let index = self.groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            self.groups.push(Group {
                name: name.to_owned(),
                place: place.clone(),
                settings: Vec::new(),
                notes: Vec::new(),
                interfaces: Vec::new(),
            });
            self.groups.len() - 1
        });
        &mut self.groups[index]
    }

    /// What wants attention, in the order of the text. What only explains (no place) does not.
    fn notes(&self) -> Vec<Note> {
        let groups = self.groups.iter().flat_map(|group| {
            group.notes.iter().chain(group.interfaces.iter().flat_map(|interface| &interface.notes))
        });
        self.notes.iter().chain(groups.filter(|note| note.place.is_some())).cloned().collect()
    }
}

/// One line of the text.
#[derive(Debug, Default)]
struct Line {
    code: String,
    comment: String,
    place: Option<Place>,
    /// The text remains TOML without it.
    optional: bool,
}

impl Line {
    fn code(code: impl Into<String>) -> Self {
        Self { code: code.into(), ..Self::default() }
    }

    fn comment(comment: impl Into<String>) -> Self {
        Self { comment: comment.into(), ..Self::default() }
    }

    fn from(mut self, place: &Place, remark: &str) -> Self {
        self.comment = if remark.is_empty() { place.to_string() } else { format!("{place}: {remark}") };
        self.place = Some(place.clone());
        self
    }

    const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Turns it into a comment.
    fn refuse(&mut self, problem: &Problem) -> Note {
        let entry = std::mem::take(&mut self.code);
        let entry = entry.trim().trim_end_matches(',');
        let text = format!("not carried over: {entry}: {}; {}", problem.what, problem.remedy);
        self.comment = match &self.place {
            Some(place) => format!("{place}: {text}"),
            None => text.clone(),
        };
        Note { place: self.place.clone(), text }
    }

    fn text(&self) -> String {
        // A control character would end the comment, or steer a terminal.
        let comment = self.comment.replace(char::is_control, "?");
        match (self.code.is_empty(), comment.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!("# {comment}"),
            (false, true) => self.code.clone(),
            (false, false) => format!("{}  # {comment}", self.code),
        }
    }
}

/// The draft as text that the configuration's checker accepts: what it refuses becomes a comment.
pub(super) fn write(draft: &Draft) -> Result<Proposal, ImportError> {
    let mut lines = lines(draft);
    let mut notes = draft.notes();
    loop {
        let toml: String = lines.iter().map(|line| line.text() + "\n").collect();
        let Err(invalid) = config::parse("the proposal", toml.as_bytes()) else {
            return Ok(Proposal { toml, notes });
        };
        // Every round takes at least one line away, so this ends.
        let mut refused = Vec::new();
        for problem in &invalid.problems {
            let index = problem.line.saturating_sub(1);
            match lines.get_mut(index) {
                Some(line) if line.optional && !line.code.is_empty() => {
                    notes.push(line.refuse(problem));
                    refused.push(index);
                }
                Some(_) if refused.contains(&index) => {}
                Some(Line { place: Some(place), .. }) => {
                    return Err(ImportError::Unusable(format!(
                        "{place}: {}; {}",
                        problem.what, problem.remedy
                    )));
                }
                Some(_) | None => return Err(ImportError::Unusable(invalid.to_string())),
            }
        }
    }
}

fn lines(draft: &Draft) -> Vec<Line> {
    let mut lines: Vec<Line> = draft.heading.iter().map(Line::comment).collect();
    lines.extend(draft.notes.iter().map(|note| Line::comment(note.to_string())));
    if !draft.settings.is_empty() {
        lines.push(Line::default());
        lines.extend(draft.settings.iter().map(setting));
    }
    for group in &draft.groups {
        let heading = format!("group.{}", key(&group.name));
        lines.push(Line::default());
        lines.push(Line::code(format!("[{heading}]")).from(&group.place, ""));
        lines.extend(group.notes.iter().map(|note| Line::comment(note.to_string())));
        lines.extend(group.settings.iter().map(setting));
        for interface in &group.interfaces {
            lines.push(Line::default());
            let heading = format!("[{heading}.interface.{}]", key(&interface.name));
            lines.push(Line::code(heading).from(&interface.place, ""));
            interface_lines(interface, &mut lines);
        }
    }
    lines
}

fn interface_lines(interface: &Interface, lines: &mut Vec<Line>) {
    lines.extend(interface.notes.iter().map(|note| Line::comment(note.to_string())));
    if let Some(data) = &interface.data {
        list("data", data, lines);
    }
    if !interface.test.is_empty() {
        list("test", &interface.test, lines);
    }
    if let Some(place) = &interface.standby {
        lines.push(Line::code("standby = true").from(place, "").optional());
    }
}

/// One entry a line, so that each has its source beside it.
fn list(key: &str, entries: &[Address], lines: &mut Vec<Line>) {
    if entries.is_empty() {
        lines.push(Line::code(format!("{key} = []")));
        return;
    }
    lines.push(Line::code(format!("{key} = [")));
    for entry in entries {
        let code = format!("    {},", quoted(&entry.text));
        lines.push(Line::code(code).from(&entry.place, &entry.remark).optional());
    }
    lines.push(Line::code("]"));
}

fn setting(setting: &Setting) -> Line {
    let code = format!("{} = {}", setting.key, setting.value);
    Line::code(code).from(&setting.place, &setting.remark).optional()
}

/// A key: bare where TOML allows it.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A TOML basic string: JSON's escapes are TOML's, but TOML also forbids a bare DEL.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
