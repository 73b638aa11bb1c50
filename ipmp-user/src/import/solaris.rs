//! `/etc/hostname.*`, `/etc/hostname6.*` and `/etc/default/mpathd` → a draft.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use super::{
    ImportError, Note, Place,
    document::{Address, Draft, Interface, Setting, quoted},
    files,
    hostname::{self, At, Hostname, Logical},
    mpathd,
    names::{Hosts, Netmasks, classful_length, mask_length, truncate},
};

/// Below this directory, if it exists, else in the given one.
const ETC: &str = "etc";
/// Solaris's links to these names are of no use in a copied tree, so both are read.
const HOSTS: [&str; 3] = ["inet/hosts", "hosts", "inet/ipnodes"];
const NETMASKS: [&str; 2] = ["inet/netmasks", "netmasks"];

/// One file, parsed.
struct Parsed {
    name: String,
    ipv6: bool,
    content: Hostname,
}

impl Parsed {
    fn place(&self, line: usize) -> Place {
        Place { file: self.name.clone(), line }
    }

    fn note(&self, line: usize, text: impl Into<String>) -> Note {
        Note { place: Some(self.place(line)), text: text.into() }
    }
}

/// What addresses are resolved by.
#[derive(Default)]
struct Lookup {
    hosts: Hosts,
    netmasks: Netmasks,
}

pub(super) fn read(dir: &Path) -> Result<Draft, ImportError> {
    files::check(dir)?;
    let etc = if dir.join(ETC).is_dir() { "etc/" } else { "" };
    let mut draft = Draft {
        heading: vec![
            "Proposed by `ipmp import`; behind each entry stands the line it comes from.".to_owned(),
            "Interfaces have the names of the old system: give them those that `ip link` shows, by hand or by --rename OLD=NEW."
                .to_owned(),
        ],
        ..Draft::default()
    };
    if let Some(source) = files::read(dir, &format!("{etc}default/mpathd"))? {
        globals(&source.name, &mpathd::parse(&source.text), &mut draft);
    }
    let lookup = lookup(dir, etc)?;
    let interfaces = parse_all(dir, etc, &mut draft)?;
    let mut homeless = Vec::new();
    for (name, files) in &interfaces {
        interface(name, files, &lookup, &mut draft, &mut homeless);
    }
    settle(homeless, &mut draft);
    if draft.groups.is_empty() {
        let what = format!(
            "no {etc}hostname.* file puts an interface into a `group`; name the directory that holds the old system's etc"
        );
        return Err(ImportError::Nothing { dir: dir.to_owned(), what });
    }
    Ok(draft)
}

fn lookup(dir: &Path, etc: &str) -> Result<Lookup, ImportError> {
    let mut lookup = Lookup::default();
    for name in HOSTS {
        if let Some(source) = files::read(dir, &format!("{etc}{name}"))? {
            lookup.hosts.add(&source.text);
        }
    }
    for name in NETMASKS {
        if let Some(source) = files::read(dir, &format!("{etc}{name}"))? {
            lookup.netmasks.add(&source.text);
        }
    }
    Ok(lookup)
}

/// Files by the physical interface. As Solaris's start script, only names that end in a digit are taken.
fn parse_all(dir: &Path, etc: &str, draft: &mut Draft) -> Result<BTreeMap<String, Vec<Parsed>>, ImportError> {
    let mut interfaces: BTreeMap<String, Vec<Parsed>> = BTreeMap::new();
    for name in files::names(dir, etc)? {
        let (interface, ipv6) = match (name.strip_prefix("hostname6."), name.strip_prefix("hostname.")) {
            (Some(interface), _) => (interface, true),
            (None, Some(interface)) => (interface, false),
            (None, None) => continue,
        };
        let path = format!("{etc}{name}");
        if !interface.ends_with(|c: char| c.is_ascii_digit()) {
            let place = Some(Place { file: path, line: 1 });
            let text = "left out: the old system reads only names that end in a digit".to_owned();
            draft.notes.push(Note { place, text });
            continue;
        }
        let Some(source) = files::read(dir, &path)? else { continue };
        let physical = interface.split(':').next().unwrap_or(interface).to_owned();
        let content = hostname::parse(&source.text, ipv6);
        interfaces.entry(physical).or_default().push(Parsed { name: path, ipv6, content });
    }
    Ok(interfaces)
}

