//! An interface's section, as `ipmp attach` writes it.

use std::fmt::Write as _;

/// What `ipmp attach` says of an interface; checked when the text it is put into is parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub interface: String,
    /// Its group.
    pub group: String,
    /// Whether it is a spare.
    pub standby: bool,
    /// Data addresses with prefix length; `None`: those found on it.
    pub data: Option<Vec<String>>,
    /// Test addresses.
    pub test: Vec<String>,
}

impl Entry {
    /// The text of a configuration file with this section at its end.
    pub fn append_to(&self, text: &str) -> String {
        let mut text = text.trim_end().to_owned();
        let list = |items: &[String]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
        // Writing to a String cannot fail.
        let _ = write!(text, "\n\n[group.{}.interface.{}]\n", key(&self.group), key(&self.interface));
        if let Some(data) = &self.data {
            let _ = writeln!(text, "data = [{}]", list(data));
        }
        if !self.test.is_empty() {
            let _ = writeln!(text, "test = [{}]", list(&self.test));
        }
        if self.standby {
            text.push_str("standby = true\n");
        }
        text
    }
}

/// A bare key where TOML permits one.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
