//! Orders to a run: to the process that drives it, or, where there is none, by driving it from here.

use std::collections::BTreeMap;

use tiphys_engine::RetryOptions;
use tiphys_local::RunName;
use tiphys_local::control::{self, Request};

use crate::args::{Global, Output, ResumeArgs, RetryArgs};
use crate::failure::Failure;
use crate::output;
use crate::run::{Start, drive};
use crate::settings::{data_dir, existing_run};

/// Goes on with a run.
pub fn resume(global: &Global, args: &ResumeArgs) -> Result<(), Failure> {
    let mut parameters = BTreeMap::new();
    for text in &args.parameters {
        let (name, value) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("--parameter {text}: expected NAME=VALUE")))?;
        parameters.insert(name.to_owned(), value.to_owned());
    }
    let request = Request::Resume { node: args.node.clone(), parameters };
    // Without further words, whether a run has to be resumed or only driven again shows from its state.
    let plain = request == Request::Resume { node: None, parameters: BTreeMap::new() };
    let first = if plain { Vec::new() } else { vec![request.clone()] };
    order(global, &args.run, &request, "resumed", Some(first), args.output)
}

/// Runs it again from where it failed.
pub fn retry(global: &Global, args: RetryArgs) -> Result<(), Failure> {
    let folder = existing_run(global, &args.run)?;
    let options = RetryOptions {
        restart_successful: args.restart_successful,
        nodes: args.node_field_selector,
        parameters: args.parameters,
    };
    drive(global, args.output, data_dir(global)?, Start::Retry { name: folder.name().clone(), options })
}

/// Starts nothing more.
pub fn suspend(global: &Global, run: &str) -> Result<(), Failure> {
    order(global, run, &Request::Suspend, "suspended", None, None)
}

/// Ends it gracefully.
pub fn stop(global: &Global, run: &str) -> Result<(), Failure> {
    order(global, run, &Request::Stop, "stopping", Some(vec![Request::Stop]), None)
}

/// Ends it at once.
pub fn terminate(global: &Global, run: &str) -> Result<(), Failure> {
    order(global, run, &Request::Terminate, "terminating", Some(vec![Request::Terminate]), None)
}

/// Asks the process that drives the run. Where there is none, this one drives it and begins with `alone`.
fn order(
    global: &Global,
    run: &str,
    request: &Request,
    done: &str,
    alone: Option<Vec<Request>>,
    output: Option<Output>,
) -> Result<(), Failure> {
    let folder = existing_run(global, run)?;
    if folder.is_driven() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(Some(format!("cannot start: {error}"))))?;
        runtime
            .block_on(control::ask(&folder, request))
            .map_err(|error| Failure::failed(Some(format!("{run}: {error}"))))?;
        if !global.quiet {
            output::print(&format!("{run} {done}\n"));
        }
        return Ok(());
    }
    let Some(first) = alone else {
        return Err(Failure::usage(format!("no process drives the run {run}, so there is nothing to suspend")));
    };
    let name = RunName::new(run).map_err(Failure::usage)?;
    drive(global, output, data_dir(global)?, Start::Again { name, first })
}
