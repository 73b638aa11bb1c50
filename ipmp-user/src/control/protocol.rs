//! What goes over the control socket: one JSON object a line, each with the protocol's version.
//!
//! A client sends a [`Call`] and reads [`Answer`]s until the last one of that call: `status`, `done`, `end` and
//! `error` are last; `event`, `probe` and `dropped` are not. Then it may send another.

use serde::{Deserialize, Serialize};

use super::{feed::FinishedProbe, status::Status};
use crate::journal::Event;

/// Raised when an older peer would misunderstand. New optional fields do not raise it.
pub const VERSION: u32 = 1;

/// Longest line a client may send, its newline included. The longest call that means anything has 100 bytes.
pub const MAX_CALL: usize = 4096;

/// A client's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// [`VERSION`].
    pub version: u32,
    /// What is wanted.
    #[serde(flatten)]
    pub command: Command,
}

/// What a client may want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Groups, interfaces, addresses.
    Status,
    /// What happened.
    Events {
        /// `CLOCK_MONOTONIC` nanoseconds before which events are left out.
        #[serde(default)]
        since_ns: Option<u64>,
        /// Go on with what happens from now on.
        #[serde(default)]
        follow: bool,
    },
    /// Each probe as it is answered or lost, until the client hangs up.
    Probes,
    /// Root only.
    Offline {
        /// The interface.
        interface: String,
        /// Even if it is the last usable one.
        #[serde(default)]
        force: bool,
    },
    /// Root only.
    Online {
        /// The interface.
        interface: String,
    },
    /// Root only: reads the configuration file again.
    Reload,
    /// Root only: gives interfaces up, so that they can be removed.
    Detach(Detach),
    /// Root only: takes an interface up.
    Attach(Attach),
}

/// What to detach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detach {
    /// The interfaces, judged together.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// All interfaces of this PCI device, such as `0000:3b:00`, with or without its function.
    #[serde(default)]
    pub device: Option<String>,
    /// Only say whether it could be done.
    #[serde(default)]
    pub check: bool,
    /// Even if connectivity is lost.
    #[serde(default)]
    pub force: bool,
}

/// What to attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The interface.
    pub interface: String,
    /// The group to join, or to make; none if the interface is configured.
    #[serde(default)]
    pub group: Option<String>,
    /// As a spare.
    #[serde(default)]
    pub standby: bool,
    /// Its data addresses with prefix length; none: those found on it.
    #[serde(default)]
    pub data: Option<Vec<String>>,
    /// Its test addresses.
    #[serde(default)]
    pub test: Vec<String>,
    /// Also into the configuration file.
    #[serde(default)]
    pub persist: bool,
}

/// A daemon's line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// Its content.
    #[serde(flatten)]
    pub content: Content,
}

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Content {
    /// Last answer to `status`.
    Status {
        /// The document of `ipmp status --json`.
        status: Box<Status>,
    },
    /// One event, in order.
    Event {
        /// The object of `ipmp events --json`.
        event: Box<Event>,
    },
    /// A probe was answered or lost.
    Probe {
        /// Which, and its round trips.
        probe: FinishedProbe,
    },
    /// Events, or probes, were forgotten before this client came to read them.
    Dropped {
        /// How many.
        dropped: u64,
    },
    /// Last answer to `events` without `follow`.
    End,
    /// Last answer to a command that was carried out.
    Done {
        /// For people.
        message: String,
    },
    /// Last answer of a call that failed.
    Error {
        /// Why.
        error: Refusal,
    },
}

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: `what: where: what to do`.
    pub text: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The call is not understood, or of another version.
    BadCall,
    /// Only root may.
    NotPermitted,
    /// No such interface or group.
    NotFound,
    /// The daemon could, but must not: it would take the last usable interface away, for instance.
    Refused,
    /// The configuration would be, or is, invalid.
    InvalidConfig,
    /// It was begun, failed, and was undone.
    Failed,
    /// The daemon cannot do that.
    NotSupported,
    /// The daemon is too busy now.
    Busy,
    /// Too many clients are connected: this one was sent away before it was listened to.
    NoSeat,
}

impl Refusal {
    /// A refusal with a text `what: where: what to do`.
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl Content {
    /// The line with its newline.
    pub fn line(self) -> Vec<u8> {
        let answer = Answer { version: VERSION, content: self };
        // The types hold only strings, numbers, addresses and JSON values, which always serialize.
        let mut line = serde_json::to_vec(&answer).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Reads a client's line.
///
/// # Errors
/// A refusal that names both versions if they differ, else what is wrong with the line.
pub fn parse_call(line: &[u8]) -> Result<Call, Refusal> {
    #[derive(Deserialize)]
    struct AnyVersion {
        version: u32,
    }
    let any: AnyVersion = serde_json::from_slice(line).map_err(|error| bad_call(&error))?;
    if any.version != VERSION {
        let text = format!(
            "protocol version {}: control socket: this ipmpd speaks version {VERSION}; use the ipmp that came with it",
            any.version
        );
        return Err(Refusal::new(RefusalCode::BadCall, text));
    }
    serde_json::from_slice(line).map_err(|error| bad_call(&error))
}

fn bad_call(error: &serde_json::Error) -> Refusal {
    let text = format!("call not understood: control socket: {error}; send one JSON object a line");
    Refusal::new(RefusalCode::BadCall, text)
}
