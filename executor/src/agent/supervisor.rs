//! `supervisor`: does the work of `init` and `wait` in a Pod that has no init container. The user's containers start together
//! with it; their emissaries wait for its word (argo: cmd/argoexec/commands/supervisor.go).

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, umask};
use tiphys_contract::exit;

use super::ending::Ending;
use super::inputs::Kept;
use super::journal::Journal;
use super::report::Reports;
use super::settings::Settings;
use super::wait::Wait;
use super::{init, template};
use crate::cluster::{ClusterError, Config};
use crate::kill::COLLECT;
use crate::paths::Paths;
use crate::process::{self, Event, Events};
use crate::shared_files::{FileError, create_open_dir, replace};

/// How often the emissaries are shown that this process lives while it prepares the Pod. After 30 s without they give up.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Prepares the Pod, lets the user's containers go, and is `wait` from there on.
///
/// # Errors
/// The text for the user of what kept it from beginning; the emissaries have been told.
pub fn run(
    paths: &Paths,
    settings: &Settings,
    cluster: impl FnOnce() -> Result<Option<Config>, ClusterError>,
) -> Result<i32, String> {
    umask(Mode::empty());
    let mut journal = Journal::open(paths)?;
    if let Some(before) = journal.delivered() {
        return before.map(|()| 0);
    }
    let mut events = Events::new().map_err(|error| format!("cannot watch for signals: {error}"))?;
    create_open_dir(&paths.shared).map_err(|error| error.to_string())?;
    let ending = Ending::new(settings.grace);
    let json = template::read(paths, settings).inspect_err(|error| fail(paths, error))?;
    let mut template = template::parse(&json).inspect_err(|error| fail(paths, error))?;
    // Nothing is mounted where inputs are: the emissary links them, and hands over what lies behind the links.
    template.inputs.artifacts.iter_mut().for_each(|input| input.path.clear());
    // First of all: without a way for the results nothing should be run.
    let reports =
        Reports::open(paths, settings, &template, &ending, cluster).inspect_err(|error| fail(paths, error))?;
    let prepared = match journal.is_prepared() {
        // Killed and started again while the user's containers run: what they read must not be touched.
        true => Ok(()),
        false => match prepare(paths, settings, json, &mut events)? {
            Some(prepared) => prepared,
            None => return Ok(exit::TERMINATED),
        },
    };
    // Noted before it is shown: whoever is started after a kill must not touch what the containers read already.
    let prepared = prepared.and_then(|()| {
        journal.note_prepared();
        mark(paths, "READY\n").map_err(|error| error.to_string())
    });
    match &prepared {
        Ok(()) => tracing::info!("the Pod is prepared"),
        Err(error) => fail(paths, error),
    }
    Ok(Wait { paths, settings, template: &template, ending: &ending, reports, journal, events }.run(prepared))
}

/// Delivers what the user's containers need on a thread of its own; this one shows that the process lives, and hears when
/// the Pod must end. None when it must: nothing has been done yet that would have to be kept.
fn prepare(
    paths: &Paths,
    settings: &Settings,
    json: String,
    events: &mut Events,
) -> Result<Option<Result<(), String>>, String> {
    let beat = || mark(paths, "RUNNING\n");
    beat().map_err(|error| format!("cannot show that this process lives: {error}"))?;
    let (tell, told) = mpsc::channel();
    let (own_paths, own_settings) = (paths.clone(), settings.clone());
    let stage = move || {
        // Nobody listens when the Pod ends.
        let _ = tell.send(init::stage(&own_paths, &own_settings, &json, Kept::Anyhow));
        // The other thread waits for signals; one that could not be sent is noticed at the next heartbeat.
        let _ = process::kill(std::process::id() as i32, libc::SIGUSR1);
    };
    let started = thread::Builder::new().spawn(stage);
    started.map_err(|error| format!("cannot start a thread that prepares the Pod: {error}"))?;
    let mut next = Instant::now() + HEARTBEAT;
    loop {
        match told.try_recv() {
            Ok(prepared) => return Ok(Some(prepared)),
            Err(mpsc::TryRecvError::Disconnected) => return Ok(Some(Err("preparing the Pod ended early".to_owned()))),
            Err(mpsc::TryRecvError::Empty) => {}
        }
        match events.next(Some(next)).map_err(|error| format!("cannot wait for events: {error}"))? {
            Event::Signal(libc::SIGTERM | libc::SIGINT | COLLECT) => return Ok(None),
            Event::Elapsed => {
                if let Err(error) = beat() {
                    tracing::warn!("cannot show that this process lives: {error}");
                }
                next = Instant::now() + HEARTBEAT;
            }
            Event::Signal(_) | Event::Mail(_) | Event::Files => {}
        }
    }
}

/// Tells the emissaries why the user's containers must not start. Should that fail too they notice the silence.
fn fail(paths: &Paths, error: &str) {
    if let Err(unmarked) = mark(paths, &format!("FAILED\n{error}")) {
        tracing::error!("cannot tell the emissaries of the failure: {unmarked}");
    }
}

fn mark(paths: &Paths, text: &str) -> Result<(), FileError> {
    replace(&paths.status(), text.as_bytes(), 0o644)
}
