//! A workflow as `get` shows it, be it a run on this machine or on a cluster.

use tiphys_api::Workflow;
use tiphys_engine::NodeSelector;
use tiphys_local::{NodeView, RunFolder, WorkflowView};

use super::style::{Style, age};
use super::summary::summary;
use super::tree::Tree;
use crate::args::{GetArgs, GetOutput, Output, PhaseArg, ShownNodes};
use crate::failure::Failure;
use crate::output;

/// What of a workflow is shown, and how.
pub struct Whole {
    output: Option<GetOutput>,
    nodes: Option<NodeSelector>,
    style: Style,
}

impl Whole {
    /// What the command line asks for.
    pub fn new(args: &GetArgs, style: Style) -> Result<Whole, Failure> {
        let style = if args.no_utf8 { style.ascii() } else { style };
        Ok(Whole { output: args.output, nodes: shown(&args.nodes)?, style })
    }

    /// The text for a workflow. `folder` is a run's.
    pub fn text(&self, workflow: &Workflow, folder: Option<&RunFolder>) -> String {
        match self.output {
            Some(GetOutput::Name) => output::workflow(workflow, Output::Name),
            Some(GetOutput::Json) => output::workflow(workflow, Output::Json),
            Some(GetOutput::Yaml) => output::workflow(workflow, Output::Yaml),
            Some(GetOutput::Short) => self.tree(workflow),
            Some(GetOutput::Wide) => {
                format!("{}\n{}{}", details(workflow), self.tree(workflow), summary(workflow, self.style, folder))
            }
            None => self.tree(workflow) + &summary(workflow, self.style, folder),
        }
    }

    fn tree(&self, workflow: &Workflow) -> String {
        let mut tree = Tree::default();
        tree.set_workflow(WorkflowView::of(workflow));
        if let Some(selector) = &self.nodes {
            let selected = workflow.status.nodes.values().filter(|node| selector.matches(node));
            tree.select(selected.map(|node| node.id.clone()).collect());
        }
        let mut nodes: Vec<NodeView> = workflow.status.nodes.values().map(NodeView::of).collect();
        nodes.sort_by(|a, b| (a.started_at, &a.name).cmp(&(b.started_at, &b.name)));
        nodes.into_iter().for_each(|node| tree.set_node(node));
        tree.rows(&self.style, None, None).join("\n") + "\n"
    }
}

/// Which nodes are shown; None: all of them.
///
/// # Errors
/// The selector is none.
pub fn shown(nodes: &ShownNodes) -> Result<Option<NodeSelector>, Failure> {
    let selector = match (&nodes.node_field_selector, nodes.status) {
        (Some(selector), _) => Some(selector.clone()),
        (None, Some(phase)) => Some(format!("phase={}", phase_name(phase))),
        (None, None) => None,
    };
    selector.map(|text| NodeSelector::parse(&text)).transpose().map_err(Failure::usage)
}

/// A phase as it is written.
fn phase_name(phase: PhaseArg) -> &'static str {
    match phase {
        PhaseArg::Pending => "Pending",
        PhaseArg::Running => "Running",
        PhaseArg::Succeeded => "Succeeded",
        PhaseArg::Skipped => "Skipped",
        PhaseArg::Failed => "Failed",
        PhaseArg::Error => "Error",
    }
}

