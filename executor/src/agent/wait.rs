//! `wait`: beside the user's containers until they have ended, then their results go to the driver.
//!
//! argo: workflow/executor/postmain.go. The wait is one poll on signals, files and times; nothing is asked again.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::stat::{Mode, umask};
use tiphys_api::{Outputs, Template};
use tiphys_contract::{TaskResult, exit};

use super::ending::Ending;
use super::journal::Journal;
use super::mains::Mains;
use super::report::{By, Reports};
use super::settings::Settings;
use super::{ends, mains, outputs, own_work, progress, results, template};
use crate::cluster::{ClusterError, Config};
use crate::kill::COLLECT;
use crate::paths::Paths;
use crate::process::{Event, Events};
use crate::shared_files::{Context, FileError, report_failure};
use crate::sidecar;

/// After SIGKILL a container has this long to show that it is gone.
const AFTER_KILL: Duration = Duration::from_secs(10);
/// What the termination message says when the deadline passed (argo: executor.go, monitorDeadline).
const DEADLINE_MESSAGE: &str = "Step exceeded its deadline";

/// Waits for the user's containers, saves their outputs and reports. Returns the exit code; of failures it has told the
/// first in the termination message, and all in the log.
///
/// # Errors
/// The text for the user of what kept it from beginning.
pub fn run(
    paths: &Paths,
    settings: &Settings,
    cluster: impl FnOnce() -> Result<Option<Config>, ClusterError>,
) -> Result<i32, String> {
    umask(Mode::empty());
    let journal = Journal::open(paths)?;
    if let Some(before) = journal.delivered() {
        return before.map(|()| 0);
    }
    let events = Events::new().map_err(|error| format!("cannot watch for signals: {error}"))?;
    let template = template::parse(&template::read(paths, settings)?)?;
    let ending = Ending::new(settings.grace);
    let reports = Reports::open(paths, settings, &template, &ending, cluster)?;
    Ok(Wait { paths, settings, template: &template, ending: &ending, reports, journal, events }.run(Ok(())))
}

/// What there is to wait with.
pub struct Wait<'a> {
    /// Where the Pod's files are.
    pub paths: &'a Paths,
    /// What was set.
    pub settings: &'a Settings,
    /// What the Pod runs.
    pub template: &'a Template,
    /// The time after the containers' end.
    pub ending: &'a Ending,
    /// Where results go.
    pub reports: Reports<'a>,
    /// What an earlier process has done.
    pub journal: Journal,
    /// Signals and changed files.
    pub events: Events,
}

impl Wait<'_> {
    /// Waits, saves, reports; `prepared` is what came of preparing the Pod. Where that failed only logs are saved.
    pub fn run(mut self, prepared: Result<(), String>) -> i32 {
        let (paths, settings) = (self.paths, self.settings);
        let mains = Mains::watch(paths, template::mains(self.template), &mut self.events);
        let mut watch =
            Watch { paths, settings, ending: self.ending, progress: Progress::default(), past_deadline: false };
        let waiting = tracing::info_span!("waitWorkload").entered();
        let waited = mains
            .map_err(|error| error.to_string())
            .and_then(|mains| watch.until_over(mains, &mut self.events, &mut self.reports));
        drop(waiting);
        let Watch { progress, past_deadline, .. } = watch;
        if self.template.resource.is_none() {
            template::mains(self.template).iter().for_each(|name| mains::tell(paths, name));
        }
        self.ending.listen(self.events);
        tracing::info!("the user's containers have ended");

        let mut failures: Vec<String> = [prepared.clone().err(), waited.err()].into_iter().flatten().collect();
        let left = Left { paths, settings, template: self.template, ending: self.ending };
        let mut result = left.collect(prepared.is_ok(), self.reports.keeps_last(), &mut self.journal, &mut failures);
        result.progress = progress.last;
        result.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if self.reports.as_argo() {
            // Argo's controller tells what it sees itself.
            result.warnings.clear();
        } else {
            result.ends = ends::of(paths, &template::mains(self.template), past_deadline);
        }
        let told = match failures.first() {
            Some(failure) => failure.clone(),
            None if past_deadline => DEADLINE_MESSAGE.to_owned(),
            None => String::new(),
        };
        let delivered = {
            let span = tracing::info_span!("createTaskResult", error = tracing::field::Empty);
            let _entered = span.enter();
            let delivered = self.reports.deliver(result, &told);
            delivered.failures.first().into_iter().for_each(|failure| {
                span.record("error", failure.as_str());
            });
            delivered
        };
        // Nothing is saved after this.
        sidecar::end_all(paths, &settings.plugin_containers);
        let arrived = delivered.failures.is_empty();
        failures.extend(delivered.failures);
        if arrived && delivered.by == By::Calls {
            self.journal.note_delivered(failures.first().map(String::as_str));
        }
        let in_message = arrived && delivered.by == By::Message;
        for (index, failure) in failures.iter().enumerate() {
            match index {
                // The termination message has room for one; the log has it for all.
                0 if !in_message => report_failure(&paths.termination_log, failure),
                _ => eprintln!("Error: {failure}"),
            }
        }
        if failures.is_empty() { 0 } else { exit::EXECUTOR_FAILURE }
    }
}

