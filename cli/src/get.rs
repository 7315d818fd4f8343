//! `tiphys get`: runs, or workflows on a cluster.

use tiphys_local::read;

use crate::args::{GetArgs, Global};
use crate::cluster::{self, Sorted};
use crate::display::style::Style;
use crate::display::whole::Whole;
use crate::failure::Failure;
use crate::output;
use crate::settings::existing_run;

/// Shows runs and workflows as they are now.
pub fn get(global: &Global, args: &GetArgs) -> Result<(), Failure> {
    let names = Sorted::of(global, &args.names)?;
    let whole = Whole::new(args, Style::of_stdout(global))?;
    for run in &names.local {
        let folder = existing_run(global, run)?;
        let workflow = read(&folder).map_err(|error| Failure::failed(Some(error.to_string())))?;
        let mut text = whole.text(&workflow, Some(&folder));
        if args.output.is_none() && !workflow.status.phase.is_completed() && !folder.is_driven() {
            text.push_str(&format!("no process drives it; go on with: tiphys resume {run}\n"));
        }
        output::print(&text);
    }
    if names.remote.is_empty() { Ok(()) } else { cluster::get(global, &names.remote, &whole) }
}
