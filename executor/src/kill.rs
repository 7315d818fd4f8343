//! `kill SIGNAL PID`: what the controller runs in a container to end it.
//!
//! PID 1 cannot be killed by SIGKILL from inside its own PID namespace, so a SIGKILL meant for an emissary is sent to its
//! mailbox; the emissary passes it to the user's processes, whose end is its own.

use std::ffi::OsString;

use tiphys_contract::path::ctr;

use crate::paths::Paths;
use crate::{mailbox, process};

/// Runs the sub-command; `container` is the container's name when the environment has it.
///
/// # Errors
/// The text for the user: bad arguments, or the signal could not be delivered.
pub fn run(paths: &Paths, container: Option<&str>, args: &[OsString]) -> Result<(), String> {
    let [signal, pid] = args else {
        return Err("usage: kill SIGNAL PID".to_owned());
    };
    let number = |what: &str, text: &OsString| {
        text.to_str()
            .and_then(|text| text.parse::<i32>().ok())
            .ok_or_else(|| format!("{what} {text:?} is not a number"))
    };
    let (signal, pid) = (number("signal", signal)?, number("pid", pid)?);
    if signal == libc::SIGKILL
        && pid == 1
        && let Some(folder) = container.map(|name| paths.ctr(name)).filter(|folder| folder.is_dir())
    {
        return mailbox::send(&folder.join(ctr::SIGNAL), signal).map_err(|error| error.to_string());
    }
    process::kill(pid, signal).map_err(|error| format!("cannot send signal {signal} to process {pid}: {error}"))
}
