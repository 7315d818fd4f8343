//! `tiphys run`, and what it has in common with resuming: signals, the display, the summary, the exit status.

use std::io::IsTerminal;
use std::path::Path;

use tiphys_api::diagnostic::{Diagnostic, Severity};
use tiphys_api::{ArtifactRepository, Workflow, WorkflowPhase};
use tiphys_engine::RetryOptions;
use tiphys_engine::validate::{self, Options};
use tiphys_local::control::Request;
use tiphys_local::documents::Documents;
use tiphys_local::{DataDir, Interrupt, Launch, RunError, RunName, Runtime, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::{Global, Output, RunArgs, RuntimeArg};
use crate::check::{Known, diagnostics, has_errors};
use crate::display::style::Style;
use crate::display::summary::summary;
use crate::display::{Display, Wish};
use crate::failure::Failure;
use crate::input::{self, Input};
use crate::settings::{data_dir, docker_config};
use crate::submit::{Submission, submission};
use crate::{output, refusal, settings};

/// Runs a workflow to its end.
pub fn run(global: &Global, args: RunArgs) -> Result<(), Failure> {
    let input = input::read(&args.manifests)?;
    let mut documents = input.documents()?;
    for text in &args.from_file {
        let (name, path) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("--from-file {text}: expected NAME=PATH")))?;
        documents.add_files(name, Path::new(path)).map_err(Failure::usage)?;
    }
    let submission = submission(&input, &args)?;
    check(&submission, &input, &documents, args.output)?;
    let settings = run_settings(global, &args)?;
    let data = data_dir(global)?;
    let workflow = submission.workflow;
    drive(
        global,
        args.output,
        data,
        Start::New { workflow: Box::new(workflow), documents, settings: Box::new(settings) },
    )
}

/// Refuses what cannot run, before anything of it does.
fn check(
    submission: &Submission<'_>,
    input: &Input,
    documents: &Documents,
    output: Option<Output>,
) -> Result<(), Failure> {
    let known = Known(documents);
    let problems = validate::workflow(&submission.workflow, &known, Options::default());
    let mut found = submission.document.map(|document| document.warnings()).unwrap_or_default();
    found.extend(diagnostics(problems, submission.document, input));
    for refused in tiphys_engine::unsupported(&submission.workflow.spec, &tiphys_local::WITHOUT) {
        found.push(match submission.document {
            Some(document) => document.diagnostic(Severity::Error, &refused.path, refused.message),
            None => Diagnostic::error("command line", format!("{}: {}", refused.path, refused.message)),
        });
    }
    if has_errors(&found) {
        let first = found.iter().find(|found| found.severity == Severity::Error);
        if let (Some(output), Some(first)) = (output, first) {
            let refused = refusal::outcome(&submission.workflow, documents, &first.message);
            output::print(&output::workflow(&refused, output));
        }
        return Err(input::show(found));
    }
    for warning in found.iter().filter(|found| found.severity == Severity::Warning) {
        eprintln!("{warning}");
    }
    Ok(())
}

fn run_settings(global: &Global, args: &RunArgs) -> Result<Settings, Failure> {
    let mut settings = Settings {
        runtime: match args.runtime {
            RuntimeArg::Auto => Runtime::Auto,
            RuntimeArg::Host => Runtime::Host,
            RuntimeArg::Oci => Runtime::Oci,
        },
        archive_logs: !args.no_archive_logs,
        log_level: global.log_level.as_str().to_owned(),
        mirrors: args.registry_mirror.clone(),
        docker_config: docker_config(),
        ..Settings::default()
    };
    if let Some(parallelism) = args.parallelism {
        settings.parallelism = parallelism;
    }
    if let Some(path) = &args.artifact_repository {
        settings.artifact_repository = Some(artifact_repository(path)?);
    }
    Ok(settings)
}

