//! `tiphys-emissary`, delivered to every container of a Pod as `/var/run/argo/argoexec`.

use std::process::ExitCode;

use tiphys_contract::{env, exit};
use tiphys_executor::emissary::{self, Settings};
use tiphys_executor::paths::Paths;
use tiphys_executor::shared_files::report_failure;
use tiphys_executor::{args, kill, log, sidecar};

fn main() -> ExitCode {
    let paths = Paths::default();
    match run(&paths) {
        Ok(code) => ExitCode::from(code as u8),
        Err(message) => {
            report_failure(&paths.termination_log, &message);
            ExitCode::from(exit::EXECUTOR_FAILURE as u8)
        }
    }
}

fn run(paths: &Paths) -> Result<i32, String> {
    let parsed = args::parse(std::env::args_os().skip(1))?;
    log::begin(parsed.log_level.as_deref(), parsed.log_format.as_deref())?;
    let variable = |name: &str| std::env::var(name).ok();
    match parsed.command.as_deref() {
        Some("emissary") => Ok(emissary::run(paths, &Settings::from(variable)?, parsed.rest)),
        Some("artifact-plugin-sidecar") => sidecar::run(paths, &Settings::from(variable)?, &parsed.rest),
        Some("kill") => kill::run(paths, variable(env::CONTAINER_NAME).as_deref(), &parsed.rest).map(|()| 0),
        Some("version") => {
            println!("tiphys-emissary {}", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
        Some(other) => Err(format!(
            "the emissary has no sub-command {other:?}: it has emissary, artifact-plugin-sidecar, kill and version"
        )),
        None => Err("usage: argoexec emissary -- COMMAND [ARG...] | kill SIGNAL PID | version".to_owned()),
    }
}
