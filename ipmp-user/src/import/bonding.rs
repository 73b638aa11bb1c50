//! `/proc/net/bonding/*` → a draft. The file tells members and monitoring, not addresses.
//!
//! Format: `bond_info_show_master` and `bond_info_show_slave` in the kernel's
//! `drivers/net/bonding/bond_procfs.c`.

use std::path::Path;

use super::{
    ImportError, Note, Place,
    document::{Draft, Interface, Setting, quoted},
    files,
};

const BONDS: &str = "proc/net/bonding";

pub(super) fn read(dir: &Path) -> Result<Draft, ImportError> {
    files::check(dir)?;
    // The directory itself may be the copy of /proc/net/bonding.
    let sub = if dir.join(BONDS).is_dir() { "proc/net/bonding/" } else { "" };
    let mut draft = Draft {
        heading: vec![
            "Proposed by `ipmp import --from bonding`; behind each entry stands the line it comes from.".to_owned(),
            "The bond's addresses do not stand in the source: list them as `data` of its first interface, then take the bond down."
                .to_owned(),
        ],
        ..Draft::default()
    };
    for name in files::names(dir, sub)? {
        if let Some(source) = files::read(dir, &format!("{sub}{name}"))? {
            bond(&name, &source, &mut draft);
        }
    }
    if draft.groups.is_empty() {
        let what =
            format!("no file in {BONDS} names a slave interface; name the directory above proc, such as /");
        return Err(ImportError::Nothing { dir: dir.to_owned(), what });
    }
    Ok(draft)
}

/// What a line says: `Key: value`.
fn pairs(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let (key, value) = line.split_once(':')?;
        Some((number, key.trim(), value.trim()))
    })
}

fn bond(name: &str, source: &files::Source, draft: &mut Draft) {
    let place = |line| Place { file: source.name.clone(), line };
    let slaves: Vec<(usize, &str)> = pairs(&source.text)
        .filter(|(_, key, _)| *key == "Slave Interface")
        .map(|(line, _, name)| (line, name))
        .collect();
    let find = |wanted: &str| {
        pairs(&source.text).find(|(_, key, _)| *key == wanted).map(|(line, _, value)| (line, value))
    };
    let Some((first, _)) = slaves.first() else { return };
    let mode = find("Bonding Mode");
    let backup = mode.is_some_and(|(_, mode)| mode.contains("active-backup"));
    let group = draft.group(name, &mode.map_or_else(|| place(*first), |(line, _)| place(line)));
    if let Some((line, mode)) = mode.filter(|_| !backup) {
        let text = if mode.contains("802.3ad") {
            format!(
                "mode {mode}: undo the aggregation on the switch; all interfaces are active here, each address on one"
            )
        } else {
            format!("mode {mode}: all interfaces are active here, each address on one")
        };
        group.notes.push(Note { place: Some(place(line)), text });
    }
    monitoring(&find, &place, &mut group.settings, &mut group.notes);
    let active = find("Primary Slave")
        .map(|(_, primary)| primary.split(' ').next().unwrap_or(primary))
        .filter(|primary| slaves.iter().any(|(_, name)| name == primary))
        .or_else(|| find("Currently Active Slave").map(|(_, active)| active))
        .filter(|active| slaves.iter().any(|(_, name)| name == active))
        .or_else(|| slaves.first().map(|(_, name)| *name));
    for (line, slave) in &slaves {
        group.interfaces.push(Interface {
            name: (*slave).to_owned(),
            place: place(*line),
            notes: Vec::new(),
            data: None,
            test: Vec::new(),
            standby: (backup && active != Some(slave)).then(|| place(*line)),
        });
    }
}

/// Targets and times of the ARP monitor; delays.
fn monitoring<'t>(
    find: &impl Fn(&str) -> Option<(usize, &'t str)>,
    place: &impl Fn(usize) -> Place,
    settings: &mut Vec<Setting>,
    notes: &mut Vec<Note>,
) {
    let number = |key| find(key).and_then(|(line, value)| Some((line, value.parse::<u64>().ok()?)));
    let targets = find("ARP IP target/s (n.n.n.n form)").filter(|(_, targets)| !targets.is_empty());
    if let Some((line, targets)) = targets {
        let list: Vec<String> = targets.split(',').map(|target| quoted(target.trim())).collect();
        let value = format!("[{}]", list.join(", "));
        settings.push(Setting { key: "targets", value, place: place(line), remark: String::new() });
        let text = "the ARP monitor probed from the bond's address: give every interface a `test` address of its own";
        notes.push(Note { place: Some(place(line)), text: text.to_owned() });
    }
    if let Some((line, interval)) = number("ARP Polling Interval (ms)").filter(|(_, interval)| *interval > 0)
    {
        // bonding.rst, arp_missed_max: 2 where the driver does not print it.
        let missed = number("ARP Missed Max").map_or(2, |(_, missed)| missed);
        settings.push(Setting {
            key: "failure-detection-time",
            value: quoted(&format!("{}ms", interval.saturating_mul(missed))),
            place: place(line),
            remark: format!("ARP interval {interval} ms, {missed} missed"),
        });
    }
    for (theirs, key) in [("Up Delay (ms)", "link-up-delay"), ("Down Delay (ms)", "link-down-delay")] {
        if let Some((line, delay)) = number(theirs).filter(|(_, delay)| *delay > 0) {
            let value = quoted(&format!("{delay}ms"));
            settings.push(Setting { key, value, place: place(line), remark: String::new() });
        }
    }
}
