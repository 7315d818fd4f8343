//! Saves output artifacts and logs, several at once, each straight from where it lies to its store.

use std::cell::RefCell;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use tiphys_api::{Artifact, ArtifactLocation, Template};
use tiphys_artifact::archive::{Level, Strategy};
use tiphys_artifact::{Artifacts, Body, Opened, Source, Unresolved, strategy};
use tiphys_contract::key::{self, Packing};
use tiphys_contract::path::ctr;
use tokio::sync::Semaphore;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::ending::Ending;
use super::journal::Journal;
use super::settings::Settings;
use super::{locations, template, transfers};
use crate::paths::{self, Paths};

/// What was saved, and the first thing that was not.
#[derive(Debug, Default)]
pub struct Saved {
    /// Artifacts as they are reported, in the template's order, logs last.
    pub artifacts: Vec<Artifact>,
    /// The texts for the user, one for all artifacts and one a log, as Argo tells them.
    pub errors: Vec<String>,
}

/// One thing to save.
struct Job {
    /// What it is called in the journal.
    id: String,
    /// As it is reported.
    reported: Artifact,
    /// With the whole of its location.
    whole: Artifact,
    content: Content,
}

/// Where a job's bytes are.
enum Content {
    /// An uncompressed tar that the emissary made.
    Tar(Opened),
    /// The file or folder itself.
    Itself(Opened),
    /// A log, stored as it is.
    Log(Opened),
    /// In the store already.
    Saved,
}

impl Job {
    /// What an earlier process has saved.
    fn done(reported: &Artifact) -> Self {
        Self { id: String::new(), reported: reported.clone(), whole: Artifact::default(), content: Content::Saved }
    }

    /// What is told of the upload.
    fn span(&self, of_artifacts: &Span, of_logs: &Span) -> Span {
        match self.content {
            Content::Tar(_) | Content::Itself(_) => {
                tracing::info_span!(parent: of_artifacts, "saveArtifact", error = Empty)
            }
            Content::Log(_) => {
                let container = self.reported.name.strip_suffix("-logs").unwrap_or(&self.reported.name);
                tracing::info_span!(parent: of_logs, "saveContainerLogs", container_name = container, error = Empty)
            }
            Content::Saved => Span::none(),
        }
    }

    fn failed(&self, reason: impl Display) -> String {
        format!("artifact {} failed to save: {reason}", self.reported.name)
    }
}

/// What to save.
#[derive(Clone, Copy)]
pub struct What<'a> {
    /// Where the Pod's files are.
    pub paths: &'a Paths,
    /// How artifacts are transferred.
    pub settings: &'a Settings,
    /// What the Pod runs.
    pub template: &'a Template,
    /// The outputs.
    pub artifacts: &'a [Artifact],
    /// Containers whose logs are saved, where logs are.
    pub containers: &'a [&'a str],
}

/// Saves the outputs and, where logs are archived, the log of each container that has one. What the journal has as
/// saved is not saved again; what the time does not suffice for has failed.
pub fn save(what: &What<'_>, journal: &mut Journal, ending: &Ending) -> Saved {
    let What { paths, settings, template, artifacts, containers } = *what;
    let mut saved = Saved::default();
    let mut failures = Vec::new();
    let mut jobs = Vec::new();
    for artifact in artifacts {
        let job = match journal.saved(&id_of_output(&artifact.name)) {
            Some(before) => Ok(Some(Job::done(before))),
            None => output(paths, template, artifact),
        };
        match job {
            Ok(job) => jobs.extend(job),
            Err(failure) => failures.push(failure),
        }
    }
    let outputs = jobs.len();
    if template::archives_logs(template) {
        for container in containers {
            let job = match journal.saved(&id_of_log(container)) {
                Some(before) => Ok(Some(Job::done(before))),
                None => log(paths, template.archive_location.as_deref(), container),
            };
            match job {
                Ok(job) => jobs.extend(job),
                Err(failure) => saved.errors.push(failure),
            }
        }
    }
    let results = match jobs.iter().all(|job| matches!(job.content, Content::Saved)) {
        true => Ok(jobs.iter().map(|_| Ok(())).collect()),
        false => {
            let journal = RefCell::new(journal);
            let (of_artifacts, of_logs) = spans(&jobs);
            transfers::run_saving(paths, settings, ending, async |artifacts| {
                let large = Semaphore::new(1);
                let upload = async |job: &Job| {
                    let span = job.span(&of_artifacts, &of_logs);
                    let in_time =
                        ending.transfers.bound(in_turn(artifacts, job, &large)).instrument(span.clone()).await;
                    let saved = in_time.unwrap_or_else(|| Err(job.failed(transfers::OUT_OF_TIME)));
                    saved.inspect_err(|failure| {
                        span.record("error", failure.as_str());
                    })?;
                    if !matches!(job.content, Content::Saved) {
                        journal.borrow_mut().note_saved(&job.id, &job.reported);
                    }
                    Ok(())
                };
                transfers::all(jobs.iter().map(upload)).await
            })
        }
    };
    match results {
        Err(failure) => saved.errors.insert(0, failure),
        Ok(results) => {
            for (index, (job, result)) in jobs.into_iter().zip(results).enumerate() {
                match result {
                    Ok(()) => {
                        if settings.remove_local_artifacts {
                            remove(paths, &job.content);
                        }
                        saved.artifacts.push(job.reported);
                    }
                    Err(failure) if index < outputs => failures.push(failure),
                    Err(failure) => saved.errors.push(failure),
                }
            }
        }
    }
    if !failures.is_empty() {
        saved.errors.insert(0, failures.join("; "));
    }
    saved
}

