//! `tiphys-executor`: `init` and `wait` of a step's Pod; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tiphys_executor::main_from_args(std::env::args_os())
}
