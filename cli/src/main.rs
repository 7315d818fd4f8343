//! `tiphys`: Argo Workflows on this machine and on a cluster. Thin commands over `tiphys-local` and `tiphys-kubernetes`.
//!
//! This one program is also what steps are run by: the sandbox process, and the executor (`init`, `wait`) under the name
//! `argoexec`. Both are decided first of all, before there is a second thread.

mod args;
mod check;
mod cluster;
mod convert;
mod display;
mod download;
mod duration;
mod executor_plugin;
mod failure;
mod input;
mod output;
mod refusal;
mod settings;
mod submit;

mod get;
mod image;
mod lint;
mod logs;
mod orders;
mod run;
mod runs;

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command, Global, LogFormat, NodeCommand};
use failure::Failure;

fn main() -> ExitCode {
    if tiphys_sandbox::is_sandbox_process() {
        return tiphys_sandbox::sandbox_main();
    }
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    if name == OsStr::new("argoexec") || name == OsStr::new("tiphys-executor") {
        return tiphys_executor::main_from_args(std::env::args_os());
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = !error.use_stderr();
            // Where the text cannot be written there is nobody to read it.
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(failure::USAGE) };
        }
    };
    // These libraries report each failed request, which the one who sent it reports as well.
    let filter = format!("{},s3s=off,kube_client=off", cli.global.log_level.as_str());
    let messages = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && settings::may_colour(&cli.global))
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter));
    match cli.global.log_format {
        LogFormat::Text => messages.without_time().init(),
        LogFormat::Json => messages.json().init(),
    }
    match dispatch(&cli.global, cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => on_this_machine(global, "run").and_then(|()| run::run(global, *args)),
        Command::Runs(args) => on_this_machine(global, "runs").and_then(|()| runs::list(global, &args)),
        Command::Image(command) => on_this_machine(global, "image").and_then(|()| image::image(global, command)),
        Command::Submit(args) => cluster::submit(global, &args),
        Command::List(args) => cluster::list(global, &args),
        Command::Get(args) => get::get(global, &args),
        Command::Watch(args) => cluster::watch(global, &args),
        Command::Wait(args) => cluster::wait(global, &args),
        Command::Logs(args) => logs::logs(global, &args),
        Command::Suspend(args) => orders::suspend(global, &args),
        Command::Resume(args) => orders::resume(global, &args),
        Command::Stop(args) => orders::stop(global, &args),
        Command::Terminate(args) => orders::terminate(global, &args),
        Command::Retry(args) => orders::retry(global, args),
        Command::Resubmit(args) => cluster::resubmit(global, &args),
        Command::Delete(args) => cluster::delete(global, &args),
        Command::Node(NodeCommand::Set(args)) => cluster::set_nodes(global, &args),
        Command::Template(command) => cluster::template(global, command),
        Command::ClusterTemplate(command) => cluster::cluster_template(global, command),
        Command::Cron(command) => cluster::cron(global, command),
        Command::Archive(command) => cluster::archive(global, command),
        Command::Lint(args) => lint::lint(global, &args),
        Command::Copy(args) => cluster::copy(global, &args),
        Command::Convert(args) => convert::convert(&args),
        Command::ExecutorPlugin(command) => executor_plugin::executor_plugin(command),
        Command::Version { short } => {
            let name = if short { "" } else { "tiphys " };
            output::print(&format!("{name}{}\n", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tiphys", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Refuses what names a cluster, for a command that has nothing to do with one.
fn on_this_machine(global: &Global, command: &str) -> Result<(), Failure> {
    match global.place.given() {
        None => Ok(()),
        Some(flag) => {
            Err(Failure::usage(format!("{flag}: `tiphys {command}` is about this machine alone, not a cluster")))
        }
    }
}
