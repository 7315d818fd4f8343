//! What a user does to suspend nodes by changing the object: ends them, gives them outputs, a phase, a message.
//!
//! argo: workflow/util/util.go, ResumeWorkflow and updateSuspendedNode.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tiphys_api::{NodePhase, NodeStatus, NodeType, Parameter, Time, Workflow};

use crate::field_selector::NodeSelector;

/// What suspend nodes are given.
#[derive(Clone, Debug, Default)]
pub struct SetNodes {
    /// The phase that they take; one that is final ends them.
    pub phase: Option<NodePhase>,
    /// A message; empty leaves the one they have.
    pub message: String,
    /// Values of output parameters that were to be supplied.
    pub parameters: BTreeMap<String, String>,
}

/// Lets a suspended workflow go on: `spec.suspend` goes, and every suspend node that waits succeeds. Gives the ids of the
/// nodes that changed.
///
/// # Errors
/// In words for the user: an output that has to be supplied, and has no default.
pub fn resume_workflow(workflow: &mut Workflow, now: Timestamp) -> Result<Vec<String>, String> {
    let mut changed = Vec::new();
    for (id, node) in workflow.status.nodes.iter_mut().filter(|(_, node)| waits(node)) {
        take_defaults(node)?;
        node.phase = NodePhase::Succeeded;
        node.finished_at = Some(Time::from_second(now.as_second()));
        changed.push(id.clone());
    }
    workflow.spec.suspend = None;
    Ok(changed)
}

/// Changes the suspend nodes that wait and are selected; gives their ids.
///
/// # Errors
/// In words for the user: no such node, or an output parameter that is not to be supplied.
pub fn set_nodes(
    workflow: &mut Workflow,
    selector: &NodeSelector,
    set: &SetNodes,
    now: Timestamp,
) -> Result<Vec<String>, String> {
    let mut changed = Vec::new();
    let mut exported = Vec::new();
    for (id, node) in workflow.status.nodes.iter_mut() {
        if !waits(node) || !selector.matches(node) {
            continue;
        }
        for (name, value) in &set.parameters {
            exported.extend(supply(node, name, value)?);
        }
        if let Some(phase) = set.phase {
            node.phase = phase;
            if phase.is_fulfilled() {
                node.finished_at = Some(Time::from_second(now.as_second()));
            }
        }
        if !set.message.is_empty() {
            node.message.clone_from(&set.message);
        }
        changed.push(id.clone());
    }
    if changed.is_empty() {
        return Err(format!("no suspend node that waits matches {selector}: only those can be set"));
    }
    for parameter in exported {
        let outputs = &mut workflow.status.outputs.get_or_insert_default().parameters;
        match outputs.iter_mut().find(|known| known.name == parameter.name) {
            Some(known) => known.value = parameter.value,
            None => outputs.push(parameter),
        }
    }
    Ok(changed)
}

/// argo: NodeStatus.IsActiveSuspendNode
fn waits(node: &NodeStatus) -> bool {
    node.r#type == NodeType::Suspend && node.phase == NodePhase::Running
}

/// Gives a node an output; where that is the workflow's too, gives it as that.
fn supply(node: &mut NodeStatus, name: &str, value: &str) -> Result<Option<Parameter>, String> {
    let outputs = node.outputs.as_mut().ok_or("cannot set output parameters: the node expects none")?;
    let found = outputs.parameters.iter_mut().find(|parameter| parameter.name == name);
    let parameter = found.ok_or_else(|| format!("the node expects no output parameter '{name}'"))?;
    let supplied = parameter.value_from.as_ref().is_some_and(|from| from.supplied.is_some());
    if !supplied {
        return Err(format!("cannot set output parameter '{name}': it is not to be supplied, or was set already"));
    }
    parameter.value = Some(value.into());
    parameter.value_from = None;
    let name = parameter.global_name.clone();
    Ok((!name.is_empty()).then(|| Parameter { name, value: Some(value.into()), ..Parameter::default() }))
}

/// argo: OverrideOutputParametersWithDefault
fn take_defaults(node: &mut NodeStatus) -> Result<(), String> {
    for parameter in node.outputs.iter_mut().flat_map(|outputs| &mut outputs.parameters) {
        let Some(from) = parameter.value_from.as_ref().filter(|from| from.supplied.is_some()) else { continue };
        let missing =
            || format!("raw output parameter '{}' has not been set and does not have a default value", parameter.name);
        parameter.value = Some(from.default.clone().ok_or_else(missing)?);
        parameter.value_from = None;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workflow(parameter: Value) -> Workflow {
        serde_json::from_value(json!({"metadata": {"name": "w"}, "spec": {"suspend": true}, "status": {"nodes": {
            "w-1": {"id": "w-1", "displayName": "ask", "type": "Suspend", "phase": "Running",
                "outputs": {"parameters": [parameter]}},
            "w-2": {"id": "w-2", "displayName": "over", "type": "Suspend", "phase": "Failed"},
            "w-3": {"id": "w-3", "displayName": "pod", "type": "Pod", "phase": "Running"},
        }}}))
        .unwrap()
    }

    #[test]
    fn resuming_ends_what_waits() {
        let mut resumed = workflow(json!({"name": "p", "valueFrom": {"supplied": {}, "default": "d"}}));
        assert_eq!(resume_workflow(&mut resumed, Timestamp::UNIX_EPOCH), Ok(vec!["w-1".to_string()]));
        let node = serde_json::to_value(resumed.status.nodes.get("w-1")).unwrap();
        assert_eq!((&node["phase"], &node["finishedAt"]), (&json!("Succeeded"), &json!("1970-01-01T00:00:00Z")));
        assert_eq!(node["outputs"]["parameters"], json!([{"name": "p", "value": "d"}]));
        assert_eq!(resumed.spec.suspend, None);
        assert_eq!(resumed.status.nodes.get("w-3").map(|node| node.phase), Some(NodePhase::Running));
        let error = resume_workflow(&mut workflow(json!({"name": "p", "valueFrom": {"supplied": {}}})), Timestamp::MIN);
        assert!(error.unwrap_err().starts_with("raw output parameter 'p' has not been set"));
    }

    #[test]
    fn nodes_are_set_by_selector() {
        let from = json!({"name": "p", "globalName": "g", "valueFrom": {"supplied": {}}});
        let mut given = workflow(from.clone());
        let select = |text: &str| NodeSelector::parse(text).unwrap();
        let parameters = BTreeMap::from([("p".to_string(), "v".to_string())]);
        let set = SetNodes { message: "by hand".into(), parameters, phase: None };
        assert_eq!(
            set_nodes(&mut given, &select("displayName=ask"), &set, Timestamp::MIN),
            Ok(vec!["w-1".to_string()])
        );
        let node = serde_json::to_value(given.status.nodes.get("w-1")).unwrap();
        assert_eq!((&node["phase"], &node["message"]), (&json!("Running"), &json!("by hand")));
        assert_eq!(node["outputs"]["parameters"][0]["value"], "v");
        let outputs = serde_json::to_value(&given.status.outputs).unwrap();
        assert_eq!(outputs["parameters"], json!([{"name": "g", "value": "v"}]));
        for (selector, name, words) in [
            ("displayName=over", "p", "no suspend node that waits matches displayName=over"),
            ("displayName=ask", "q", "the node expects no output parameter 'q'"),
        ] {
            let set = SetNodes { parameters: BTreeMap::from([(name.into(), "v".into())]), ..SetNodes::default() };
            let error = set_nodes(&mut workflow(from.clone()), &select(selector), &set, Timestamp::MIN).unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
