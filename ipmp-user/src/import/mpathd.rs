//! `/etc/default/mpathd`.

/// in.mpathd's default, milliseconds.
const DEFAULT_MS: u64 = 10_000;
/// in.mpathd's floor, milliseconds. Ours is lower, but the old system ran with this one.
const MIN_MS: u64 = 100;

/// What the file says; `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mpathd {
    /// Milliseconds, and the line.
    pub(super) failure_detection_time: Option<(u64, usize)>,
    pub(super) failback: Option<(bool, usize)>,
    pub(super) track_only_with_groups: Option<(bool, usize)>,
    /// What in.mpathd itself would have complained about, in its words, and what it means here.
    pub(super) remarks: Vec<(usize, String)>,
}

/// Keys are case-insensitive and the first line with a key counts, as in defread(3): what is commented out is
/// just a line with another beginning.
pub(super) fn parse(text: &str) -> Mpathd {
    let mut found = Mpathd::default();
    for (number, line) in (1..).zip(text.lines()) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim().trim_matches(['"', '\'']);
        match key.trim().to_ascii_uppercase().as_str() {
            "FAILURE_DETECTION_TIME" if found.failure_detection_time.is_none() => {
                found.failure_detection_time =
                    Some((detection_time(value, number, &mut found.remarks), number));
            }
            "FAILBACK" if found.failback.is_none() => {
                found.failback = Some((yes_or_no("FAILBACK", value, number, &mut found.remarks), number));
            }
            "TRACK_INTERFACES_ONLY_WITH_GROUPS" if found.track_only_with_groups.is_none() => {
                let key = "TRACK_INTERFACES_ONLY_WITH_GROUPS";
                found.track_only_with_groups =
                    Some((yes_or_no(key, value, number, &mut found.remarks), number));
            }
            key if key.starts_with('#') || key.contains(char::is_whitespace) => {}
            "FAILURE_DETECTION_TIME" | "FAILBACK" | "TRACK_INTERFACES_ONLY_WITH_GROUPS" => {
                found.remarks.push((number, format!("{key} again: the first one counts", key = key.trim())));
            }
            _ => found
                .remarks
                .push((number, format!("{} is not carried over: in.mpathd does not know it", key.trim()))),
        }
    }
    found
}

fn detection_time(value: &str, line: usize, remarks: &mut Vec<(usize, String)>) -> u64 {
    // atoi(3): digits up to the first other character.
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number = value.get(..end).and_then(|digits| digits.parse::<u64>().ok());
    match number {
        None | Some(0) => {
            let text = format!("Invalid failure detection time {value}, assuming default of {DEFAULT_MS} ms");
            remarks.push((line, text));
            DEFAULT_MS
        }
        Some(ms) if ms < MIN_MS => {
            let text =
                format!("Too small failure detection time of {value}, assuming minimum of {MIN_MS} ms");
            remarks.push((line, text));
            MIN_MS
        }
        Some(ms) => ms,
    }
}

/// Anything but yes and no is yes, the default of both keys.
fn yes_or_no(key: &str, value: &str, line: usize, remarks: &mut Vec<(usize, String)>) -> bool {
    if value.eq_ignore_ascii_case("no") {
        return false;
    }
    if !value.eq_ignore_ascii_case("yes") {
        remarks.push((line, format!("Invalid value for {key} {value}; taken for yes, the default")));
    }
    true
}
