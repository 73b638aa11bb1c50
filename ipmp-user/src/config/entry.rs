//! An interface's section, as `ipmp attach` writes it.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

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
    /// The text of a configuration file with this section behind the others of its group; all else is kept, byte for byte.
    /// A text that is no configuration is given back as it is: its reader says why. `None`: there is such a section.
    pub fn add_to(&self, text: &str) -> Option<String> {
        let Ok(mut document) = text.parse::<DocumentMut>() else { return Some(text.to_owned()) };
        let mut place = document.as_item_mut();
        for name in ["group", &self.group, "interface"] {
            let within = like(place);
            place = match place.as_table_like_mut() {
                Some(table) => table.entry(name).or_insert(within),
                None => return Some(text.to_owned()),
            };
        }
        let mut own = like(place);
        if let Some(table) = own.as_table_mut() {
            table.set_implicit(false);
            table.decor_mut().set_prefix("\n");
        }
        self.fill(own.as_table_like_mut()?);
        match place.as_table_like_mut() {
            Some(table) if table.contains_key(&self.interface) => return None,
            Some(table) => drop(table.insert(&self.interface, own)),
            None => {}
        }
        Some(document.to_string())
    }

    fn fill(&self, section: &mut dyn TableLike) {
        let list = |items: &[String]| value(items.iter().map(String::as_str).collect::<Array>());
        if let Some(data) = &self.data {
            section.insert("data", list(data));
        }
        if !self.test.is_empty() {
            section.insert("test", list(&self.test));
        }
        if self.standby {
            section.insert("standby", value(true));
        }
    }
}

/// An empty section as it may stand below `place`: in an inline table only others, and dotted keys cannot be gone on with by
/// headings.
fn like(place: &Item) -> Item {
    if place.is_value() {
        return Item::Value(Value::InlineTable(InlineTable::new()));
    }
    let mut table = Table::new();
    table.set_implicit(true);
    table.set_dotted(place.as_table().is_some_and(Table::is_dotted));
    Item::Table(table)
}
