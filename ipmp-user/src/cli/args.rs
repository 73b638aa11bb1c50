//! What may be written on the command lines.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, builder::StyledStr};

use ipmp_common::engine::{
    config::{MAX_FAILURE_DETECTION_TIME, MIN_FAILURE_DETECTION_TIME},
    time::Nanos,
};

use super::exit;
use crate::import::From;

/// Where the daemon puts its control socket.
pub const DEFAULT_RUNTIME_DIR: &str = "/run/ipmp";
/// Where the kernel maps, programs and links are pinned.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/ipmp";
/// The configuration file.
pub const DEFAULT_CONFIG: &str = "/etc/ipmp/ipmpd.toml";

/// IP multipathing daemon.
#[derive(Debug, Parser)]
#[command(
    name = "ipmpd",
    version,
    about = "IP multipathing: watches the interfaces of every group and moves addresses away from failed ones",
    after_help = "\
Signals: SIGHUP reads the configuration again; SIGTERM leaves all addresses where they are and exits 0.\n\
Exit codes: 0 ok, 64 usage, 65 invalid configuration, 70 failed, 77 not permitted."
)]
pub struct DaemonArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Only check the configuration and print how it was understood
    #[arg(long)]
    pub check: bool,
    /// Put back what ipmpd changed on this host, once it has ended for good: settings, test addresses, programs and
    /// pins. Data addresses stay where they are
    #[arg(long, conflicts_with_all = ["check", "record"])]
    pub release: bool,
    /// Record everything the engine is told and asks for in a file, for `ipmp replay`; it grows without limit
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Directory of the control socket
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME_DIR)]
    pub runtime_dir: PathBuf,
    /// Directory of the pinned kernel maps, on a bpf file system
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pub pin_dir: PathBuf,
    /// What to log: error, warn, info, debug or trace; or a list of `MODULE=LEVEL`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// IP multipathing client.
#[derive(Debug, Parser)]
#[command(
    name = "ipmp",
    version,
    about = "IP multipathing: shows and steers the daemon ipmpd",
    after_help = "\
Exit codes: 0 ok, 3 no daemon, 64 usage, 65 invalid configuration, 69 refused, 70 failed and undone, 74 the daemon's\n\
answer was lost, 77 not permitted; `status` also 1 degraded, 2 failed; `doctor` 1 warnings, 2 problems; `replay` also\n\
1 if an action differs."
)]
pub struct ClientArgs {
    /// Directory of the daemon's control socket
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME_DIR, global = true)]
    pub runtime_dir: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands of `ipmp`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show groups, interfaces and addresses
    Status(StatusArgs),
    /// Show what happened and why
    Events(EventsArgs),
    /// Show the evidence behind an interface's state
    Explain(InterfaceArgs),
    /// Move an interface's addresses away and stop using it
    Offline(OfflineArgs),
    /// Use an interface again that was taken offline
    Online(InterfaceArgs),
    /// Give interfaces up so that they can be removed: addresses away, test addresses off, link down
    Detach(DetachArgs),
    /// Take an interface up: as the configuration has it, or into the group that is named
    Attach(AttachArgs),
    /// Read the configuration file again and change what differs
    Reload,
    /// Show what ipmpstat shows, as it shows it
    Stat(StatArgs),
    /// Show the status again and again, with the newest events
    Top(TopArgs),
    /// Look for what on this host would get in the way, and say what to do; changes nothing
    Doctor(DoctorArgs),
    /// Propose a configuration from another system's files, on standard output
    Import(ImportArgs),
    /// Foretell what a failure detection time means on a lossy path; needs no daemon
    Plan(PlanArgs),
    /// Run a recording of `ipmpd --record` through the engine and compare its actions; needs no daemon
    Replay(ReplayArgs),
}

/// `ipmp status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Only this group
    pub group: Option<String>,
    /// Also show every target with its round-trip times and counts, and the kernel's counters
    #[arg(short, long)]
    pub verbose: bool,
    /// As Solaris's ifconfig would show the interfaces
    #[arg(long, conflicts_with_all = ["verbose", "json"])]
    pub solaris: bool,
}

/// `ipmp top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Time between two looks, such as "500ms"
    #[arg(short = 'd', long, value_name = "TIME", value_parser = pause, default_value = "1s")]
    pub interval: Duration,
    /// Look so often, then end
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// `ipmp doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The daemon's configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
}

