//! Orders to runs and workflows. To a run: to the process that drives it, or, where there is none, by driving it from here.

use std::collections::BTreeMap;

use tiphys_engine::RetryOptions;
use tiphys_local::RunName;
use tiphys_local::control::{self, Request};

use crate::args::{Global, NamesArgs, Output, ResumeArgs, RetryArgs, StopArgs, TerminateArgs};
use crate::cluster::{self, Sorted};
use crate::failure::Failure;
use crate::output;
use crate::run::{Start, drive};
use crate::settings::{data_dir, existing_run};
use crate::submit::pairs;

/// Goes on with runs and workflows.
pub fn resume(global: &Global, args: &ResumeArgs) -> Result<(), Failure> {
    let names = Sorted::of(global, &args.names)?;
    names.refuse(&[("--node-field-selector", args.node_field_selector.is_some())])?;
    let request = Request::Resume { node: args.node.clone(), parameters: pairs(&args.parameters)? };
    // Without further words, whether a run has to be resumed or only driven again shows from its state.
    let plain = request == Request::Resume { node: None, parameters: BTreeMap::new() };
    let first = if plain { Vec::new() } else { vec![request.clone()] };
    for run in &names.local {
        order(global, run, &request, "resumed", Some(first.clone()), args.output)?;
    }
    if names.remote.is_empty() {
        return Ok(());
    }
    if args.output.is_some() {
        return Err(Failure::usage(
            "--output is for runs on this machine: a workflow on a cluster is not driven from here",
        ));
    }
    cluster::resume(global, &names.remote, args)
}

/// Runs them again from where they failed.
pub fn retry(global: &Global, args: RetryArgs) -> Result<(), Failure> {
    let names = Sorted::of(global, &args.names)?;
    names.refuse(&[
        ("--wait", args.afterwards.wait),
        ("--watch", args.afterwards.watch),
        ("--log", args.afterwards.log),
        ("--selector", !args.selectors.selector.is_empty()),
        ("--field-selector", !args.selectors.field_selector.is_empty()),
    ])?;
    let options = RetryOptions::from(args.rerun.clone());
    for run in &names.local {
        let start = Start::Retry { name: existing_run(global, run)?.name().clone(), options: options.clone() };
        drive(global, args.output, data_dir(global)?, start)?;
    }
    let remote = !names.remote.is_empty() || args.selectors.is_given();
    if remote { cluster::retry(global, &names.remote, &args, &options) } else { Ok(()) }
}

/// Starts nothing more.
pub fn suspend(global: &Global, args: &NamesArgs) -> Result<(), Failure> {
    let names = Sorted::of(global, &args.names)?;
    for run in &names.local {
        order(global, run, &Request::Suspend, "suspended", None, None)?;
    }
    if names.remote.is_empty() { Ok(()) } else { cluster::suspend(global, &names.remote) }
}

/// Ends them gracefully.
pub fn stop(global: &Global, args: &StopArgs) -> Result<(), Failure> {
    let names = Sorted::of(global, &args.names)?;
    names.refuse(&[
        ("--node-field-selector", args.node_field_selector.is_some()),
        ("--dry-run", args.dry_run),
        ("--selector", !args.selectors.selector.is_empty()),
        ("--field-selector", !args.selectors.field_selector.is_empty()),
    ])?;
    for run in &names.local {
        order(global, run, &Request::Stop, "stopping", Some(vec![Request::Stop]), None)?;
    }
    let remote = !names.remote.is_empty() || args.selectors.is_given();
    if remote { cluster::stop(global, &names.remote, args) } else { Ok(()) }
}

/// Ends them at once.
pub fn terminate(global: &Global, args: &TerminateArgs) -> Result<(), Failure> {
    let names = Sorted::of(global, &args.names)?;
    names.refuse(&[
        ("--dry-run", args.dry_run),
        ("--selector", !args.selectors.selector.is_empty()),
        ("--field-selector", !args.selectors.field_selector.is_empty()),
    ])?;
    for run in &names.local {
        order(global, run, &Request::Terminate, "terminating", Some(vec![Request::Terminate]), None)?;
    }
    let remote = !names.remote.is_empty() || args.selectors.is_given();
    if remote { cluster::terminate(global, &names.remote, args) } else { Ok(()) }
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
