//! `wait`: beside the user's containers until they have ended, then their results go to the driver.
//!
//! argo: workflow/executor/postmain.go. The wait is one poll on signals, files and times; nothing is asked again.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::stat::{Mode, umask};
use tiphys_api::{Outputs, Template};
use tiphys_contract::{ResultSink, TaskResult};

use super::mains::Mains;
use super::settings::Settings;
use super::{outputs, progress, report, results, template};
use crate::paths::Paths;
use crate::process::{Event, Events};
use crate::shared_files::{Context, FileError, report_failure};

/// After SIGKILL a container has this long to show that it is gone.
const AFTER_KILL: Duration = Duration::from_secs(10);
/// What the termination message says when the deadline passed (argo: executor.go, monitorDeadline).
const DEADLINE_MESSAGE: &str = "Step exceeded its deadline";

/// Waits for the user's containers, saves their outputs and reports.
///
/// # Errors
/// The text for the user. What could be saved is saved and reported also then.
pub fn run(paths: &Paths, settings: &Settings) -> Result<(), String> {
    umask(Mode::empty());
    let sink = ResultSink::parse(settings.result_sink.as_deref()).map_err(|error| error.to_string())?;
    let mut events = Events::new().map_err(|error| format!("cannot watch for signals: {error}"))?;
    let template = template::parse(&template::read(paths, settings)?)?;
    let mains = Mains::watch(paths, template::mains(&template), &mut events).map_err(|error| error.to_string())?;
    let mut watch = Watch { paths, settings, sink: &sink, mains, progress: Progress::default() };
    let waited = watch.until_over(&mut events);
    let progress = watch.progress.last;
    // The kernel takes some 10 ms to give up the watches; they need not be waited for.
    let _ = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || drop(events));
    let (outputs, mut errors) = collect(paths, settings, &template);
    if let Err(error) = waited {
        errors.insert(0, error);
    }
    if let Err(error) = report::deliver(&sink, &TaskResult { outputs: Some(outputs), progress }) {
        errors.push(error);
    }
    let mut errors = errors.into_iter();
    let first = errors.next();
    // The termination message has room for one; the log has it for all.
    errors.for_each(|error| eprintln!("Error: {error}"));
    first.map_or(Ok(()), Err)
}

/// Everything that the step left, and what went wrong with it in the order in which Argo would tell.
fn collect(paths: &Paths, settings: &Settings, template: &Template) -> (Outputs, Vec<String>) {
    let mut outputs = template.outputs.clone();
    let mut errors = Vec::new();
    if settings.include_output && template::has_result(template) {
        match results::script_result(paths) {
            Ok(result) => outputs.result = result,
            Err(error) => errors.push(error),
        }
    }
    let (parameters, failure) = results::parameters(paths, template);
    outputs.parameters = parameters;
    errors.extend(failure.err());
    let saved = outputs::save(paths, settings, template, &template::mains(template));
    outputs.artifacts = saved.artifacts;
    errors.extend(saved.errors);
    (outputs, errors)
}

/// The time between the start and the end of the user's containers.
struct Watch<'a> {
    paths: &'a Paths,
    settings: &'a Settings,
    sink: &'a ResultSink,
    mains: Mains<'a>,
    progress: Progress,
}

/// What happens to containers that have not ended, and when.
#[derive(Clone, Copy)]
enum Next {
    /// Nothing.
    Never,
    /// The step's deadline passes.
    Terminate(Instant),
    /// The grace period is over.
    Kill(Instant),
    /// They are given up, and what is there is collected.
    GiveUp(Instant),
}

impl Next {
    fn at(self) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::Terminate(at) | Self::Kill(at) | Self::GiveUp(at) => Some(at),
        }
    }
}

/// Progress as it was last seen, and when it may be told.
#[derive(Default)]
struct Progress {
    last: String,
    told: String,
    next: Option<Instant>,
}

impl Watch<'_> {
    /// Returns when all mains have ended or there is no use in waiting longer.
    fn until_over(&mut self, events: &mut Events) -> Result<(), String> {
        let text = |error: FileError| error.to_string();
        let folder = self.settings.progress_file.as_deref().and_then(Path::parent);
        if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
            events.watch(folder).on("watch", folder).map_err(text)?;
        }
        // From here on the clock on the wall is not asked again: it may be set.
        let left = |deadline: SystemTime| deadline.duration_since(SystemTime::now()).unwrap_or_default();
        let mut next = self.settings.deadline.map_or(Next::Never, |at| Next::Terminate(Instant::now() + left(at)));
        loop {
            let over = self.mains.have_ended();
            self.follow_progress();
            if over {
                return Ok(());
            }
            let until = [next.at(), self.progress.next].into_iter().flatten().min();
            match events.next(until).map_err(|error| format!("cannot wait for events: {error}"))? {
                Event::Signal(libc::SIGTERM | libc::SIGINT) => {
                    if !self.mains.any_runs() {
                        return Ok(());
                    }
                    // They were told as well. Half of the time is theirs, half is for what they leave.
                    let at = Instant::now() + self.settings.grace / 2;
                    next = Next::GiveUp(next.at().filter(|_| matches!(next, Next::GiveUp(_))).unwrap_or(at).min(at));
                }
                Event::Signal(_) | Event::Mail(_) | Event::Files => {}
                Event::Elapsed => {
                    if next.at().is_some_and(|at| at <= Instant::now()) {
                        next = match next {
                            Next::Never => Next::Never,
                            Next::Terminate(_) => {
                                report_failure(&self.paths.termination_log, DEADLINE_MESSAGE);
                                self.mains.signal(libc::SIGTERM).map_err(text)?;
                                Next::Kill(Instant::now() + self.settings.grace)
                            }
                            Next::Kill(_) => {
                                self.mains.signal(libc::SIGKILL).map_err(text)?;
                                Next::GiveUp(Instant::now() + AFTER_KILL)
                            }
                            Next::GiveUp(_) => return Ok(()),
                        };
                    }
                }
            }
        }
    }

    /// Looks at the progress file, and reports at most once a tick; the first report comes at once.
    fn follow_progress(&mut self) {
        let Some(file) = &self.settings.progress_file else {
            return;
        };
        if let Some(progress) = progress::read(file) {
            self.progress.last = progress;
        }
        let now = Instant::now();
        if self.progress.next.is_some_and(|at| now < at) {
            return;
        }
        self.progress.next = None;
        if self.progress.last != self.progress.told {
            let result = TaskResult { outputs: None, progress: self.progress.last.clone() };
            // Progress that cannot be told is told with the results; those must arrive.
            let _ = report::deliver(self.sink, &result);
            self.progress.told.clone_from(&self.progress.last);
            self.progress.next = Some(now + self.settings.progress_tick);
        }
    }
}