/// `ipmp stat`, and all of `ipmpstat`.
#[derive(Args, Clone, Debug)]
pub struct StatArgs {
    /// Data addresses
    #[arg(short, action = ArgAction::Count)]
    pub addresses: u8,
    /// Groups
    #[arg(short, action = ArgAction::Count)]
    pub groups: u8,
    /// Interfaces
    #[arg(short, action = ArgAction::Count)]
    pub interfaces: u8,
    /// Probes as they are answered or lost, until interrupted
    #[arg(short, action = ArgAction::Count)]
    pub probes: u8,
    /// Targets
    #[arg(short, action = ArgAction::Count)]
    pub targets: u8,
    /// IP addresses as numbers, even if /etc/hosts names them
    #[arg(short)]
    pub numeric: bool,
    /// Only these fields, in this order, separated by commas; or `all`
    #[arg(short = 'o', value_name = "FIELDS")]
    pub fields: Option<String>,
    /// For programs: no heading, fields separated by colons; needs -o
    #[arg(short = 'P')]
    pub parsable: bool,
}

/// The command line under the name `ipmpstat`.
#[derive(Debug, Parser)]
#[command(name = "ipmpstat", version, about = "Shows the state of IP multipathing")]
pub struct IpmpstatArgs {
    /// Directory of the daemon's control socket
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME_DIR)]
    pub runtime_dir: PathBuf,
    /// The rest
    #[command(flatten)]
    pub stat: StatArgs,
}

/// The command line under the name `if_mpadm`.
#[derive(Debug, Parser)]
#[command(
    name = "if_mpadm",
    version,
    about = "Takes an interface of an IPMP group offline, or back",
    override_usage = "if_mpadm [-d | -r] <interface>",
    group = ArgGroup::new("what").args(["offline", "online"]).required(true)
)]
pub struct IfMpadmArgs {
    /// Directory of the daemon's control socket
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME_DIR)]
    pub runtime_dir: PathBuf,
    /// Take this interface offline
    #[arg(short = 'd', value_name = "IFACE")]
    pub offline: Option<String>,
    /// Undo that
    #[arg(short = 'r', value_name = "IFACE")]
    pub online: Option<String>,
}

/// `ipmp import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The directory with the old system's files: its root, or its etc
    pub dir: PathBuf,
    /// What the directory holds
    #[arg(long, value_enum, default_value = "solaris")]
    pub from: From,
    /// An interface's old name and its name on this system; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = rename)]
    pub rename: Vec<(String, String)>,
}

/// `ipmp events`.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Only what happened since: a duration ago such as "10m", or a `t_ns` of an earlier event
    #[arg(long, value_name = "T", value_parser = since)]
    pub since: Option<Since>,
}

/// `ipmp plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The failure detection time, such as "100ms"
    #[arg(long, value_name = "TIME", value_parser = detection_time)]
    pub fdt: Nanos,
    /// Share of packets lost there and back, such as "0.5%" or 0.005
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub loss: f64,
    /// Mean length of a burst of loss, such as "5ms"
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "1ms")]
    pub burst: Nanos,
    /// Round-trip time to the probe targets
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "1ms")]
    pub rtt: Nanos,
    /// Interfaces that are probed
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub members: u32,
}

/// `ipmp replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// An interface to act on.
#[derive(Args, Debug)]
pub struct InterfaceArgs {
    /// The interface
    #[arg(value_name = "IFACE")]
    pub interface: String,
}

/// `ipmp offline`.
#[derive(Args, Debug)]
pub struct OfflineArgs {
    /// The interface
    #[arg(value_name = "IFACE")]
    pub interface: String,
    /// Even if it is the group's last usable interface
    #[arg(long)]
    pub force: bool,
}

/// `ipmp detach`.
#[derive(Args, Debug)]
pub struct DetachArgs {
    /// The interfaces, judged together
    #[arg(value_name = "IFACE", required_unless_present = "device", conflicts_with = "device")]
    pub interfaces: Vec<String>,
    /// All interfaces of this PCI device, such as 0000:3b:00
    #[arg(long, value_name = "PCI")]
    pub device: Option<String>,
    /// Only say whether it could be done
    #[arg(long)]
    pub check: bool,
    /// Even if no usable interface is left, or it is in no group
    #[arg(long)]
    pub force: bool,
}

