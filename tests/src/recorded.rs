//! The recorded cases on the simulator: the workflow as it was submitted, each Pod and task as on the real cluster.

use serde_json::Value;
use tiphys_api::document::{Object, parse};
use tiphys_api::{NodeResult, Outputs, Workflow};
use tiphys_engine::{ConfigMapData, ContainerState, ContainerStatus, PodPhase, PodRequest, PodState, TaskRequest};
use tiphys_sim::{Outcome, Script, World};

use crate::corpus::{self, Case};

/// What else existed in the namespace.
pub fn world(folder: &std::path::Path) -> World {
    let mut world = World::default();
    for (name, text) in corpus::common(folder) {
        for document in parse(&name, &text).unwrap_or_default() {
            match document.object {
                Object::WorkflowTemplate(template) => {
                    world.templates.insert(template.metadata.name, template.spec);
                }
                Object::ClusterWorkflowTemplate(template) => {
                    world.cluster_templates.insert(template.metadata.name, template.spec);
                }
                Object::ConfigMap(map) => {
                    let data = ConfigMapData {
                        labels: map.metadata.labels,
                        annotations: map.metadata.annotations,
                        data: map.data,
                    };
                    world.config_maps.insert(map.metadata.name, data);
                }
                _ => {}
            }
        }
    }
    world
}

/// The case's workflow with the names that a cluster would have given it.
///
/// # Panics
/// On a case without a Workflow.
pub fn workflow(case: &Case) -> Workflow {
    let documents = parse("workflow.yaml", &case.manifest).expect("the manifest can be read");
    let found = documents.into_iter().find_map(|document| match document.object {
        Object::Workflow(workflow) => Some(*workflow),
        _ => None,
    });
    let mut workflow = found.expect("there is a Workflow");
    if workflow.metadata.name.is_empty() {
        // Kubernetes cuts what it makes a name of, so that the name fits a label.
        let base: String = workflow.metadata.generate_name.chars().take(58).collect();
        workflow.metadata.name = format!("{base}x7k2p");
    }
    workflow.metadata.namespace = "argo".into();
    workflow.metadata.uid = "0b5ed5a4-4b4a-4a4b-8f5f-d2b4c0ffee00".into();
    workflow
}

/// A case as it came out on the real cluster.
pub struct Recording {
    /// The normalised outcome.
    pub expected: Value,
    /// The workflow's name here.
    pub workflow: String,
}

impl Script for Recording {
    fn outcome(&mut self, request: &PodRequest) -> Outcome {
        outcome(request, &self.expected, &self.workflow)
    }

    fn result(&mut self, request: &TaskRequest) -> (NodeResult, i64) {
        let key = request.node_name.replace(&self.workflow, "{wf}");
        let node = serde_json::to_string(&self.expected["nodes"][&key]).unwrap_or_default();
        (serde_json::from_str(&node.replace("{wf}", &self.workflow)).unwrap_or_default(), 2)
    }
}

/// How the node's Pod came out on the real cluster.
fn outcome(request: &PodRequest, expected: &Value, workflow: &str) -> Outcome {
    let key = request.node_name.replace(workflow, "{wf}");
    let node = &expected["nodes"][&key];
    let text = |value: &Value| serde_json::to_string(value).unwrap_or_default().replace("{wf}", workflow);
    let mut outputs: Outputs = serde_json::from_str(&text(&node["outputs"])).unwrap_or_default();
    let exit_code = outputs.exit_code.take();
    let message = node["message"].as_str().unwrap_or_default().to_string();
    let state = match node["phase"].as_str() {
        Some("Failed" | "Error") => failed(&message, exit_code.as_deref(), &key, expected),
        _ => PodState {
            phase: PodPhase::Succeeded,
            containers: containers(exit_code.as_deref(), &key, expected),
            ..Default::default()
        },
    };
    let refused = node["phase"] == "Error" && parse_message(&message).is_none();
    let refused = if refused { message.replace("{pod}", &request.pod_name) } else { String::new() };
    Outcome { state, outputs, seconds: 2, daemon: request.template.is_daemon(), refused }
}

fn over(name: &str, exit_code: i32, reason: &str, message: &str) -> ContainerState {
    let status =
        ContainerStatus::Terminated { exit_code, reason: reason.into(), message: message.into(), finished: None };
    ContainerState { name: name.into(), init: false, ready: false, status }
}

/// The containers of a Pod: those of a container set by their nodes, else main.
fn containers(exit_code: Option<&str>, key: &str, expected: &Value) -> Vec<ContainerState> {
    let prefix = format!("{key}.");
    let nodes = expected["nodes"].as_object().into_iter().flatten();
    let mut found: Vec<ContainerState> = nodes
        .filter(|(name, node)| name.starts_with(&prefix) && node["type"] == "Container")
        .map(|(name, node)| {
            let container = &name[prefix.len()..];
            match node["phase"].as_str() {
                Some("Succeeded") => over(container, 0, "Completed", ""),
                _ => parse_message(node["message"].as_str().unwrap_or_default())
                    .unwrap_or_else(|| over(container, 1, "Error", "")),
            }
        })
        .collect();
    if let (true, Some(code)) = (found.is_empty(), exit_code) {
        found.push(over("main", code.parse().unwrap_or(0), "Error", ""));
    }
    found.push(over("wait", 0, "Completed", ""));
    found
}

/// `main: Error (exit code 1): text` as a container's state.
fn parse_message(message: &str) -> Option<ContainerState> {
    let (name, rest) = message.split_once(": ")?;
    let (reason, rest) = rest.split_once(" (exit code ")?;
    let (code, rest) = rest.split_once(')')?;
    Some(over(name, code.parse().ok()?, reason, rest.strip_prefix(": ").unwrap_or_default()))
}

fn failed(message: &str, exit_code: Option<&str>, key: &str, expected: &Value) -> PodState {
    let mut containers = containers(exit_code, key, expected);
    match parse_message(message) {
        Some(state) => {
            containers.retain(|known| known.name != state.name);
            containers.insert(0, state);
            PodState { phase: PodPhase::Failed, containers, ..Default::default() }
        }
        None => PodState { phase: PodPhase::Failed, message: message.into(), containers, ..Default::default() },
    }
}
