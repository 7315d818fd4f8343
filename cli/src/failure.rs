//! How a command fails: what to say, and the exit status.

use std::fmt::Display;
use std::process::ExitCode;

/// The workflow failed, or what was asked for could not be done.
pub const FAILED: u8 = 1;
/// A manifest is invalid.
pub const INVALID: u8 = 2;
/// Bad usage or configuration.
pub const USAGE: u8 = 64;

/// Why a command ends without success.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: Option<String>,
    /// Whether the reason is that no cluster is known.
    nowhere: bool,
}

impl Failure {
    /// The command line, a setting or a file is not as it should be.
    pub fn usage(message: impl Display) -> Failure {
        Failure { code: USAGE, message: Some(message.to_string()), nowhere: false }
    }

    /// A manifest is invalid; what is wrong has been shown, or is the message.
    pub fn invalid(message: Option<String>) -> Failure {
        Failure { code: INVALID, message, nowhere: false }
    }

    /// What was asked for could not be done, or came out badly; if there is no message, that has been shown.
    pub fn failed(message: Option<String>) -> Failure {
        Failure { code: FAILED, message, nowhere: false }
    }

    /// No cluster is known.
    pub fn nowhere(message: impl Display) -> Failure {
        Failure { nowhere: true, ..Failure::usage(message) }
    }

    /// Whether the reason is that no cluster is known.
    pub fn is_nowhere(&self) -> bool {
        self.nowhere
    }

    /// What is to be said, if anything.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Says why and gives the status.
    pub fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("tiphys: {message}");
        }
        ExitCode::from(self.code)
    }
}
