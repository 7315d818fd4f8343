//! Delivers results to where the driver reads them.

use std::path::PathBuf;

use tiphys_api::Template;
use tiphys_contract::{ResultSink, SinkError, TaskResult, carry};

use super::caller::{Caller, Target};
use super::ending::Ending;
use super::offload::Offloading;
use super::settings::Settings;
use super::task_result::Owner;
use super::template;
use crate::cluster::{ClusterError, Config};
use crate::paths::Paths;
use crate::shared_files::{replace, write_termination_log};

/// Where results go, with all that it takes.
enum Way {
    File(PathBuf),
    /// As argoexec tells them.
    TaskResult(Caller),
    /// As our own controller reads them: in the termination message where `message` allows it and they fit, else by the
    /// caller, if there is one, as annotations.
    Own {
        message: bool,
        caller: Option<Caller>,
    },
}

/// The way of one Pod's results.
pub struct Reports<'a> {
    paths: &'a Paths,
    settings: &'a Settings,
    template: &'a Template,
    ending: &'a Ending,
    way: Way,
}

impl<'a> Reports<'a> {
    /// Finds out where results go. A WorkflowTaskResult is made at once, if there will be something in it.
    ///
    /// # Errors
    /// The text for the user when there is no way.
    pub fn open(
        paths: &'a Paths,
        settings: &'a Settings,
        template: &'a Template,
        ending: &'a Ending,
        cluster: impl FnOnce() -> Result<Option<Config>, ClusterError>,
    ) -> Result<Self, String> {
        let sink = ResultSink::parse(settings.result_sink.as_deref()).map_err(|error| error.to_string())?;
        let patience = || ending.reports.clone();
        let known = || cluster().map_err(|error| error.to_string());
        let way = match &sink {
            Some(ResultSink::File(path)) => Way::File(path.clone()),
            Some(ResultSink::TerminationMessage) => Way::Own { message: true, caller: None },
            Some(ResultSink::Auto | ResultSink::Annotations) => {
                let message = sink == Some(ResultSink::Auto);
                let caller = match (known()?, settings.step.pod.clone()) {
                    (Some(config), Some(pod)) => Some(Caller::new(config, Target::Annotations { pod }, patience())),
                    _ if message => None,
                    (None, _) => return Err(SinkError::NeedsKubernetes("annotations".to_owned()).to_string()),
                    (Some(_), None) => return Err("ARGO_POD_NAME must be set where results become annotations".into()),
                };
                Way::Own { message, caller }
            }
            Some(ResultSink::TaskResult) | None => {
                let missing = match &sink {
                    Some(sink) => SinkError::NeedsKubernetes(sink.to_string()),
                    None => SinkError::Missing,
                };
                let config = known()?.ok_or_else(|| missing.to_string())?;
                let mut caller = Caller::new(config, Target::TaskResult(Owner::of(&settings.step)?), patience());
                if expects_report(settings, template) {
                    // Before the containers' end can be seen: a controller that knows of it waits for the rest.
                    caller.announce();
                }
                Way::TaskResult(caller)
            }
        };
        Ok(Self { paths, settings, template, ending, way })
    }

    /// Whether texts must be Argo's, since Argo's own controller reads them.
    pub fn as_argo(&self) -> bool {
        matches!(self.way, Way::TaskResult(_))
    }

    /// Whether only the last 256 KiB of a result are kept.
    pub fn keeps_last(&self) -> bool {
        self.settings.keep_last.unwrap_or(self.as_argo())
    }

    /// Tells progress, where that can be done before the end. Progress that cannot be told now is told with the results;
    /// those must arrive.
    pub fn progress(&mut self, progress: &str) {
        let result = TaskResult { progress: progress.to_owned(), ..TaskResult::default() };
        match &mut self.way {
            Way::File(path) => drop(replace(path, result.to_json().to_string().as_bytes(), 0o644)),
            Way::TaskResult(caller) | Way::Own { caller: Some(caller), .. } => caller.progress(result),
            Way::Own { caller: None, .. } => {}
        }
    }

