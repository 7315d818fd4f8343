//! `artifact-plugin-sidecar`: in a container of the plugin's own image, runs its server until `wait` needs it no more.
//!
//! The kubelet's SIGTERM is passed over: outputs are saved after it. Only the container's mailbox ends the server, as it ends
//! every container; what does not end by SIGTERM is killed after the grace period.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use nix::sys::stat::{Mode, umask};
use tiphys_contract::exit;
use tiphys_contract::path::ctr;

use crate::emissary::{Settings, find_program, reason};
use crate::mailbox::{self, Mailbox};
use crate::paths::Paths;
use crate::process::{self, Event, Events};
use crate::shared_files::{Context, FileError, create_open_dir, replace};

/// Runs the server to its end. However it ends, this container has done its part: the exit code is in the shared volume.
///
/// # Errors
/// The text for the user when the server could not be started.
pub fn run(paths: &Paths, settings: &Settings, words: &[OsString]) -> Result<i32, String> {
    umask(Mode::empty());
    let text = |error: FileError| error.to_string();
    let folder = paths.ctr(&settings.container);
    let mut events = Events::new().map_err(|error| format!("cannot watch for signals: {error}"))?;
    create_open_dir(&folder).map_err(text)?;
    let mailbox = folder.join(ctr::SIGNAL);
    events.receive(Mailbox::open(&mailbox).on("open", &mailbox).map_err(text)?);
    let ended = serve(settings, words, &mut events);
    let code = ended.as_ref().copied().unwrap_or(exit::EXECUTOR_FAILURE);
    replace(&folder.join(ctr::EXIT_CODE), code.to_string().as_bytes(), 0o644).map_err(text)?;
    ended.map(|_| 0)
}

fn serve(settings: &Settings, words: &[OsString], events: &mut Events) -> Result<i32, String> {
    let (name, args) = words.split_first().ok_or("no command: the plugin's image names no entrypoint")?;
    let program = find_program(name, std::env::var_os("PATH").as_deref())?;
    let mut command = Command::new(&program);
    command.args(args).process_group(0);
    process::unblock_signals(&mut command);
    let failed =
        |error: std::io::Error| format!("failed to start command: fork/exec {}: {}", program.display(), reason(&error));
    let child = command.spawn().map_err(failed)?.id() as i32;
    // To the whole group; one that is gone already has its end reported by SIGCHLD.
    let pass_on = |signal: i32| drop(process::kill(-child, signal));
    let mut kill_at = None;
    loop {
        match events.next(kill_at).map_err(|error| format!("cannot wait for events: {error}"))? {
            Event::Signal(libc::SIGCHLD) => {
                if let Some(exit) = process::reap(child) {
                    return Ok(exit.code);
                }
            }
            Event::Signal(libc::SIGTERM | libc::SIGINT | libc::SIGURG) | Event::Files => {}
            Event::Signal(signal) => pass_on(signal),
            Event::Mail(signal) => {
                pass_on(signal);
                if signal == libc::SIGTERM {
                    kill_at.get_or_insert(Instant::now() + settings.grace);
                }
            }
            Event::Elapsed => {
                kill_at = None;
                pass_on(libc::SIGKILL);
            }
        }
    }
}

/// Tells plugins' containers, named as in `ARGO_ARTIFACT_PLUGIN_NAMES`, that they are needed no more.
pub fn end_all(paths: &Paths, containers: &[String]) {
    for container in containers {
        let folder = paths.ctr(container);
        let told = create_open_dir(&folder).and_then(|()| mailbox::send(&folder.join(ctr::SIGNAL), libc::SIGTERM));
        if let Err(error) = told {
            eprintln!("cannot end container {container}: {error}");
        }
    }
}
