//! What others have written into a workflow: the user asks for something by changing the object. argo: util/util.go.

use std::collections::BTreeMap;

use tiphys_api::{NodeStatus, NodeType, Workflow, WorkflowSpec};
use tiphys_engine::{Fact, NodeId, Shutdown};

/// What the differences between the object that was read and the one that we keep ask for.
pub(super) fn asked(ours: &Workflow, theirs: &Workflow) -> Vec<Fact> {
    let mut facts = Vec::new();
    if ours.spec.shutdown != theirs.spec.shutdown {
        match theirs.spec.shutdown.as_str() {
            "Stop" => facts.push(Fact::Shutdown(Shutdown::Stop)),
            "Terminate" => facts.push(Fact::Shutdown(Shutdown::Terminate)),
            _ => {}
        }
    }
    facts.extend(changed_spec(&ours.spec, &theirs.spec).map(|spec| Fact::Spec(Box::new(spec))));
    let suspends = theirs.status.nodes.values().filter(|node| node.r#type == NodeType::Suspend);
    facts.extend(suspends.filter_map(|node| suspend_node(ours.status.nodes.get(&node.id)?, node)));
    let (before, now) = (ours.spec.suspend == Some(true), theirs.spec.suspend == Some(true));
    if before != now {
        facts.push(Fact::Suspended(now));
    }
    facts
}

/// A spec that differs in something else than what is asked for by `shutdown` and `suspend`.
fn changed_spec(ours: &WorkflowSpec, theirs: &WorkflowSpec) -> Option<WorkflowSpec> {
    if ours == theirs {
        return None;
    }
    let spec = WorkflowSpec { shutdown: ours.shutdown.clone(), suspend: ours.suspend, ..theirs.clone() };
    (spec != *ours).then_some(spec)
}

/// A suspend node that was ended, or given outputs.
fn suspend_node(ours: &NodeStatus, theirs: &NodeStatus) -> Option<Fact> {
    if ours.phase.is_fulfilled() {
        return None;
    }
    let supplied = |node: &NodeStatus| -> BTreeMap<String, String> {
        let parameters = node.outputs.iter().flat_map(|outputs| &outputs.parameters);
        parameters.filter_map(|one| Some((one.name.clone(), one.value.as_ref()?.as_str().to_owned()))).collect()
    };
    let (known, parameters) = (supplied(ours), supplied(theirs));
    let message = theirs.message.strip_prefix(ours.message.as_str()).unwrap_or(&theirs.message);
    let message = message.strip_prefix("; ").unwrap_or(message).to_owned();
    let ended = theirs.phase.is_fulfilled();
    if !ended && known == parameters && message.is_empty() {
        return None;
    }
    let node = NodeId::from(theirs.id.as_str());
    Some(Fact::SuspendNode { node, phase: ended.then_some(theirs.phase), message, parameters })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tiphys_api::NodePhase;

    use super::*;

    fn workflow(spec: Value, node: Value) -> Workflow {
        serde_json::from_value(json!({"spec": spec, "status": {"nodes": {"n": node}}})).unwrap()
    }

    #[test]
    fn users_ask_by_writing() {
        let node = json!({"id": "n", "type": "Suspend", "phase": "Running",
            "outputs": {"parameters": [{"name": "p", "valueFrom": {"supplied": {}}}]}});
        let ours = workflow(json!({}), node.clone());
        assert!(asked(&ours, &ours).is_empty());
        let stopped = asked(&ours, &workflow(json!({"shutdown": "Stop", "suspend": true}), node.clone()));
        assert!(matches!(stopped[..], [Fact::Shutdown(Shutdown::Stop), Fact::Suspended(true)]), "{stopped:?}");
        let wider = workflow(json!({"suspend": true, "parallelism": 2}), node);
        let facts = asked(&ours, &wider);
        let [Fact::Spec(spec), Fact::Suspended(true)] = &facts[..] else { panic!("{facts:?}") };
        assert_eq!((spec.parallelism, spec.suspend), (Some(2), None));
        let resumed = json!({"id": "n", "type": "Suspend", "phase": "Succeeded", "message": "by me",
            "outputs": {"parameters": [{"name": "p", "value": "v"}]}});
        let facts = asked(&ours, &workflow(json!({}), resumed));
        let [Fact::SuspendNode { phase: Some(NodePhase::Succeeded), message, parameters, .. }] = &facts[..] else {
            panic!("{facts:?}")
        };
        assert_eq!((message.as_str(), parameters["p"].as_str()), ("by me", "v"));
    }
}
