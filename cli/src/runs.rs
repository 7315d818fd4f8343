//! `tiphys runs`: what there is.

use std::cmp::Reverse;

use tiphys_local::{RunFolder, WorkflowView, read};

use crate::args::{Global, Output, RunsArgs};
use crate::display::style::{age, duration};
use crate::failure::Failure;
use crate::output::{self, shortened};
use crate::settings::data_dir;

/// Lists the runs, the latest first.
pub fn list(global: &Global, args: &RunsArgs) -> Result<(), Failure> {
    let data = data_dir(global)?;
    let names = data.run_names().map_err(Failure::usage)?;
    let mut found: Vec<(RunFolder, WorkflowView)> = Vec::new();
    for folder in names.iter().map(|name| data.run(name)).filter(RunFolder::exists) {
        match read(&folder) {
            Ok(workflow) => found.push((folder, WorkflowView::of(&workflow))),
            Err(error) => eprintln!("tiphys: {error}"),
        }
    }
    found.sort_by_key(|(_, run)| Reverse(run.started_at));
    output::print(&match args.output {
        Some(Output::Name) => found.iter().map(|(folder, _)| format!("{}\n", folder.name())).collect(),
        Some(format @ (Output::Json | Output::Yaml)) => objects(&found, format)?,
        Some(Output::Wide) | None => table(&found),
    });
    Ok(())
}

fn objects(found: &[(RunFolder, WorkflowView)], format: Output) -> Result<String, Failure> {
    let items = found.iter().map(|(folder, _)| read(folder)).collect::<Result<Vec<_>, _>>();
    let items = items.map_err(|error| Failure::failed(Some(error.to_string())))?;
    Ok(output::value(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}), format))
}

fn table(found: &[(RunFolder, WorkflowView)]) -> String {
    let mut rows = vec![["NAME", "STATUS", "AGE", "DURATION", "PROGRESS", "MESSAGE"].map(str::to_owned).to_vec()];
    for (folder, run) in found {
        let status = match (run.phase.is_completed(), folder.is_driven()) {
            (true, _) => run.phase.to_string(),
            (false, true) if run.suspended => format!("{} (suspended)", run.phase),
            (false, true) => run.phase.to_string(),
            (false, false) => format!("{} (no process)", run.phase).trim_start().to_owned(),
        };
        rows.push(vec![
            folder.name().to_string(),
            status,
            age(run.started_at),
            duration(run.started_at, run.finished_at),
            run.progress.clone(),
            shortened(&run.message),
        ]);
    }
    output::table(&rows)
}