fn globals(file: &str, found: &mpathd::Mpathd, draft: &mut Draft) {
    let place = |line| Place { file: file.to_owned(), line };
    for (line, text) in &found.remarks {
        draft.notes.push(Note { place: Some(place(*line)), text: text.clone() });
    }
    let mut put = |key, value, line| {
        draft.settings.push(Setting { key, value, place: place(line), remark: String::new() });
    };
    if let Some((ms, line)) = found.failure_detection_time {
        let span = if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") };
        put("failure-detection-time", quoted(&span), line);
    }
    if let Some((failback, line)) = found.failback {
        put("failback", failback.to_string(), line);
    }
    if let Some((only, line)) = found.track_only_with_groups {
        put("track-interfaces-only-with-groups", only.to_string(), line);
    }
}

/// Addresses of an IPMP interface, which have a group but no home yet.
struct Homeless {
    group: String,
    place: Place,
    data: Vec<Address>,
    notes: Vec<Note>,
}

fn interface(name: &str, files: &[Parsed], lookup: &Lookup, draft: &mut Draft, homeless: &mut Vec<Homeless>) {
    let mut notes = Vec::new();
    let group = group_of(files, &mut notes);
    // As with the group, /etc/hostname6.* was read later.
    let standby = files.iter().filter_map(|file| Some((file, file.content.standby.as_ref()?)));
    let standby = standby.max_by_key(|(file, _)| file.ipv6).filter(|(_, standby)| standby.value);
    let standby = standby.map(|(file, standby)| file.place(standby.line));
    let ipmp = files.iter().find_map(|file| Some(file.place(file.content.ipmp?)));
    let (group, place) = match (group, &ipmp) {
        (Some((group, place)), _) => (group, place),
        (None, Some(place)) => (name.to_owned(), place.clone()),
        (None, None) => {
            if let Some(file) = files.first() {
                draft.notes.push(
                    file.note(1, format!("{name} is in no group and left out: ipmpd does not manage it")),
                );
            }
            return;
        }
    };
    let (mut data, mut test) = (Vec::new(), Vec::new());
    for file in files {
        notes.extend(file.content.remarks.iter().map(|remark| file.note(remark.line, remark.value.as_str())));
        for logical in &file.content.logicals {
            match address(file, logical, lookup, &mut notes) {
                Some((address, true)) => test.push(address),
                Some((address, false)) => data.push(address),
                None => {}
            }
        }
    }
    if ipmp.is_some() {
        homeless.push(Homeless { group, place, data, notes });
        return;
    }
    let interface =
        Interface { name: name.to_owned(), place: place.clone(), notes, data: Some(data), test, standby };
    draft.group(&group, &place).interfaces.push(interface);
}

/// The group that counts: that of `/etc/hostname6.*`, which was read later.
fn group_of(files: &[Parsed], notes: &mut Vec<Note>) -> Option<(String, Place)> {
    let named = || files.iter().filter_map(|file| Some((file, file.content.group.as_ref()?)));
    let (file, group) = named().max_by_key(|(file, _)| file.ipv6)?;
    let all: BTreeSet<&str> = named().map(|(_, group)| group.value.as_str()).collect();
    if all.len() > 1 {
        let text = format!("several groups are named; {} counts, as on the old system", group.value);
        notes.push(file.note(group.line, text));
    }
    // `group ""` takes an interface out of its group.
    let name = group.value.trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| (name.to_owned(), file.place(group.line)))
}

