//! `kill SIGNAL PID`: what the controller runs in a container to end it.
//!
//! PID 1 cannot be killed by SIGKILL from inside its own PID namespace, so a SIGKILL meant for an emissary is sent to its
//! mailbox; the emissary passes it to the user's processes, whose end is its own.
//!
//! Argo's controller has SIGTERM sent to every container as soon as `main` has ended, so that sidecars end; the Pod stays as
//! long as `wait` needs. That is not the kubelet's SIGTERM, which SIGKILL follows: `wait` gets another signal instead.

use std::ffi::OsString;

use tiphys_contract::container::is_auxiliary;
use tiphys_contract::path::ctr;

use crate::paths::Paths;
use crate::{mailbox, process};

/// To the container that reports results: do not wait for what has not ended within the grace period, and take the time that
/// is needed to save what is there. argo: wait goes on with a context of its own when SIGTERM comes.
pub const COLLECT: i32 = libc::SIGUSR2;

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
    let signal = match signal {
        libc::SIGTERM if container.is_some_and(is_auxiliary) => COLLECT,
        other => other,
    };
    process::kill(pid, signal).map_err(|error| format!("cannot send signal {signal} to process {pid}: {error}"))
}
