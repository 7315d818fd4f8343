//! The executor's binaries as they are, but for a folder of its own in place of the container's root: tests and benches
//! run real processes with it, without root and without namespaces. `rooted ROOT SUB-COMMAND ...`
//!
//! Orphans come to this process as they come to PID 1 in a container.

use std::path::Path;
use std::process::ExitCode;

use tiphys_contract::env;
use tiphys_executor::emissary::{self, Settings};
use tiphys_executor::paths::Paths;
use tiphys_executor::{args, kill};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let root = words.next().unwrap_or_default();
    let paths = Paths::below(Path::new(&root));
    let words: Vec<_> = words.collect();
    let variable = |name: &str| std::env::var(name).ok();
    let parsed = args::parse(words.iter().cloned()).expect("a command line that argoexec understands");
    match parsed.command.as_deref() {
        Some("emissary") => {
            nix::sys::prctl::set_child_subreaper(true).expect("the system has subreapers");
            let settings = Settings::from(variable).expect("settings");
            ExitCode::from(emissary::run(&paths, &settings, parsed.rest) as u8)
        }
        Some("kill") => match kill::run(&paths, variable(env::CONTAINER_NAME).as_deref(), &parsed.rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("Error: {message}");
                ExitCode::from(64)
            }
        },
        other => panic!("no such sub-command here: {other:?}"),
    }
}
