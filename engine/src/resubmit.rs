//! Submitting a workflow again as a new one, with or without what went well in it.
//!
//! argo: workflow/util/util.go, FormulateResubmitWorkflow.

use std::collections::HashSet;

use jiff::Timestamp;
use tiphys_api::{Condition, NodePhase, NodeStatus, NodeType, Nodes, ObjectMeta, Time, Workflow, WorkflowPhase};

use crate::id::NodeId;
use crate::manual_retry::override_parameters;

/// Labels that say how the old workflow came to be and ended, and that are not the new one's.
const LEFT: [&str; 6] = [
    "workflows.argoproj.io/creator",
    "workflows.argoproj.io/creator-email",
    "workflows.argoproj.io/creator-preferred-username",
    "workflows.argoproj.io/phase",
    "workflows.argoproj.io/completed",
    "workflows.argoproj.io/workflow-archiving-status",
];
/// Label: the workflow that this one was made from.
const PREVIOUS: &str = "workflows.argoproj.io/resubmitted-from-workflow";

/// The beginning of the name of a workflow that is made from another one.
pub fn resubmitted_prefix(workflow: &Workflow) -> String {
    match workflow.metadata.generate_name.as_str() {
        "" => format!("{}-", workflow.metadata.name),
        prefix => prefix.to_string(),
    }
}

/// A new workflow like this one. Its name is left to the server, unless `memoized` gives one: then Pods that went well are
/// not run again, and their nodes, which refer to the name, are in its status.
///
/// # Errors
/// In words for the user: a parameter that cannot be read, or nothing to take over since the workflow did not fail.
pub fn resubmit_workflow(
    old: &Workflow,
    memoized: Option<&str>,
    parameters: &[String],
    now: Timestamp,
) -> Result<Workflow, String> {
    let mut new = Workflow {
        api_version: old.api_version.clone(),
        kind: old.kind.clone(),
        metadata: ObjectMeta {
            generate_name: resubmitted_prefix(old),
            namespace: old.metadata.namespace.clone(),
            labels: old.metadata.labels.clone(),
            annotations: old.metadata.annotations.clone(),
            owner_references: old.metadata.owner_references.clone(),
            ..ObjectMeta::default()
        },
        spec: old.spec.clone(),
        ..Workflow::default()
    };
    new.metadata.labels.retain(|name, _| !LEFT.contains(&name.as_str()));
    new.metadata.labels.insert(PREVIOUS.to_string(), old.metadata.name.clone());
    new.spec.shutdown = String::new();
    if new.spec.active_deadline_seconds == Some(0) {
        new.spec.active_deadline_seconds = None;
    }
    override_parameters(&mut new, parameters)?;
    let Some(name) = memoized else { return Ok(new) };
    if !matches!(old.status.phase, WorkflowPhase::Failed | WorkflowPhase::Error) {
        return Err("workflow must be Failed/Error to resubmit in memoized mode".to_string());
    }
    new.metadata.name = name.to_string();
    let renaming = Renaming { old: &old.metadata.name, new: name, nodes: &old.status.nodes };
    let handler = format!("{}.onExit", old.metadata.name);
    for node in old.status.nodes.values().filter(|node| !node.name.starts_with(&handler)) {
        if let Some(node) = renaming.node(node, now) {
            new.status.nodes.insert(node.id.clone(), node);
        }
    }
    new.status.stored_templates.clone_from(&old.status.stored_templates);
    let open = Condition { r#type: "Completed".into(), status: "False".into(), ..Condition::default() };
    new.status.conditions.push(open);
    Ok(new)
}

/// Nodes of one workflow as another's.
struct Renaming<'a> {
    old: &'a str,
    new: &'a str,
    nodes: &'a Nodes,
}

