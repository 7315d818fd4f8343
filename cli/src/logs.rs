//! `tiphys logs`: what steps wrote.

use std::io::{ErrorKind, Write};

use tiphys_local::follow::{Selection, print};

use crate::args::{Global, LogsArgs};
use crate::cluster::{self, Sorted, pattern};
use crate::display::style::{Style, log_line};
use crate::failure::Failure;
use crate::settings::existing_run;

/// Prints the logs of a run or workflow, or of one node.
pub fn logs(global: &Global, args: &LogsArgs) -> Result<(), Failure> {
    let names = Sorted::of(global, std::slice::from_ref(&args.name))?;
    names.refuse(&[
        ("--selector", args.selector.is_some()),
        ("--previous", args.previous),
        ("--since", args.since.is_some()),
        ("--since-time", args.since_time.is_some()),
        ("--tail", args.tail.is_some()),
        ("--timestamps", args.timestamps),
    ])?;
    if names.local.is_empty() {
        return cluster::logs(global, args);
    }
    let folder = existing_run(global, &args.name)?;
    let style = Style::of_stdout(global);
    let selection = Selection { node: args.node.clone(), container: args.container.clone(), follow: args.follow };
    let alone = args.node.is_some();
    let grep = pattern(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(Some(format!("cannot start: {error}"))))?;
    let mut out = std::io::stdout();
    let printed = runtime.block_on(print(&folder, &selection, |line| {
        if grep.as_ref().is_some_and(|grep| !grep.is_match(&line.text)) {
            return Ok(());
        }
        // One node's log is given as it was written.
        if alone { writeln!(out, "{}", line.text) } else { writeln!(out, "{}", log_line(line, &style)) }
    }));
    match printed {
        Ok(()) => Ok(()),
        Err(error) if error.io_kind() == Some(ErrorKind::BrokenPipe) => Ok(()),
        Err(error) => Err(Failure::failed(Some(error.to_string()))),
    }
}
