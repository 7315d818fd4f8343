//! What prepares a Pod and reports its results: `init` before the user's containers, `wait` beside them.
//!
//! Both work synchronously as long as nothing is transferred, and start an async runtime only for artifacts: a step
//! without any pays for none.

mod artifact_gc;
mod caller;
mod connection;
mod data;
mod ending;
mod ends;
mod init;
mod inputs;
mod journal;
mod locations;
mod mains;
mod offload;
mod outputs;
mod own_work;
mod plugin_init;
mod progress;
mod report;
mod resource;
mod results;
mod settings;
mod supervisor;
mod task_result;
mod template;
mod trace;
mod transfers;
mod uploads;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use tiphys_contract::{env, exit};

use crate::args::{self, Args};
use crate::cluster::Config;
use crate::emissary;
use crate::paths::Paths;
use crate::shared_files::report_failure;
use crate::{kill, log, sidecar, tasks};
use settings::Settings;

/// What there is, for messages.
const COMMANDS: &str = "init, wait, supervisor, emissary -- COMMAND [ARG...], resource ACTION, data, agent init|main, artifact \
                        delete, artifact-plugin-init --plugin-name NAME -- COMMAND [ARG...], artifact-plugin-sidecar -- \
                        COMMAND [ARG...], kill SIGNAL PID, version";

/// Runs the executor with a whole command line, the program's name first, and the process's environment. A failure's
/// reason is in the termination log and on standard error.
///
/// To be called first thing in `main`, before any thread is started: the sub-commands take over the process's signals.
pub fn main_from_args(args: impl Iterator<Item = OsString>) -> ExitCode {
    run_below(&Paths::default(), args)
}

/// As [`main_from_args`], with the Pod's files elsewhere.
pub fn run_below(paths: &Paths, args: impl Iterator<Item = OsString>) -> ExitCode {
    let code = run(paths, args).unwrap_or_else(|message| {
        report_failure(&paths.termination_log, &message);
        exit::EXECUTOR_FAILURE
    });
    ExitCode::from(code as u8)
}

fn run(paths: &Paths, args: impl Iterator<Item = OsString>) -> Result<i32, String> {
    let parsed = args::parse(args.skip(1))?;
    log::begin(parsed.log_level.as_deref(), parsed.log_format.as_deref())?;
    let variable = |name: &str| std::env::var(name).ok();
    trace::begin(paths, parsed.command.as_deref(), variable);
    let done = dispatch(paths, parsed, variable);
    let failure = match &done {
        Ok(0) => None,
        Ok(code) => Some(format!("exit code {code}")),
        Err(message) => Some(message.clone()),
    };
    trace::finish(failure.as_deref());
    done
}

fn dispatch(paths: &Paths, parsed: Args, variable: impl Fn(&str) -> Option<String> + Copy) -> Result<i32, String> {
    let cluster = || Config::find(paths, &parsed.cluster, variable);
    let done = |result: Result<(), String>| result.map(|()| 0);
    match parsed.command.as_deref() {
        Some("init") => done(init::run(paths, &Settings::from(variable)?)),
        Some("wait") => wait::run(paths, &Settings::from(variable)?, cluster),
        Some("supervisor") => supervisor::run(paths, &Settings::from(variable)?, cluster),
        Some("resource") => resource::run(paths, &Settings::from(variable)?, cluster, &parsed.rest),
        Some("data") => data::run(paths, &Settings::from(variable)?, cluster),
        Some("artifact") => {
            let client = connection::open(paths, cluster)?;
            done(artifact_gc::run(paths, &Settings::from(variable)?, &client, &parsed.rest))
        }
        Some("agent") => {
            let settings = tasks::Settings::from(variable)?;
            if tasks::is_init(&parsed.rest)? {
                return done(tasks::init(paths, &settings));
            }
            let client = connection::open(paths, cluster)?;
            done(connection::block_on(tasks::main(paths, &settings, &client)))
        }
        Some("emissary") => Ok(emissary::run(paths, &emissary::Settings::from(variable)?, parsed.rest)),
        Some("artifact-plugin-init") => {
            let plugin = parsed.plugin_name.ok_or("flag --plugin-name is missing")?;
            done(plugin_init::run(paths, &Settings::from(variable)?, &plugin, &parsed.rest))
        }
        Some("artifact-plugin-sidecar") => sidecar::run(paths, &emissary::Settings::from(variable)?, &parsed.rest),
        Some("kill") => done(kill::run(paths, variable(env::CONTAINER_NAME).as_deref(), &parsed.rest)),
        Some("version") => {
            println!("tiphys-executor {}", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
        Some(other) => Err(format!("unknown sub-command {other:?}: there are {COMMANDS}")),
        None => Err(format!("no sub-command: there are {COMMANDS}")),
    }
}
