//! Fields and rows as ipmpstat prints them.
//!
//! For people: columns of fixed width, the last one as long as it is; a value too long for its column is followed
//! by one space, and the columns behind it give up their padding until the row is in step again. For programs
//! (`-P`): values separated by `:`; in more than one field, `:` and `\` within a value are preceded by `\`.

use super::Mode;

/// A name and its width in characters.
pub(super) type Field = (&'static str, usize);

/// Columns of a row that is printed without `-o`.
const SCREEN: usize = 80;

/// All fields of a mode, in their order.
pub(super) const fn of(mode: Mode) -> &'static [Field] {
    match mode {
        Mode::Addresses => &[("ADDRESS", 26), ("STATE", 7), ("GROUP", 12), ("INBOUND", 12), ("OUTBOUND", 23)],
        Mode::Groups => &[("GROUP", 12), ("GROUPNAME", 12), ("STATE", 10), ("FDT", 10), ("INTERFACES", 30)],
        Mode::Interfaces => &[
            ("INTERFACE", 12),
            ("ACTIVE", 8),
            ("GROUP", 12),
            ("FLAGS", 10),
            ("LINK", 10),
            ("PROBE", 10),
            ("STATE", 10),
        ],
        Mode::Probes => &[
            ("TIME", 10),
            ("INTERFACE", 12),
            ("PROBE", 7),
            ("NETRTT", 10),
            ("RTT", 10),
            ("RTTAVG", 10),
            ("TARGET", 20),
            ("RTTDEV", 10),
        ],
        Mode::Targets => &[("INTERFACE", 12), ("MODE", 10), ("TESTADDR", 20), ("TARGETS", 38)],
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// It is this; empty is shown as `--`, or not at all with `-P`.
    Value(String),
    /// Nobody knows: `?`.
    Unknown,
}

impl Cell {
    pub(super) fn value(text: impl Into<String>) -> Self {
        Self::Value(text.into())
    }
}

/// The columns to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Index in a row, and the field.
    chosen: Vec<(usize, Field)>,
    parsable: bool,
}

/// What is wrong with `-o` and `-P`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadFields {
    pub(super) text: String,
    /// Whether the rest can be shown all the same.
    pub(super) usable: Option<Columns>,
}

impl Columns {
    /// The columns that `-o` asks for.
    pub(super) fn new(mode: Mode, wanted: Option<&str>, parsable: bool) -> Result<Self, BadFields> {
        let all = of(mode);
        let refuse = |text: &str| BadFields { text: text.to_owned(), usable: None };
        let wanted = match wanted {
            None | Some("") if parsable => {
                return Err(refuse("output fields must be specified in parsable mode"));
            }
            Some("all") if parsable => return Err(refuse("output field `all' invalid in parsable mode")),
            Some("all") => return Ok(Self { chosen: all.iter().copied().enumerate().collect(), parsable }),
            None | Some("") => {
                let mut end = 0;
                let fits = |(_, width): &&Field| {
                    end += width;
                    end <= SCREEN
                };
                let chosen = all.iter().take_while(fits).copied().enumerate().collect();
                return Ok(Self { chosen, parsable });
            }
            Some(wanted) => wanted,
        };
        let (mut chosen, mut unknown) = (Vec::new(), Vec::new());
        for name in wanted.split(',').filter(|name| !name.is_empty()) {
            match all.iter().enumerate().find(|(_, (known, _))| known.eq_ignore_ascii_case(name)) {
                Some((index, field)) => chosen.push((index, *field)),
                None => unknown.push(format!("`{name}'")),
            }
        }
        if chosen.is_empty() {
            return Err(refuse("no valid output fields"));
        }
        let columns = Self { chosen, parsable };
        if unknown.is_empty() {
            return Ok(columns);
        }
        let plural = if unknown.len() > 1 { "s" } else { "" };
        let ignoring = if parsable { "" } else { "ignoring " };
        let text = format!("{ignoring}unknown output field{plural}: {}", unknown.join(" "));
        Err(BadFields { text, usable: (!parsable).then_some(columns) })
    }

    /// The heading; none for programs.
    pub(super) fn heading(&self) -> Option<String> {
        let names = self.chosen.iter().map(|(_, (name, width))| ((*name).to_owned(), *width));
        (!self.parsable).then(|| in_columns(names.collect()))
    }

    /// One line of a row that has a cell for every field of the mode.
    pub(super) fn line(&self, row: &[Cell]) -> String {
        let shown = |cell: Option<&Cell>| match cell {
            // Names come from files; they shall not steer the terminal.
            Some(Cell::Value(text)) if self.parsable || !text.is_empty() => {
                text.replace(char::is_control, "?")
            }
            Some(Cell::Value(_)) => "--".to_owned(),
            Some(Cell::Unknown) | None => "?".to_owned(),
        };
        let cells = self.chosen.iter().map(|(index, (_, width))| (shown(row.get(*index)), *width));
        if !self.parsable {
            return in_columns(cells.collect());
        }
        let cells: Vec<String> = cells.map(|(text, _)| text).collect();
        match cells.as_slice() {
            [one] => format!("{one}\n"),
            many => {
                let escaped: Vec<String> =
                    many.iter().map(|text| text.replace('\\', r"\\").replace(':', r"\:")).collect();
                format!("{}\n", escaped.join(":"))
            }
        }
    }
}

fn in_columns(cells: Vec<(String, usize)>) -> String {
    let mut line = String::new();
    let mut behind = 0;
    let last = cells.len().saturating_sub(1);
    for (index, (text, width)) in cells.into_iter().enumerate() {
        let length = text.chars().count();
        line.push_str(&text);
        if index == last {
            break;
        }
        if length + behind >= width {
            behind = (behind + length + 1).saturating_sub(width);
            line.push(' ');
        } else {
            let padding = width - length - behind;
            behind = 0;
            line.extend(std::iter::repeat_n(' ', padding));
        }
    }
    line.push('\n');
    line
}
