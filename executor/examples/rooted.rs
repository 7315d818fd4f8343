//! The executor as it is, but for a folder of its own in place of the container's root: tests and benches run real
//! processes with it, without root and without namespaces. `rooted ROOT SUB-COMMAND ...`
//!
//! Orphans come to this process as they come to PID 1 in a container.

use std::path::Path;
use std::process::ExitCode;

use tiphys_executor::paths::Paths;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next();
    let root = words.next().unwrap_or_default();
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        eprintln!("this system has no subreapers: {error}");
        return ExitCode::FAILURE;
    }
    tiphys_executor::run_below(&Paths::below(Path::new(&root)), program.into_iter().chain(words))
}
