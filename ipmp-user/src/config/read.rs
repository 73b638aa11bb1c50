//! Tables and keys → a draft in which every value knows its place.

use std::net::IpAddr;

use ipmp_common::engine::{
    config::{
        Announcements, DEFAULT_FAILURE_DETECTION_TIME, DEFAULT_QUIET_PERIOD, Damping, MAX_ANNOUNCE_INTERVAL,
        MAX_ANNOUNCEMENTS, MAX_DAMPING, MAX_FAILURE_DETECTION_TIME, MIN_ANNOUNCE_INTERVAL,
        MIN_FAILURE_DETECTION_TIME, OnGroupFailure,
    },
    suspicion::DEFAULT_SUSPICION,
    time::Nanos,
};
use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use super::{
    DEFAULT_BOOT_WAIT, DEFAULT_REAL_TIME_PRIORITY, DaemonConfig, Identity, MAX_BOOT_WAIT,
    MAX_REAL_TIME_PRIORITY,
    problem::{Problems, nearest},
    value::{At, Field, fields},
};

const TOP: &[&str] = &[
    "failure-detection-time",
    "failback",
    "track-interfaces-only-with-groups",
    "outbound-spreading",
    "boot-wait",
    "daemon",
    "group",
];
const DAEMON: &[&str] = &["real-time-priority", "control-group"];
const GROUP: &[&str] = &[
    "failure-detection-time",
    "failback",
    "targets",
    "on-group-failure",
    "quiet-period",
    "link-down-delay",
    "link-up-delay",
    "failback-delay",
    "hold-down",
    "hold-down-max",
    "suspicion",
    "outbound-spreading",
    "announcements-ipv4",
    "announcements-ipv6",
    "announce-interval",
    "interface",
];
const INTERFACE: &[&str] = &["data", "test", "standby", "mac", "pci"];

/// The longest time for which losses may be forgiven after a start or a link-up: as long as the slowest detection.
const MAX_QUIET_PERIOD: Nanos = MAX_FAILURE_DETECTION_TIME;

/// The file, value by value valid.
pub(super) struct Draft {
    pub(super) daemon: DaemonConfig,
    pub(super) groups: Vec<GroupDraft>,
}

pub(super) struct GroupDraft {
    pub(super) name: At<String>,
    pub(super) failure_detection_time: Nanos,
    pub(super) failback: bool,
    pub(super) targets: Vec<At<IpAddr>>,
    pub(super) on_group_failure: OnGroupFailure,
    pub(super) quiet_period: Nanos,
    pub(super) damping: Damping,
    pub(super) announcements: Announcements,
    /// Place of `hold-down`, if it is given.
    pub(super) hold_down_at: Option<usize>,
    pub(super) suspicion: bool,
    pub(super) outbound_spreading: bool,
    pub(super) interfaces: Vec<InterfaceDraft>,
}

pub(super) struct InterfaceDraft {
    pub(super) name: At<String>,
    pub(super) standby: bool,
    /// `None` = adopt.
    pub(super) data: Option<Vec<At<IpNet>>>,
    pub(super) test: Vec<At<IpAddr>>,
    pub(super) identity: Identity,
}

/// Global values that groups inherit.
#[derive(Clone, Copy)]
struct Inherited {
    failure_detection_time: Nanos,
    failback: bool,
    outbound_spreading: bool,
}

/// Reads the text; `None` if it is not TOML, in which case the meaning of the rest would be a guess.
pub(super) fn read(text: &str, problems: &mut Problems<'_>) -> Option<Draft> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            let what = error.message().trim().replace('\n', "; ");
            problems.add(at, format!("not TOML: {what}"), "see toml.io for the syntax");
        }
        return None;
    }
    Some(top(table.get_ref(), problems))
}