    /// Delivers the results, in place of whatever was told before; `failure` is the text for the user of what has failed
    /// so far, or empty.
    pub fn deliver(self, result: TaskResult, failure: &str) -> Delivered {
        let Self { paths, settings, template, ending, way } = self;
        let log = &paths.termination_log;
        let write = |text: String| {
            let written = write_termination_log(log, &text);
            let failed = |error| format!("cannot deliver the results to {}: {error}", log.display());
            Delivered::new(By::Message, written.map_err(failed).err())
        };
        let calls = |errors: Vec<ClusterError>| Delivered::new(By::Calls, errors.iter().map(ToString::to_string));
        let (message, caller) = match way {
            Way::File(path) => {
                let written = replace(&path, result.to_json().to_string().as_bytes(), 0o644);
                let failed = written.err().map(|error| format!("cannot deliver the results: {error}"));
                return Delivered::new(By::File, failed);
            }
            Way::TaskResult(caller) if caller.is_idle() && has_no_outputs(&result) => {
                return Delivered::new(By::Silence, None);
            }
            Way::TaskResult(mut caller) => return calls(caller.finish(result)),
            Way::Own { message, caller } => (message, caller),
        };
        let untold = caller.as_ref().is_none_or(Caller::is_idle);
        if result.is_empty() && untold {
            return Delivered::new(By::Silence, None);
        }
        let as_message = |result: &TaskResult| carry::to_message(result, failure, settings.message_bytes);
        // Progress that annotations told must not stay there as it was.
        if let Some(text) = as_message(&result).filter(|_| message && untold) {
            return write(text);
        }
        let mut caller = caller;
        let mut unable = Vec::new();
        if let Some(caller) = &mut caller
            && carry::annotation_bytes(&carry::to_annotations(&result)) <= carry::ANNOTATION_BYTES
        {
            let errors = caller.finish(result.clone());
            // The user's own annotations may leave less room than is usual.
            let too_long = errors.iter().any(|error| error.status() == Some(422));
            if errors.is_empty() || !(too_long || (message && untold)) {
                return calls(errors);
            }
            unable = errors.iter().filter(|_| !too_long).map(ToString::to_string).collect();
            unable.iter().for_each(|error| tracing::warn!("{error}; the results are stored instead"));
        }
        let offloading = Offloading { paths, settings, template, ending };
        let reference = match offloading.put(&result) {
            Ok(reference) => reference,
            Err(text) => return Delivered::new(By::Calls, unable.into_iter().chain([text])),
        };
        match caller {
            Some(mut caller) if !(message && untold) => calls(caller.finish(reference)),
            _ => as_message(&reference).map_or_else(|| Delivered::new(By::Message, [TOO_LONG.to_owned()]), write),
        }
    }
}

/// The texts of a reference and of what failed are short; only a Pod of very many containers leaves no room for both.
const TOO_LONG: &str = "the reference to the stored results does not fit into the termination message";

/// How results were delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Nothing was to be told.
    Silence,
    /// In a file.
    File,
    /// In the termination message, what failed included.
    Message,
    /// By calls to the Kubernetes API.
    Calls,
}

/// What came of the delivery.
#[derive(Debug)]
pub struct Delivered {
    /// The way they went.
    pub by: By,
    /// The texts for the user of what kept them from arriving, if anything.
    pub failures: Vec<String>,
}

impl Delivered {
    fn new(by: By, failures: impl IntoIterator<Item = String>) -> Self {
        let failures: Vec<String> = failures.into_iter().collect();
        if failures.is_empty() {
            tracing::info!("results delivered: {by:?}");
        }
        Self { by, failures }
    }
}

fn has_no_outputs(result: &TaskResult) -> bool {
    result.outputs.as_ref().is_none_or(|outputs| *outputs == Default::default())
}

/// Whether a step of this template has something to report when it succeeds. Where it has not, Argo's controller does
/// without a WorkflowTaskResult: a node counts as complete until one says that it is not (argo: operator.go,
/// initializeNode and Fulfilled).
fn expects_report(settings: &Settings, template: &Template) -> bool {
    let outputs = &template.outputs;
    (settings.include_output && template::has_result(template))
        || !outputs.parameters.is_empty()
        || !outputs.artifacts.is_empty()
        || template.resource.is_some()
        || template::archives_logs(template)
}
