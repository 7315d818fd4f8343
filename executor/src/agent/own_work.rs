//! Templates whose work the executor does itself, as `main`'s command: `resource` and `data`. Their results go the way of
//! all results; where a `wait` saves the log of a resource template, it tells both together.

use std::fmt::Display;

use tiphys_api::{Outputs, Template};
use tiphys_artifact::{Opened, Unresolved};
use tiphys_contract::{TaskResult, exit};

use super::ending::Ending;
use super::report::{By, Reports};
use super::settings::Settings;
use super::template;
use crate::cluster::{ClusterError, Config};
use crate::paths::Paths;
use crate::shared_files::replace;

/// Does the work and reports what comes of it. Returns the exit code.
///
/// # Errors
/// The text for the user, unless the report has told it in the termination message.
pub fn run(
    paths: &Paths,
    settings: &Settings,
    cluster: impl FnOnce() -> Result<Option<Config>, ClusterError>,
    work: impl FnOnce(&Template) -> Result<Outputs, String>,
) -> Result<i32, String> {
    let template = template::parse(&template::read(paths, settings)?)?;
    // Whoever tells first would be overwritten by the other, or take the step for complete.
    if template.resource.is_some() && template::archives_logs(&template) {
        let result = TaskResult { outputs: Some(work(&template)?), ..TaskResult::default() };
        let left = replace(&paths.main_result(), result.to_json().to_string().as_bytes(), 0o644);
        return left.map(|()| 0).map_err(|error| error.to_string());
    }
    let ending = Ending::new(settings.grace);
    let reports = Reports::open(paths, settings, &template, &ending, cluster)?;
    let done = work(&template);
    let failure = done.as_ref().err().cloned().unwrap_or_default();
    let _span = tracing::info_span!("createTaskResult").entered();
    let delivered = reports.deliver(TaskResult { outputs: done.ok(), ..TaskResult::default() }, &failure);
    let arrived = delivered.failures.is_empty();
    match [failure].into_iter().chain(delivered.failures).find(|failure| !failure.is_empty()) {
        None => Ok(0),
        Some(failure) if arrived && delivered.by == By::Message => {
            eprintln!("Error: {failure}");
            Ok(exit::EXECUTOR_FAILURE)
        }
        Some(failure) => Err(failure),
    }
}

/// The outputs that a `main` of our own has left; none where it failed.
///
/// # Errors
/// The text for the user when they cannot be read.
pub fn left(paths: &Paths) -> Result<Outputs, String> {
    let file = paths.main_result();
    let failed = |error: &dyn Display| format!("cannot read {}: {error}", file.display());
    let json = match Opened::beneath(&paths.shared, &file) {
        Err(Unresolved::Missing) => return Ok(Outputs::default()),
        Err(error) => return Err(failed(&error)),
        Ok(opened) => opened.bytes().map_err(|error| failed(&error))?,
    };
    let result = TaskResult::from_json(&json).map_err(|error| failed(&error))?;
    Ok(result.outputs.unwrap_or_default())
}