/// `ipmp attach`.
#[derive(Args, Debug)]
pub struct AttachArgs {
    /// The interface
    #[arg(value_name = "IFACE")]
    pub interface: String,
    /// The group to join, or to make; left out for an interface that the configuration names
    #[arg(long, value_name = "G")]
    pub group: Option<String>,
    /// As a spare
    #[arg(long, requires = "group")]
    pub standby: bool,
    /// Data addresses with prefix length, separated by commas, or `none`; left out: those found on it
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', requires = "group")]
    pub data: Option<Vec<String>>,
    /// Test addresses, separated by commas
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', requires = "group")]
    pub test: Vec<String>,
    /// Also write it into the configuration file; without --group, as it is attached now
    #[arg(long)]
    pub persist: bool,
}

/// The value of `--since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So many nanoseconds ago.
    Ago(u64),
    /// `CLOCK_MONOTONIC` nanoseconds, as in `t_ns`.
    At(u64),
}

fn span(text: &str) -> Result<Nanos, String> {
    humantime::parse_duration(text)
        .ok()
        .and_then(|span| u64::try_from(span.as_nanos()).ok())
        .filter(|span| (1..=MAX_FAILURE_DETECTION_TIME.0).contains(span))
        .map(Nanos)
        .ok_or_else(|| {
            r#"write a duration above zero and up to an hour, such as "5ms" or "100us""#.to_owned()
        })
}

fn pause(text: &str) -> Result<Duration, String> {
    // The daemon answers no more often with something new.
    let shortest = Duration::from_millis(20);
    humantime::parse_duration(text)
        .ok()
        .filter(|pause| (shortest..=Duration::from_hours(1)).contains(pause))
        .ok_or_else(|| r#"write a duration from 20ms to an hour, such as "1s""#.to_owned())
}

fn detection_time(text: &str) -> Result<Nanos, String> {
    span(text).ok().filter(|fdt| *fdt >= MIN_FAILURE_DETECTION_TIME).ok_or_else(|| {
        format!(r#"write a duration from {MIN_FAILURE_DETECTION_TIME} to an hour, such as "100ms""#)
    })
}

fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().map(|number| number / unit).ok();
    share
        .filter(|share| (1e-9..=0.9).contains(share))
        .ok_or_else(|| r#"write a share above zero and up to 90 %, such as "0.5%" or 0.005"#.to_owned())
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(t_ns) = text.parse() {
        return Ok(Since::At(t_ns));
    }
    humantime::parse_duration(text)
        .map(|ago| Since::Ago(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)))
        .map_err(|_| r#"write a duration such as "10m" or "1h30m", or a t_ns such as 81234567890"#.to_owned())
}

fn rename(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        Some(_) | None => Err("write OLD=NEW, such as ce0=eth0".to_owned()),
    }
}

/// Parses the process's command line. `Err` is the exit code after help, or a usage error, was printed:
/// clap's own code for those is 2, which means "failed" to users of `ipmp status`.
pub fn parse<A: Parser>() -> Result<A, ExitCode> {
    parse_as("ipmp", exit::USAGE)
}

/// The same for a program of another name, with its own exit code for usage errors.
pub(super) fn parse_as<A: Parser>(program: &str, usage: u8) -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        if !error.use_stderr() {
            // Help or version; a reader that went away has seen enough.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let colours = std::io::stderr().is_terminal();
        let words = |text: StyledStr| if colours { text.ansi().to_string() } else { text.to_string() };
        let mut text = words(error.render());
        if !text.contains("Usage:") {
            // clap leaves it out where an option lacks its value.
            text.extend(["\n", &words(A::command().render_usage()), "\n"]);
        }
        let _ = std::io::stderr().write_all(error_text(program, &text).as_bytes());
        ExitCode::from(usage)
    })
}

/// clap's text under our own heading; where clap shows the help instead, as it is.
fn error_text(program: &str, text: &str) -> String {
    match text.split_once("error:") {
        Some((before, after)) if before.len() < "\u{1b}[1m\u{1b}[31m".len() + 1 => {
            format!("{program}: usage:{before}{after}")
        }
        Some(_) | None => format!("{program}: usage: a command is missing\n{text}"),
    }
}