/// What the step left.
struct Left<'a> {
    paths: &'a Paths,
    settings: &'a Settings,
    template: &'a Template,
    ending: &'a Ending,
}

impl Left<'_> {
    /// Collects everything; what goes wrong with it comes in the order in which Argo would tell.
    fn collect(
        &self,
        was_prepared: bool,
        keeps_last: bool,
        journal: &mut Journal,
        failures: &mut Vec<String>,
    ) -> TaskResult {
        let Self { paths, settings, template, ending } = self;
        let mut result = TaskResult::default();
        let has_outputs = was_prepared && template.resource.is_none();
        let mut outputs = match template.resource {
            _ if !was_prepared => Outputs::default(),
            Some(_) => own_work::left(paths).unwrap_or_else(|error| {
                failures.push(error);
                Outputs::default()
            }),
            None => template.outputs.clone(),
        };
        if has_outputs {
            if settings.include_output && template::has_result(template) {
                let _span = tracing::info_span!("captureScriptResult").entered();
                match results::script_result(paths, keeps_last) {
                    Ok(script) => {
                        outputs.result = script.text;
                        result.warnings.extend(script.warning);
                    }
                    Err(error) => failures.push(error),
                }
            }
            let span =
                (!template.outputs.parameters.is_empty()).then(|| tracing::info_span!("saveParameters").entered());
            let (parameters, failure) = results::parameters(paths, template);
            drop(span);
            outputs.parameters = parameters;
            failures.extend(failure.err());
        }
        let artifacts = if has_outputs { &template.outputs.artifacts[..] } else { &[] };
        let what = outputs::What { paths, settings, template, artifacts, containers: &template::mains(template) };
        let saved = outputs::save(&what, journal, ending);
        outputs.artifacts = saved.artifacts;
        failures.extend(saved.errors);
        result.outputs = Some(outputs);
        result
    }
}

/// The time between the start and the end of the user's containers.
struct Watch<'a> {
    paths: &'a Paths,
    settings: &'a Settings,
    ending: &'a Ending,
    progress: Progress,
    past_deadline: bool,
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
    fn until_over(
        &mut self,
        mut mains: Mains<'_>,
        events: &mut Events,
        reports: &mut Reports<'_>,
    ) -> Result<(), String> {
        let text = |error: FileError| error.to_string();
        let folder = self.settings.progress_file.as_deref().and_then(Path::parent);
        if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
            events.watch(folder).on("watch", folder).map_err(text)?;
        }
        // From here on the clock on the wall is not asked again: it may be set.
        let left = |deadline: SystemTime| deadline.duration_since(SystemTime::now()).unwrap_or_default();
        let mut next = self.settings.deadline.map_or(Next::Never, |at| Next::Terminate(Instant::now() + left(at)));
        loop {
            let over = mains.have_ended();
            self.follow_progress(reports);
            if over {
                return Ok(());
            }
            let until = [next.at(), self.progress.next].into_iter().flatten().min();
            match events.next(until).map_err(|error| format!("cannot wait for events: {error}"))? {
                Event::Signal(signal @ (libc::SIGTERM | libc::SIGINT | COLLECT)) => {
                    if signal != COLLECT {
                        self.ending.told();
                    }
                    if !mains.any_runs() {
                        return Ok(());
                    }
                    // They were told as well, and are killed when the grace period is over. If the Pod ends with it, half of
                    // the time is theirs and half is for what they leave.
                    let theirs =
                        if signal == COLLECT { self.settings.grace + AFTER_KILL } else { self.settings.grace / 2 };
                    let at = Instant::now() + theirs;
                    next = Next::GiveUp(next.at().filter(|_| matches!(next, Next::GiveUp(_))).unwrap_or(at).min(at));
                }
                Event::Signal(_) | Event::Mail(_) | Event::Files => {}
                Event::Elapsed => {
                    if next.at().is_some_and(|at| at <= Instant::now()) {
                        next = match next {
                            Next::Never => Next::Never,
                            Next::Terminate(_) => {
                                self.past_deadline = true;
                                report_failure(&self.paths.termination_log, DEADLINE_MESSAGE);
                                mains.signal(libc::SIGTERM).map_err(text)?;
                                Next::Kill(Instant::now() + self.settings.grace)
                            }
                            Next::Kill(_) => {
                                mains.signal(libc::SIGKILL).map_err(text)?;
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
    fn follow_progress(&mut self, reports: &mut Reports<'_>) {
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
            reports.progress(&self.progress.last);
            self.progress.told.clone_from(&self.progress.last);
            self.progress.next = Some(now + self.settings.progress_tick);
        }
    }
}
