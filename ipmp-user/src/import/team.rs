//! teamd's JSON configurations (teamd.conf(5)) → a draft. They tell members and monitoring, not addresses.

use std::path::Path;

use serde_json::Value;

use super::{
    ImportError, Note, Place,
    document::{Draft, Interface, Setting, quoted},
    files,
};

/// Where distributions keep them; else the directory itself.
const SUBS: [&str; 3] = ["etc/teamd/", "etc/", ""];

pub(super) fn read(dir: &Path) -> Result<Draft, ImportError> {
    files::check(dir)?;
    let mut draft = Draft {
        heading: vec![
            "Proposed by `ipmp import --from team`; behind each entry stands the line it comes from.".to_owned(),
            "The team's addresses do not stand in the source: list them as `data` of its first interface, then take the team down."
                .to_owned(),
        ],
        ..Draft::default()
    };
    for sub in SUBS {
        for name in files::names(dir, sub)? {
            let json = Path::new(&name).extension().is_some_and(|end| end == "conf" || end == "json");
            let source = if json { files::read(dir, &format!("{sub}{name}"))? } else { None };
            // Many a file that ends in .conf is no JSON.
            if let Some(source) = source
                && let Ok(config) = serde_json::from_str(&source.text)
            {
                team(&source, &config, &mut draft);
            }
        }
        if !draft.groups.is_empty() {
            return Ok(draft);
        }
    }
    let what = "no *.conf or *.json file there is a teamd configuration with ports; name the directory that holds them"
        .to_owned();
    Err(ImportError::Nothing { dir: dir.to_owned(), what })
}

fn team(source: &files::Source, config: &Value, draft: &mut Draft) {
    // JSON values do not know their line: that of the first mention of a key or name.
    let line = |word: &str| {
        let quoted = Value::from(word).to_string();
        source.text.lines().position(|line| line.contains(&quoted)).map_or(1, |index| index + 1)
    };
    let place = |word: &str| Place { file: source.name.clone(), line: line(word) };
    let (Some(device), Some(ports)) =
        (config.get("device").and_then(Value::as_str), config.get("ports").and_then(Value::as_object))
    else {
        return;
    };
    let Some(first) = ports.keys().next() else { return };
    let runner = config.pointer("/runner/name").and_then(Value::as_str).unwrap_or("roundrobin");
    let backup = runner == "activebackup";
    let group = draft.group(device, &place("device"));
    if !backup {
        let undo = if runner == "lacp" { "undo the aggregation on the switch; " } else { "" };
        let text = format!("runner {runner}: {undo}all interfaces are active here, each address on one");
        group.notes.push(Note { place: Some(place("runner")), text });
    }
    for watch in watches(config) {
        monitoring(watch, &place, &mut group.settings, &mut group.notes);
    }
    // teamd.conf(5): the port with the highest priority is active; zero if none is given.
    let priority =
        |port: &str| ports.get(port).and_then(|port| port.get("prio")).and_then(Value::as_i64).unwrap_or(0);
    let active = ports.keys().rev().max_by_key(|port| priority(port)).unwrap_or(first);
    for port in ports.keys() {
        group.interfaces.push(Interface {
            name: port.clone(),
            place: place(port),
            notes: Vec::new(),
            data: None,
            test: Vec::new(),
            standby: (backup && port != active).then(|| place(port)),
        });
    }
}

/// Link watches of the device and of its ports; each is one object or a list.
fn watches(config: &Value) -> Vec<&Value> {
    let ports = config.get("ports").and_then(Value::as_object).into_iter().flat_map(|ports| ports.values());
    let holders = std::iter::once(config).chain(ports);
    let watches = holders.filter_map(|holder| holder.get("link_watch"));
    watches
        .flat_map(|watch| match watch {
            Value::Array(list) => list.iter().collect(),
            one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                vec![one]
            }
        })
        .collect()
}

/// Target and times of `arp_ping` and `nsna_ping`, and delays, each once.
fn monitoring(
    watch: &Value,
    place: &impl Fn(&str) -> Place,
    settings: &mut Vec<Setting>,
    notes: &mut Vec<Note>,
) {
    let number = |key: &str| watch.get(key).and_then(Value::as_u64);
    for (theirs, key) in [("delay_up", "link-up-delay"), ("delay_down", "link-down-delay")] {
        let known = settings.iter().any(|setting| setting.key == key);
        if let Some(delay) = number(theirs).filter(|delay| *delay > 0 && !known) {
            let value = quoted(&format!("{delay}ms"));
            settings.push(Setting { key, value, place: place(theirs), remark: String::new() });
        }
    }
    let Some(target) = watch.get("target_host").and_then(Value::as_str) else { return };
    let targets = quoted(target);
    match settings.iter_mut().find(|setting| setting.key == "targets") {
        Some(known) if known.value.contains(&targets) => {}
        Some(known) => known.value = format!("{}, {targets}]", known.value.trim_end_matches(']')),
        None => {
            let value = format!("[{targets}]");
            settings.push(Setting {
                key: "targets",
                value,
                place: place("target_host"),
                remark: String::new(),
            });
            let text = "the link watch probed from one address for all: give every interface a `test` address of its own";
            notes.push(Note { place: Some(place("target_host")), text: text.to_owned() });
        }
    }
    // teamd.conf(5): 1,000 ms and 3 missed are the defaults.
    let (interval, missed) = (number("interval").unwrap_or(1000), number("missed_max").unwrap_or(3));
    if !settings.iter().any(|setting| setting.key == "failure-detection-time") {
        settings.push(Setting {
            key: "failure-detection-time",
            value: quoted(&format!("{}ms", interval.saturating_mul(missed))),
            place: place("target_host"),
            remark: format!("interval {interval} ms, {missed} missed"),
        });
    }
}
