//! `tiphys`: Argo Workflows on this machine. Thin commands over `tiphys-local`.
//!
//! This one program is also what steps are run by: the sandbox process, and the executor (`init`, `wait`) under the name
//! `argoexec`. Both are decided first of all, before there is a second thread.

mod args;
mod check;
mod display;
mod download;
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

use args::{Cli, Command, Global};
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
    // The S3 library reports each failed request, which the one who sent it reports as well.
    let filter = format!("{},s3s=off", cli.global.log_level.as_str());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && settings::may_colour(&cli.global))
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .without_time()
        .init();
    match dispatch(&cli.global, cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(global, *args),
        Command::Runs(args) => runs::list(global, &args),
        Command::Get(args) => get::get(global, &args),
        Command::Logs(args) => logs::logs(global, &args),
        Command::Resume(args) => orders::resume(global, &args),
        Command::Retry(args) => orders::retry(global, args),
        Command::Suspend(name) => orders::suspend(global, &name.run),
        Command::Stop(name) => orders::stop(global, &name.run),
        Command::Terminate(name) => orders::terminate(global, &name.run),
        Command::Lint(args) => lint::lint(global, &args),
        Command::Image(command) => image::image(global, command),
        Command::Version => {
            output::print(&format!("tiphys {}\n", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tiphys", &mut std::io::stdout());
            Ok(())
        }
    }
}