/// The address of a logical interface, and whether it is a test address.
fn address(
    file: &Parsed,
    logical: &Logical,
    lookup: &Lookup,
    notes: &mut Vec<Note>,
) -> Option<(Address, bool)> {
    if logical.dynamic {
        let text = "an address by DHCP or RARP is not carried over: only listed addresses move";
        notes.push(file.note(logical.line, text));
        return None;
    }
    let At { value: written, line } = logical.address.as_ref()?;
    let (host, length) = match written.split_once('/') {
        Some((host, length)) => (host, length.parse::<u8>().ok()),
        None => (written.as_str(), None),
    };
    let Some(ip) = host.parse::<IpAddr>().ok().or_else(|| lookup.hosts.address(host, file.ipv6)) else {
        let text = format!("{host} is not carried over: no address, and in no hosts file beside it");
        notes.push(file.note(*line, text));
        return None;
    };
    if ip.is_unspecified() {
        // The placeholder of an interface without address.
        return None;
    }
    if !logical.up {
        notes.push(
            file.note(*line, format!("{written} is not carried over: the old system never brings it `up`")),
        );
        return None;
    }
    if logical.no_failover {
        return Some((
            Address { text: ip.to_string(), place: file.place(*line), remark: String::new() },
            true,
        ));
    }
    if logical.deprecated {
        let text = format!("{written} is `deprecated` but moves: carried over as an ordinary data address");
        notes.push(file.note(*line, text));
    }
    let (length, mut remark) = match ip {
        IpAddr::V4(v4) => prefix_length(v4, length, logical.netmask.as_ref(), lookup),
        IpAddr::V6(_) => length
            .map_or((64, "no prefix length given; 64 assumed".to_owned()), |length| (length, String::new())),
    };
    if host.parse::<IpAddr>().is_err() {
        remark = if remark.is_empty() { host.to_owned() } else { format!("{host}; {remark}") };
    }
    if let (IpAddr::V4(v4), Some(broadcast)) = (ip, &logical.broadcast) {
        notes.extend(other_broadcast(file, v4, length, broadcast));
    }
    Some((Address { text: format!("{ip}/{length}"), place: file.place(*line), remark }, false))
}

/// By `/prefix`, by `netmask`, by the netmasks file, else by the address's class; and what is to be said of it.
fn prefix_length(
    ip: Ipv4Addr,
    written: Option<u8>,
    netmask: Option<&At<String>>,
    lookup: &Lookup,
) -> (u8, String) {
    let explicit = netmask.filter(|mask| mask.value != "+");
    if let Some(length) = written.or_else(|| explicit.and_then(|mask| mask_length(&mask.value))) {
        return (length, String::new());
    }
    let why = match (explicit, netmask) {
        (Some(mask), _) => format!("netmask {} not understood", mask.value),
        (None, Some(_)) => "netmask +".to_owned(),
        (None, None) => "no netmask given".to_owned(),
    };
    if let Some(length) = lookup.netmasks.length(ip) {
        return (length, format!("{why}: by the netmasks file"));
    }
    let length = classful_length(ip).unwrap_or(32);
    (length, format!("{why}, and no netmasks file names it: by the address's class; check it"))
}

fn other_broadcast(file: &Parsed, ip: Ipv4Addr, length: u8, broadcast: &At<String>) -> Option<Note> {
    let last = u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
    let usual = Ipv4Addr::from(u32::from(truncate(ip, length)) | last);
    let usual = usual.to_string();
    (broadcast.value != "+" && broadcast.value != "-" && broadcast.value != usual).then(|| {
        file.note(
            broadcast.line,
            format!("broadcast {} is not carried over: {usual} is used", broadcast.value),
        )
    })
}

/// Gives the addresses of IPMP interfaces homes: in turn on the group's members that are no standbys.
fn settle(homeless: Vec<Homeless>, draft: &mut Draft) {
    for Homeless { group, place, data, notes } in homeless {
        let members = draft.groups.iter_mut().find(|known| known.name == group);
        let Some(known) = members else {
            let text = format!("group {group} has an IPMP interface but no member, and is left out");
            draft.notes.push(Note { place: Some(place), text });
            continue;
        };
        known.notes.extend(notes);
        let any_active = known.interfaces.iter().any(|interface| interface.standby.is_none());
        let mut homes: Vec<&mut Interface> = known
            .interfaces
            .iter_mut()
            .filter(|interface| interface.standby.is_none() || !any_active)
            .collect();
        let count = homes.len();
        for (index, mut address) in data.into_iter().enumerate() {
            let separator = if address.remark.is_empty() { "" } else { "; " };
            address.remark = format!("{}{separator}of the IPMP interface, at home here now", address.remark);
            // A group has at least one member.
            if let Some(home) = homes.get_mut(index % count.max(1)) {
                home.data.get_or_insert_default().push(address);
            }
        }
    }
}
