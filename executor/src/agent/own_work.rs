//! Templates whose work the executor does itself, as `main`'s command: `resource` and `data`. Their results go the way of
//! all results.

use tiphys_api::{Outputs, Template};
use tiphys_contract::{TaskResult, exit};

use super::ending::Ending;
use super::report::{By, Reports};
use super::settings::Settings;
use super::template;
use crate::cluster::{ClusterError, Config};
use crate::paths::Paths;

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
    let ending = Ending::new(settings.grace);
    let reports = Reports::open(paths, settings, &template, &ending, cluster)?;
    let done = work(&template);
    let failure = done.as_ref().err().cloned().unwrap_or_default();
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
