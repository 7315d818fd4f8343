//! How a workflow and its nodes ended, beside how ours would have.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tiphys_api::{NodeStatus, Workflow};
use tiphys_podspec::compare::differences;

use super::divergence::{Divergence, Kind, Report};

/// The fields of a node that are compared. Times, hosts and addresses are the Pods', and what was measured differs by chance.
const NODE: [&str; 16] = [
    "boundaryID",
    "children",
    "daemoned",
    "displayName",
    "inputs",
    "memoizationStatus",
    "message",
    "nodeFlag",
    "outboundNodes",
    "outputs",
    "phase",
    "progress",
    "templateName",
    "templateRef",
    "templateScope",
    "type",
];

/// Every divergence between two workflows that are over, nodes of which something was told already left out.
pub fn compare(theirs: &Workflow, ours: &Workflow, told: &Report) -> Vec<Divergence> {
    let mut found = Vec::new();
    let whole = |workflow: &Workflow| {
        let mut conditions: Vec<String> =
            workflow.status.conditions.iter().map(|one| format!("{}={}", one.r#type, one.status)).collect();
        conditions.sort();
        let status = &workflow.status;
        without_blanks(json!({
            "phase": status.phase, "message": status.message, "progress": status.progress,
            "outputs": value_of(&status.outputs), "conditions": conditions,
        }))
    };
    add(Kind::Workflow, &theirs.metadata.name, &whole(theirs), &whole(ours), &mut found);
    for (id, node) in &theirs.status.nodes {
        if told.knows(&node.name) {
            continue;
        }
        match ours.status.nodes.get(id) {
            Some(our) => found.extend(compare_node(node, our)),
            None => found.push(whole_node(Kind::NodeUnexpected, node)),
        }
    }
    let missing = ours
        .status
        .nodes
        .iter()
        .filter(|(id, node)| !theirs.status.nodes.contains_key(id.as_str()) && !told.knows(&node.name));
    found.extend(missing.map(|(_, node)| whole_node(Kind::NodeMissing, node)));
    found
}

/// Nodes that are over for both, in another phase: whatever comes next follows from that.
pub fn parted(theirs: &Workflow, ours: &Workflow, told: &Report) -> Vec<Divergence> {
    let is_over = |node: &NodeStatus| node.phase.is_fulfilled() && node.task_result_synced.unwrap_or(true);
    let both = theirs.status.nodes.values().filter_map(|node| Some((node, ours.status.nodes.get(&node.id)?)));
    let parted = both.filter(|(their, our)| their.phase != our.phase && is_over(their) && is_over(our));
    parted.filter(|(their, _)| !told.knows(&their.name)).flat_map(|(their, our)| compare_node(their, our)).collect()
}

fn compare_node(theirs: &NodeStatus, ours: &NodeStatus) -> Vec<Divergence> {
    let mut found = Vec::new();
    if theirs != ours {
        add(Kind::Node, &theirs.name, &kept(theirs), &kept(ours), &mut found);
    }
    found
}

fn add(kind: Kind, node: &str, theirs: &Value, ours: &Value, found: &mut Vec<Divergence>) {
    let one = |(at, difference)| Divergence { kind, node: node.to_owned(), at, difference };
    found.extend(differences(theirs, ours).into_iter().map(one));
}

fn whole_node(kind: Kind, node: &NodeStatus) -> Divergence {
    let difference = format!("{} {} {}", node.r#type, node.phase, node.message);
    Divergence { kind, node: node.name.clone(), at: String::new(), difference: difference.trim_end().to_owned() }
}

fn kept(node: &NodeStatus) -> Value {
    let mut node = value_of(node);
    let mut kept = Map::new();
    for field in NODE {
        let mut value = node[field].take();
        if let ("children" | "outboundNodes", Value::Array(list)) = (field, &mut value) {
            list.sort_unstable_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
        kept.insert(field.to_owned(), value);
    }
    without_blanks(Value::Object(kept))
}

/// What is empty is the same as what is not there.
fn without_blanks(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        });
    }
    value
}

fn value_of(object: &impl Serialize) -> Value {
    // Types that were read from JSON can be written as JSON.
    serde_json::to_value(object).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::divergence::News;
    use super::*;

    fn workflow(phase: &str, nodes: Value) -> Workflow {
        serde_json::from_value(json!({"metadata": {"name": "wf"}, "status": {"phase": phase, "nodes": nodes}})).unwrap()
    }

    fn node(name: &str, phase: &str, children: &[&str]) -> Value {
        json!({"id": name, "name": name, "type": "Pod", "phase": phase, "children": children, "hostNodeName": "x"})
    }

    fn texts(found: &[Divergence]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_differs_is_named() {
        let mut hosted = node("a", "Succeeded", &["c", "b"]);
        hosted["hostNodeName"] = "y".into();
        let theirs =
            workflow("Succeeded", json!({"a": hosted, "b": node("b", "Failed", &[]), "d": node("d", "Error", &[])}));
        let ours = workflow(
            "Failed",
            json!({"a": node("a", "Succeeded", &["b", "c"]), "b": node("b", "Error", &[]), "e": node("e", "Omitted", &[])}),
        );
        let mut told = Report::default();
        assert_eq!(
            texts(&compare(&theirs, &ours, &told)),
            [
                "workflow wf.phase: \"Succeeded\" / \"Failed\"",
                "node b.phase: \"Failed\" / \"Error\"",
                "node_unexpected d: Pod Error",
                "node_missing e: Pod Omitted",
            ]
        );
        let parted = parted(&theirs, &ours, &told);
        assert_eq!(texts(&parted), ["node b.phase: \"Failed\" / \"Error\""]);
        assert!(parted.iter().all(|one| told.add(one) == News::Told));
        assert!(super::parted(&theirs, &ours, &told).is_empty());
        assert!(!texts(&compare(&theirs, &ours, &told)).iter().any(|text| text.starts_with("node b")));
    }

    #[test]
    fn what_is_not_over_has_not_parted() {
        let theirs = workflow("Running", json!({"a": node("a", "Failed", &[]), "b": node("b", "Running", &[])}));
        let mut unsynced = node("a", "Error", &[]);
        unsynced["taskResultSynced"] = false.into();
        let ours = workflow("Running", json!({"a": unsynced, "b": node("b", "Failed", &[])}));
        assert!(parted(&theirs, &ours, &Report::default()).is_empty());
    }
}
