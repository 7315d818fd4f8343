//! `tiphys get`: one run.

use std::io::IsTerminal;

use tiphys_local::{NodeView, WorkflowView, read};

use crate::args::{GetArgs, Global};
use crate::display::style::Style;
use crate::display::tree::Tree;
use crate::failure::Failure;
use crate::settings::{data_dir, existing_run, may_colour};
use crate::{output, run};

/// Shows a run as it is now.
pub fn get(global: &Global, args: &GetArgs) -> Result<(), Failure> {
    let folder = existing_run(global, &args.run)?;
    let workflow = read(&folder).map_err(|error| Failure::failed(Some(error.to_string())))?;
    if let Some(format) = args.output {
        output::print(&output::workflow(&workflow, format));
        return Ok(());
    }
    let style = Style::new(std::io::stdout().is_terminal() && may_colour(global));
    let mut tree = Tree::default();
    tree.set_workflow(WorkflowView::of(&workflow));
    let mut nodes: Vec<NodeView> = workflow.status.nodes.values().map(NodeView::of).collect();
    nodes.sort_by(|a, b| (a.started_at, &a.name).cmp(&(b.started_at, &b.name)));
    nodes.into_iter().for_each(|node| tree.set_node(node));
    let mut text = tree.rows(&style, None, None).join("\n");
    text.push('\n');
    text.push_str(&run::summary(&data_dir(global)?, &workflow, style));
    if !workflow.status.phase.is_completed() && !folder.is_driven() {
        text.push_str(&format!("no process drives it; go on with: tiphys resume {}\n", args.run));
    }
    output::print(&text);
    Ok(())
}
