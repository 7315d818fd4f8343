//! `tiphys logs`: what steps wrote.

use std::io::{ErrorKind, IsTerminal, Write};

use tiphys_local::follow::{Selection, print};

use crate::args::{Global, LogsArgs};
use crate::display::style::{Style, log_line};
use crate::failure::Failure;
use crate::settings::{existing_run, may_colour};

/// Prints the logs of a run or of one node.
pub fn logs(global: &Global, args: &LogsArgs) -> Result<(), Failure> {
    let folder = existing_run(global, &args.run)?;
    let style = Style::new(std::io::stdout().is_terminal() && may_colour(global));
    let selection = Selection { node: args.node.clone(), container: args.container.clone(), follow: args.follow };
    let alone = args.node.is_some();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(Some(format!("cannot start: {error}"))))?;
    let mut out = std::io::stdout();
    let printed = runtime.block_on(print(&folder, &selection, |line| {
        // One node's log is given as it was written.
        if alone { writeln!(out, "{}", line.text) } else { writeln!(out, "{}", log_line(line, &style)) }
    }));
    match printed {
        Ok(()) => Ok(()),
        Err(error) if error.io_kind() == Some(ErrorKind::BrokenPipe) => Ok(()),
        Err(error) => Err(Failure::failed(Some(error.to_string()))),
    }
}