/// What is told of all uploads of artifacts, and of all of logs, where there are any.
fn spans(jobs: &[Job]) -> (Span, Span) {
    let is_log = |job: &Job| matches!(job.content, Content::Log(_));
    let is_artifact = |job: &Job| matches!(job.content, Content::Tar(_) | Content::Itself(_));
    let artifacts = if jobs.iter().any(is_artifact) { tracing::info_span!("saveArtifacts") } else { Span::none() };
    let logs = if jobs.iter().any(is_log) { tracing::info_span!("saveLogs") } else { Span::none() };
    (artifacts, logs)
}

/// The job of an output; none for an optional one that is not there.
fn output(paths: &Paths, template: &Template, artifact: &Artifact) -> Result<Option<Job>, String> {
    let mut artifact = artifact.clone();
    artifact.path = locations::clean_path(&artifact)?;
    let path = artifact.path.as_str();
    let strategy = strategy(&artifact).map_err(|error| error.to_string())?.unwrap_or(Strategy::Tar(Level::DEFAULT));
    let packing = match strategy {
        Strategy::Tar(_) => Packing::Tar,
        Strategy::Zip => Packing::Zip,
        Strategy::None => Packing::None,
    };
    let staged = |file: PathBuf| Opened::beneath(&paths.shared, &file);
    let found = match (packing, template::is_in_main(template, path)) {
        (Packing::Tar, true) => staged(paths.staged_tar(&artifact.name)).map(Content::Tar),
        (_, true) => staged(paths.staged_artifact(&artifact.name)).map(Content::Itself),
        // What `main` would find there: links lead to its own volumes, never to a file of this container.
        (_, false) => Opened::within(&paths.main_filesystem, &paths::in_main(path)).map(Content::Itself),
    };
    let content = match found {
        Ok(content) => content,
        Err(Unresolved::Missing) if artifact.optional => return Ok(None),
        Err(Unresolved::Missing) => {
            return Err(format!("output artifact {:?}: {path} does not exist in container main", artifact.name));
        }
        Err(astray @ Unresolved::Astray { .. }) if artifact.optional => {
            tracing::warn!("the optional output artifact {:?} is left out: {path}: {astray}", artifact.name);
            return Ok(None);
        }
        Err(error) => return Err(format!("output artifact {:?}: {path} of container main: {error}", artifact.name)),
    };
    let file_name = key::file_name(&artifact.name, path, packing);
    let id = id_of_output(&artifact.name);
    job(id, artifact, template.archive_location.as_deref(), &file_name, content).map(Some)
}

/// The job of a container's log; none when the container printed nothing that was kept, for example because it was never
/// started.
fn log(paths: &Paths, location: Option<&ArtifactLocation>, container: &str) -> Result<Option<Job>, String> {
    let path = paths.ctr(container).join(ctr::COMBINED);
    let log = match Opened::beneath(&paths.shared, &path) {
        Ok(log) => log,
        Err(Unresolved::Missing) => return Ok(None),
        Err(error) => return Err(format!("cannot read the log {}: {error}", path.display())),
    };
    let artifact = Artifact { name: key::log_artifact_name(container), ..Artifact::default() };
    job(id_of_log(container), artifact, location, &key::log_file_name(container), Content::Log(log)).map(Some)
}

/// A user's artifact may be called as a log is.
fn id_of_output(artifact: &str) -> String {
    format!("output {artifact}")
}

fn id_of_log(container: &str) -> String {
    format!("log {container}")
}

fn job(
    id: String,
    artifact: Artifact,
    location: Option<&ArtifactLocation>,
    file_name: &str,
    content: Content,
) -> Result<Job, String> {
    let reported = locations::for_output(&artifact, location, file_name)?;
    let whole = locations::complete(&reported, location)?;
    Ok(Job { id, reported, whole, content })
}

/// Uploads, large things one after the other.
async fn in_turn(artifacts: &Artifacts, job: &Job, large: &Semaphore) -> Result<(), String> {
    let _turn = match job.content.opened() {
        Some(opened) if transfers::is_small(opened) => None,
        // The semaphore lives as long as the transfers and is never closed.
        Some(_) => large.acquire().await.ok(),
        None => None,
    };
    upload(artifacts, job).await
}

async fn upload(artifacts: &Artifacts, job: &Job) -> Result<(), String> {
    let result = match &job.content {
        Content::Tar(tar) => artifacts.save_output(Source::Tar(tar), &job.whole).await.map(drop),
        Content::Itself(itself) => artifacts.save_output(Source::Itself(itself), &job.whole).await.map(drop),
        Content::Log(log) => artifacts.save_body(Body::File(log.clone()), &job.whole).await.map(drop),
        Content::Saved => return Ok(()),
    };
    result.map_err(|error| job.failed(error))?;
    tracing::info!("artifact {} is saved", job.reported.name);
    Ok(())
}

impl Content {
    /// What lies on disk, unless it is saved.
    fn opened(&self) -> Option<&Opened> {
        match self {
            Self::Tar(opened) | Self::Itself(opened) | Self::Log(opened) => Some(opened),
            Self::Saved => None,
        }
    }
}

/// Frees the space of what is saved. What lies on the user's own volume stays there; so does a log.
fn remove(paths: &Paths, content: &Content) {
    // All of it goes with the Pod at the latest.
    let _ = match content {
        Content::Tar(tar) => fs::remove_file(tar.path()),
        Content::Itself(it) if it.path().starts_with(&paths.shared) && it.is_dir() => fs::remove_dir_all(it.path()),
        Content::Itself(it) if it.path().starts_with(&paths.shared) => fs::remove_file(it.path()),
        Content::Itself(_) | Content::Log(_) | Content::Saved => Ok(()),
    };
}