impl Renaming<'_> {
    /// A node as the new workflow begins with it; None where it is decided anew whether it is there at all.
    fn node(&self, node: &NodeStatus, now: Timestamp) -> Option<NodeStatus> {
        let failed = node.phase.is_failed_or_error();
        let skipped = node.r#type == NodeType::Skipped;
        if skipped && !self.led_to_success(node) {
            return None;
        }
        let mut new = node.clone();
        new.name = self.name(&node.name);
        new.id = NodeId::of(self.new, &new.name).to_string();
        new.boundary_id = self.id(&node.boundary_id).unwrap_or_default();
        new.children = node.children.iter().filter_map(|id| self.id(id)).collect();
        new.outbound_nodes = node.outbound_nodes.iter().filter_map(|id| self.id(id)).collect();
        // A Pod that failed has not begun, so that it is made.
        let begun = !(failed && node.r#type == NodeType::Pod);
        new.started_at = begun.then(|| Time::from_second(now.as_second()));
        new.finished_at = new.started_at;
        if !failed && node.r#type == NodeType::Pod {
            new.phase = NodePhase::Skipped;
            new.r#type = NodeType::Skipped;
            new.message = format!("original pod: {}", node.id);
        } else {
            new.phase = NodePhase::Pending;
            new.message = String::new();
        }
        Some(new)
    }

    fn name(&self, name: &str) -> String {
        name.strip_prefix(self.old).map_or_else(|| name.to_string(), |rest| format!("{}{rest}", self.new))
    }

    fn id(&self, id: &str) -> Option<String> {
        let node = self.nodes.get(id)?;
        Some(NodeId::of(self.new, &self.name(&node.name)).to_string())
    }

    /// Whether anything after a node went well.
    fn led_to_success(&self, node: &NodeStatus) -> bool {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open: Vec<&str> = node.children.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            let Some(node) = self.nodes.get(id).filter(|_| seen.insert(id)) else { continue };
            if node.phase == NodePhase::Succeeded {
                return true;
            }
            open.extend(node.children.iter().map(String::as_str));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn old(phase: &str) -> Workflow {
        serde_json::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
            "metadata": {"name": "w-1", "generateName": "w-", "namespace": "n", "uid": "u", "resourceVersion": "7",
                "labels": {"mine": "1", "workflows.argoproj.io/phase": phase, "workflows.argoproj.io/completed": "true",
                    "workflows.argoproj.io/creator": "me"},
                "annotations": {"a": "b"}},
            "spec": {"shutdown": "Stop", "activeDeadlineSeconds": 0,
                "arguments": {"parameters": [{"name": "p", "value": "1"}, {"name": "q", "value": "2"}]}},
            "status": {"phase": phase, "storedTemplates": {"t": {"name": "t"}}, "nodes": {
                "w-1": {"id": "w-1", "name": "w-1", "type": "Steps", "phase": "Failed", "message": "child failed",
                    "children": ["w-1-g"], "outboundNodes": ["w-1-b"]},
                "w-1-a": {"id": "w-1-a", "name": "w-1[0].a", "type": "Pod", "phase": "Succeeded", "boundaryID": "w-1",
                    "outputs": {"result": "x"}},
                "w-1-b": {"id": "w-1-b", "name": "w-1[1].b", "type": "Pod", "phase": "Failed", "message": "exit code 1"},
                "w-1-s": {"id": "w-1-s", "name": "w-1[1].s", "type": "Skipped", "phase": "Skipped"},
                "w-1-x": {"id": "w-1-x", "name": "w-1.onExit", "type": "Pod", "phase": "Succeeded"},
            }},
        }))
        .unwrap()
    }

    #[test]
    fn a_new_workflow_is_like_the_old_one() {
        let new = resubmit_workflow(&old("Succeeded"), None, &["q=3".into()], Timestamp::MIN).unwrap();
        assert_eq!(
            serde_json::to_value(&new).unwrap(),
            json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
                "metadata": {"generateName": "w-", "namespace": "n", "annotations": {"a": "b"},
                    "labels": {"mine": "1", "workflows.argoproj.io/resubmitted-from-workflow": "w-1"}},
                "spec": {"arguments": {"parameters": [{"name": "q", "value": "3"}, {"name": "p", "value": "1"}]}},
            })
        );
        let mut named = old("Failed");
        named.metadata.generate_name.clear();
        assert_eq!(resubmitted_prefix(&named), "w-1-");
    }

    #[test]
    fn what_went_well_is_taken_over() {
        let new = resubmit_workflow(&old("Failed"), Some("w-2"), &[], Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(new.metadata.name, "w-2");
        let node = |name: &str| {
            let id = NodeId::of("w-2", name);
            serde_json::to_value(new.status.nodes.get(id.as_str()).unwrap()).unwrap()
        };
        assert_eq!(new.status.nodes.len(), 3);
        let a = node("w-2[0].a");
        assert_eq!(
            (&a["type"], &a["phase"], &a["message"]),
            (&json!("Skipped"), &json!("Skipped"), &json!("original pod: w-1-a"))
        );
        assert_eq!((&a["outputs"]["result"], &a["boundaryID"]), (&json!("x"), &json!("w-2")));
        let b = node("w-2[1].b");
        assert_eq!((&b["phase"], b.get("message"), b.get("startedAt")), (&json!("Pending"), None, None));
        assert_eq!(node("w-2")["outboundNodes"], json!([NodeId::of("w-2", "w-2[1].b").as_str()]));
        let error = resubmit_workflow(&old("Succeeded"), Some("w-2"), &[], Timestamp::MIN).unwrap_err();
        assert_eq!(error, "workflow must be Failed/Error to resubmit in memoized mode");
    }
}