/// Reads a repository as the controller's configuration has it, with or without the key `artifactRepository` around it.
fn artifact_repository(path: &Path) -> Result<ArtifactRepository, Failure> {
    let wrong = |problem: String| Failure::usage(format!("--artifact-repository {}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut value = tiphys_api::yaml::to_json(&text).map_err(|error| wrong(error.to_string()))?;
    if let Some(inner) = value.get_mut("artifactRepository") {
        value = inner.take();
    }
    let repository: ArtifactRepository = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    let kinds =
        [repository.s3.is_some(), repository.gcs.is_some(), repository.azure.is_some(), repository.oss.is_some()];
    if kinds.contains(&true) { Ok(repository) } else { Err(wrong("it names no store such as s3 or gcs".to_owned())) }
}

/// What is driven.
pub enum Start {
    /// A new run.
    New {
        /// Its workflow.
        workflow: Box<Workflow>,
        /// What it may refer to.
        documents: Documents,
        /// How it is run.
        settings: Box<Settings>,
    },
    /// One that no process drives now.
    Again {
        /// Its name.
        name: RunName,
        /// What is done to it first.
        first: Vec<Request>,
    },
    /// One that failed, from where it failed.
    Retry {
        /// Its name.
        name: RunName,
        /// What runs again.
        options: RetryOptions,
    },
}

/// Drives a run to its end, shows it, and turns how it ended into the exit status.
pub fn drive(global: &Global, output: Option<Output>, data: DataDir, start: Start) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(Some(format!("cannot start: {error}"))))?;
    let display = Display::start(global, Wish { to_stderr: output.is_some(), quiet: global.quiet });
    let follow_logs = display.shows_logs;
    let observer = display.observer();
    let result = runtime.block_on(async {
        let (to, interrupts) = mpsc::unbounded_channel();
        listen(to).map_err(|error| Failure::failed(Some(format!("cannot listen for signals: {error}"))))?;
        let launch = Launch { data: data.clone(), observer, follow_logs, interrupts };
        match start {
            Start::New { workflow, documents, settings } => {
                tiphys_local::start(launch, *workflow, documents, *settings).await
            }
            Start::Again { name, first } => tiphys_local::resume(launch, &name, first).await,
            Start::Retry { name, options } => tiphys_local::retry(launch, &name, options).await,
        }
        .map_err(failure)
    });
    // Tasks of Pods that were abandoned end here, and their processes with them.
    drop(runtime);
    display.finish();
    let workflow = result?;
    summarise(global, output, &data, &workflow);
    if let Some(output) = output {
        output::print(&output::workflow(&workflow, output));
    }
    match workflow.status.phase {
        WorkflowPhase::Succeeded => Ok(()),
        _ if global.quiet => Err(Failure::failed(Some(format!(
            "{} {}: {}",
            workflow.metadata.name, workflow.status.phase, workflow.status.message
        )))),
        _ => Err(Failure::failed(None)),
    }
}

/// Threads of the driver: it waits for other processes, and what it computes is the engine's, one after the other.
const WORKERS: usize = 2;

/// Ctrl-C, or SIGTERM: once stops, twice terminates, the third time leaves.
fn listen(to: mpsc::UnboundedSender<Interrupt>) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        for (order, said) in [
            (Interrupt::Stop, "stopping; exit handlers still run (once more: terminate)"),
            (Interrupt::Terminate, "terminating (once more: leave at once)"),
            (Interrupt::Abandon, "leaving"),
        ] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            eprintln!("tiphys: {said}");
            if to.send(order).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// What a run that could not be driven to its end means for the exit status.
pub fn failure(error: RunError) -> Failure {
    match error {
        RunError::Abandoned { .. } => Failure::failed(Some(error.to_string())),
        error => Failure::usage(error),
    }
}

/// How it went, where things are, and with which status this program ends.
fn summarise(global: &Global, output: Option<Output>, data: &DataDir, workflow: &Workflow) {
    if global.quiet {
        return;
    }
    let terminal = if output.is_some() { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
    let folder = RunName::new(&workflow.metadata.name).ok().map(|name| data.run(&name));
    let text = summary(workflow, Style::new(terminal && settings::may_colour(global)), folder.as_ref());
    if output.is_some() { eprint!("{text}") } else { output::print(&text) }
}
