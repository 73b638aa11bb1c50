//! Exit codes and how errors reach the user. 64, 65, 69, 74 and 77 are sysexits(3)'s.

use std::{fmt::Display, process::ExitCode};

/// `ipmp status`: some group is degraded.
pub const DEGRADED: u8 = 1;
/// `ipmp status`: some group has failed.
pub const FAILED: u8 = 2;
/// No daemon answers.
pub const NO_DAEMON: u8 = 3;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The configuration is invalid.
pub const INVALID_CONFIG: u8 = 65;
/// The daemon refused, or cannot do it now.
pub const REFUSED: u8 = 69;
/// The daemon ended with an error, or an order failed and was undone.
pub const SOFTWARE: u8 = 70;
/// Talking to the daemon went wrong.
pub const IO: u8 = 74;
/// The user may not do that.
pub const NOT_PERMITTED: u8 = 77;

/// An error on its way out: its text is `what: where: what to do`.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// The text, without the leading `ipmp: `.
    pub text: String,
}

impl Failure {
    /// A failure with exit code `code`.
    pub fn new(code: u8, text: impl Display) -> Self {
        Self { code, text: text.to_string() }
    }

    /// Prints `ipmp: what: where: what to do` to standard error and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // A closed standard error leaves nobody to tell.
        let _ =
            std::io::Write::write_all(&mut std::io::stderr(), format!("ipmp: {}\n", self.text).as_bytes());
        ExitCode::from(self.code)
    }
}