/// What else there is to be known of a workflow, a line each. argo: commands/common/get.go, PrintWorkflowHelper.
fn details(workflow: &Workflow) -> String {
    let (metadata, executed, status) = (&workflow.metadata, workflow.executed_spec(), &workflow.status);
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut row = |name, value: String| rows.push((name, value));
    row("Namespace", metadata.namespace.clone());
    row("ServiceAccount", executed.service_account_name.clone());
    for (name, time) in
        [("Created", metadata.creation_timestamp), ("Started", status.started_at), ("Finished", status.finished_at)]
    {
        row(name, time.map(|time| format!("{time} ({} ago)", age(Some(time)))).unwrap_or_default());
    }
    row("Progress", status.progress.clone());
    let resources: Vec<String> =
        status.resources_duration.iter().map(|(name, seconds)| format!("{seconds}s*{name}")).collect();
    row("ResourcesDuration", resources.join(", "));
    for condition in &status.conditions {
        let message = if condition.message.is_empty() { String::new() } else { format!(": {}", condition.message) };
        row("Condition", format!("{} {}{message}", condition.r#type, condition.status));
    }
    for parameter in &executed.arguments.parameters {
        let value = parameter.value.as_ref().map(|value| value.as_str()).unwrap_or_default();
        row("Parameter", format!("{} = {}", parameter.name, value.replace('\n', " ")));
    }
    output::fields(&rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workflow() -> Workflow {
        serde_json::from_value(json!({
            "metadata": {"name": "w", "namespace": "n"},
            "spec": {"serviceAccountName": "robot", "arguments": {"parameters": [{"name": "p", "value": "1"}]}},
            "status": {"phase": "Failed", "message": "child 'w-1' failed", "progress": "1/2", "startedAt": "2026-01-01T00:00:00Z",
                "finishedAt": "2026-01-01T00:01:05Z", "conditions": [{"type": "Completed", "status": "True"}],
                "outputs": {"parameters": [{"name": "o", "value": "x"}]},
                "resourcesDuration": {"cpu": 3},
                "nodes": {
                    "w": {"id": "w", "name": "w", "displayName": "w", "type": "DAG", "templateName": "main", "phase": "Failed",
                        "children": ["w-1", "w-2"]},
                    "w-1": {"id": "w-1", "name": "w.a", "displayName": "a", "type": "Pod", "templateName": "t", "phase": "Failed",
                        "boundaryID": "w", "message": "exit code 1"},
                    "w-2": {"id": "w-2", "name": "w.b", "displayName": "b", "type": "Pod", "templateName": "t",
                        "phase": "Succeeded", "boundaryID": "w"},
                }},
        }))
        .unwrap()
    }

    fn text(output: Option<GetOutput>, selector: Option<&str>) -> String {
        let nodes = ShownNodes { status: None, node_field_selector: selector.map(str::to_owned) };
        let args = GetArgs { output, nodes, ..GetArgs::default() };
        Whole::new(&args, Style::new(false)).unwrap().text(&workflow(), None)
    }

    #[test]
    fn a_workflow_is_shown_with_its_nodes_and_its_end() {
        let expected = "\
w  Failed  1/2  1m5s  child 'w-1' failed
✖ w     main
├─ ✖ a  t             exit code 1
└─ ✔ b  t

w  Failed in 1m5s: child 'w-1' failed
  ✖ w.a: exit code 1
output    o = x
exit status 1
";
        assert_eq!(text(None, None), expected);
    }

    #[test]
    fn nodes_are_selected_by_their_fields() {
        let expected = "w  Failed  1/2  1m5s  child 'w-1' failed\n└─ ✔ b  t\n";
        assert_eq!(text(Some(GetOutput::Short), Some("phase=Succeeded")), expected);
    }

    #[test]
    fn a_tree_can_be_plain_ascii() {
        let args = GetArgs { output: Some(GetOutput::Short), no_utf8: true, ..GetArgs::default() };
        let text = Whole::new(&args, Style::new(false)).unwrap().text(&workflow(), None);
        let expected = "\
w  Failed  1/2  1m5s  child 'w-1' failed
x w     main
|- x a  t             exit code 1
`- + b  t
";
        assert_eq!(text, expected);
    }

    #[test]
    fn wide_tells_more() {
        let wide = text(Some(GetOutput::Wide), None);
        let (details, _) = wide.split_once("\n\n").unwrap();
        let lines: Vec<&str> = details.lines().filter(|line| !line.contains(" ago)")).collect();
        let expected = [
            "Namespace           n",
            "ServiceAccount      robot",
            "Progress            1/2",
            "ResourcesDuration   3s*cpu",
            "Condition           Completed True",
            "Parameter           p = 1",
        ];
        assert_eq!(lines, expected);
    }
}