fn top(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Draft {
    let mut inherited = Inherited {
        failure_detection_time: DEFAULT_FAILURE_DETECTION_TIME,
        failback: true,
        outbound_spreading: true,
    };
    let mut daemon = DaemonConfig {
        real_time_priority: DEFAULT_REAL_TIME_PRIORITY,
        control_group: None,
        track_interfaces_only_with_groups: true,
        boot_wait: DEFAULT_BOOT_WAIT,
    };
    let mut group_field = None;
    for (key, field) in fields(table) {
        match key.value {
            "failure-detection-time" => {
                put(detection_time(&field, problems), &mut inherited.failure_detection_time);
            }
            "failback" => put(field.boolean(problems), &mut inherited.failback),
            "outbound-spreading" => put(field.boolean(problems), &mut inherited.outbound_spreading),
            "track-interfaces-only-with-groups" => {
                put(field.boolean(problems), &mut daemon.track_interfaces_only_with_groups);
            }
            "boot-wait" => put(field.duration(Nanos(0), MAX_BOOT_WAIT, problems), &mut daemon.boot_wait),
            "daemon" => daemon_section(&field, &mut daemon, problems),
            // Last, because the keys it inherits may stand behind it.
            "group" => group_field = Some(field),
            _ => unknown_key(&key, "at the top of the file", TOP, problems),
        }
    }
    let groups = group_field.map_or_else(Vec::new, |field| groups(&field, inherited, problems));
    Draft { daemon, groups }
}

/// Keeps the default where the value was wrong: the problem is noted already.
fn put<T>(value: Option<T>, place: &mut T) {
    if let Some(value) = value {
        *place = value;
    }
}

fn detection_time(field: &Field<'_, '_>, problems: &mut Problems<'_>) -> Option<Nanos> {
    field.duration(MIN_FAILURE_DETECTION_TIME, MAX_FAILURE_DETECTION_TIME, problems)
}

fn damping(field: &Field<'_, '_>, problems: &mut Problems<'_>) -> Option<Nanos> {
    field.duration(Nanos(0), MAX_DAMPING, problems)
}

fn announcements(field: &Field<'_, '_>, problems: &mut Problems<'_>) -> Option<u8> {
    field.small(1, MAX_ANNOUNCEMENTS, problems)
}

fn daemon_section(field: &Field<'_, '_>, daemon: &mut DaemonConfig, problems: &mut Problems<'_>) {
    for (key, field) in table_of(field, "[daemon]", problems) {
        match key.value {
            "real-time-priority" => {
                put(field.small(0, MAX_REAL_TIME_PRIORITY, problems), &mut daemon.real_time_priority);
            }
            "control-group" => {
                if let Some(name) = field.text(problems) {
                    daemon.control_group = Some(name.to_owned());
                }
            }
            _ => unknown_key(&key, "in [daemon]", DAEMON, problems),
        }
    }
}

fn groups(field: &Field<'_, '_>, inherited: Inherited, problems: &mut Problems<'_>) -> Vec<GroupDraft> {
    table_of(field, "[group.NAME]", problems)
        .into_iter()
        .map(|(name, field)| group(&name, &field, inherited, problems))
        .collect()
}

fn group(
    name: &At<&str>,
    field: &Field<'_, '_>,
    inherited: Inherited,
    problems: &mut Problems<'_>,
) -> GroupDraft {
    let mut draft = GroupDraft {
        name: owned(name),
        failure_detection_time: inherited.failure_detection_time,
        failback: inherited.failback,
        targets: Vec::new(),
        on_group_failure: OnGroupFailure::Keep,
        quiet_period: DEFAULT_QUIET_PERIOD,
        damping: Damping::default(),
        hold_down_at: None,
        suspicion: DEFAULT_SUSPICION,
        outbound_spreading: inherited.outbound_spreading,
        announcements: Announcements::default(),
        interfaces: Vec::new(),
    };
    for (key, field) in table_of(field, "[group.NAME]", problems) {
        match key.value {
            "failure-detection-time" => {
                put(detection_time(&field, problems), &mut draft.failure_detection_time);
            }
            "failback" => put(field.boolean(problems), &mut draft.failback),
            "targets" => draft.targets = field.hosts("target", problems),
            "on-group-failure" => put(field.on_group_failure(problems), &mut draft.on_group_failure),
            "quiet-period" => {
                put(field.duration(Nanos(0), MAX_QUIET_PERIOD, problems), &mut draft.quiet_period);
            }
            "link-down-delay" => put(damping(&field, problems), &mut draft.damping.link_down_delay),
            "link-up-delay" => put(damping(&field, problems), &mut draft.damping.link_up_delay),
            "failback-delay" => put(damping(&field, problems), &mut draft.damping.failback_delay),
            "hold-down" => {
                draft.hold_down_at = Some(field.at);
                put(damping(&field, problems), &mut draft.damping.hold_down);
            }
            "hold-down-max" => put(damping(&field, problems), &mut draft.damping.hold_down_max),
            "suspicion" => put(field.boolean(problems), &mut draft.suspicion),
            "outbound-spreading" => put(field.boolean(problems), &mut draft.outbound_spreading),
            "announcements-ipv4" => put(announcements(&field, problems), &mut draft.announcements.ipv4),
            "announcements-ipv6" => put(announcements(&field, problems), &mut draft.announcements.ipv6),
            "announce-interval" => {
                let interval = field.duration(MIN_ANNOUNCE_INTERVAL, MAX_ANNOUNCE_INTERVAL, problems);
                put(interval, &mut draft.announcements.interval);
            }
            "interface" => draft.interfaces = interfaces(name.value, &field, problems),
            _ => unknown_key(&key, &format!("in [group.{}]", name.value), GROUP, problems),
        }
    }
    draft
}

fn interfaces(group: &str, field: &Field<'_, '_>, problems: &mut Problems<'_>) -> Vec<InterfaceDraft> {
    let heading = format!("[group.{group}.interface.NAME]");
    table_of(field, &heading, problems)
        .into_iter()
        .map(|(name, field)| interface(group, &name, &field, problems))
        .collect()
}

fn interface(
    group: &str,
    name: &At<&str>,
    field: &Field<'_, '_>,
    problems: &mut Problems<'_>,
) -> InterfaceDraft {
    let mut draft = InterfaceDraft {
        name: owned(name),
        standby: false,
        data: None,
        test: Vec::new(),
        identity: Identity::default(),
    };
    let heading = format!("[group.{group}.interface.{}]", name.value);
    for (key, field) in table_of(field, &heading, problems) {
        match key.value {
            "data" => draft.data = Some(field.data(problems)),
            "test" => draft.test = field.hosts("test address", problems),
            "standby" => put(field.boolean(problems), &mut draft.standby),
            "mac" => draft.identity.mac = field.mac(problems),
            "pci" => draft.identity.pci = field.pci(problems),
            _ => unknown_key(&key, &format!("in {heading}"), INTERFACE, problems),
        }
    }
    draft
}

fn owned(name: &At<&str>) -> At<String> {
    At { at: name.at, value: name.value.to_owned() }
}

/// The fields of a value that should be a table; none if it is not.
fn table_of<'v, 'i>(
    field: &Field<'v, 'i>,
    heading: &str,
    problems: &mut Problems<'_>,
) -> Vec<(At<&'v str>, Field<'v, 'i>)> {
    if let DeValue::Table(table) = field.value {
        return fields(table).collect();
    }
    problems.add(field.at, format!("{} is not a table", field.key), format!("write a section {heading}"));
    Vec::new()
}

fn unknown_key(key: &At<&str>, place: &str, known: &[&str], problems: &mut Problems<'_>) {
    let sections = [
        ("at the top of the file", TOP),
        ("in [daemon]", DAEMON),
        ("in [group.NAME]", GROUP),
        ("in [group.NAME.interface.NAME]", INTERFACE),
    ];
    let elsewhere =
        sections.iter().find_map(|(section, keys)| nearest(key.value, keys).map(|word| (section, word)));
    let remedy = match (nearest(key.value, known), elsewhere) {
        (Some(word), _) => format!("did you mean {word:?}?"),
        (None, Some((section, word))) => format!("{word:?} belongs {section}"),
        (None, None) => format!("known here: {}", known.join(", ")),
    };
    problems.add(key.at, format!("unknown key {:?} {place}", key.value), remedy);
}
