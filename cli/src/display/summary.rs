//! How it went, and where things are.

use tiphys_api::{Workflow, WorkflowPhase};
use tiphys_local::{NodeView, RunFolder, WorkflowView};

use super::style::{Style, duration};

/// The end of a run, or of a workflow on a cluster, in a few lines. `folder` is a run's.
pub fn summary(workflow: &Workflow, style: Style, folder: Option<&RunFolder>) -> String {
    let view = WorkflowView::of(workflow);
    let took = duration(view.started_at, view.finished_at);
    let mut text = format!("\n{}  {}", style.bold(&view.name), style.phase(view.phase));
    if !took.is_empty() {
        text.push_str(&format!(" in {took}"));
    }
    if !view.message.is_empty() {
        text.push_str(&format!(": {}", view.message));
    }
    text.push('\n');
    let failed = workflow.status.nodes.values().filter(|node| node.phase.is_failed_or_error());
    // What has a message of its own, and not the workflow's or one that only points to a child.
    let failed = failed.filter(|node| {
        let message = node.message.as_str();
        let points = message.starts_with("child '") && message.ends_with("' failed");
        !message.is_empty() && message != view.message && !points
    });
    for node in failed.map(NodeView::of).take(MOST_FAILURES) {
        text.push_str(&format!("  {} {}: {}\n", style.glyph(node.phase), node.name, node.message));
    }
    if let Some(outputs) = &workflow.status.outputs {
        for parameter in &outputs.parameters {
            let value = parameter.value.as_ref().map(|value| value.as_str()).unwrap_or_default();
            text.push_str(&format!("output    {} = {value}\n", parameter.name));
        }
        for artifact in &outputs.artifacts {
            let key = artifact.s3.as_ref().map(|s3| s3.key.as_str()).unwrap_or_default();
            text.push_str(&format!("output    {} at {key}\n", artifact.name));
        }
    }
    if let Some(folder) = folder {
        text.push_str(&format!("artifacts {}\n", folder.artifacts().join("artifacts").display()));
        text.push_str(&format!("logs      {}\n", folder.logs().display()));
    }
    let status = u8::from(view.phase != WorkflowPhase::Succeeded);
    if view.phase.is_completed() {
        text.push_str(&format!("exit status {status}\n"));
    }
    text
}

/// Failed nodes that a summary names at most.
const MOST_FAILURES: usize = 10;
