//! Mistakes that show only while a workflow runs, and what becomes of the workflow.

use serde_json::{Value, json};
use tiphys_api::{NodeStatus, Outputs, Workflow};
use tiphys_engine::PodRequest;
use tiphys_sim::{Faults, Outcome, World, simulate};

/// Runs a workflow of these templates. Every Pod succeeds, and prints what its command says.
fn run(templates: &Value) -> Workflow {
    let object = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": {"entrypoint": "main", "templates": templates}});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let mut script = |request: &PodRequest| {
        let container = request.template.container.as_ref();
        let result = container.and_then(|container| container.command.first()).cloned();
        Outcome::success(Outputs { result, ..Outputs::default() })
    };
    simulate(workflow, &World::default(), &mut script, &Faults::default()).expect("an end")
}

fn node<'a>(workflow: &'a Workflow, name: &str) -> &'a NodeStatus {
    workflow.status.nodes.values().find(|node| node.name == name).expect("the node")
}

fn told(node: &NodeStatus) -> String {
    format!("{} {} {}", node.r#type, node.phase, node.message)
}

#[test]
fn steps_without_groups_are_no_template() {
    let done =
        run(&json!([{"name": "main", "steps": [[{"name": "a", "template": "none"}]]}, {"name": "none", "steps": []}]));
    assert_eq!(told(node(&done, "wf[0].a")), "Skipped Error Template 'none' missing specification");
    let message = "step group deemed errored due to child wf[0].a error: Template 'none' missing specification";
    assert_eq!(told(node(&done, "wf[0]")), format!("StepGroup Error {message}"));
    assert_eq!((done.status.phase.to_string().as_str(), done.status.message.as_str()), ("Failed", message));
}

#[test]
fn a_pause_that_nobody_has_answered_is_an_error_of_its_steps() {
    let outputs = json!({"parameters": [{"name": "answer", "valueFrom": {"supplied": {}}}]});
    let pause = json!({"name": "pause", "suspend": {"duration": "2"}, "outputs": outputs});
    let message = "raw output parameter 'answer' has not been set and does not have a default value";
    let done = run(&json!([{"name": "main", "steps": [[{"name": "a", "template": "pause"}]]}, pause]));
    assert_eq!(told(node(&done, "wf[0].a")), format!("Suspend Error {message}"));
    let of_group = format!("step group deemed errored due to child wf[0].a error: {message}");
    assert_eq!(told(node(&done, "wf[0]")), format!("StepGroup Error {of_group}"));
    let done = run(&json!([{"name": "main", "dag": {"tasks": [{"name": "a", "template": "pause"}]}}, pause]));
    assert_eq!(told(node(&done, "wf.a")), format!("Suspend Error task 'wf.a' errored: {message}"));
}

#[test]
fn results_that_cannot_be_listed_are_an_error_of_the_steps() {
    let say = |text: &str| json!({"name": "say", "container": {"image": "x", "command": [text]}});
    let groups = |value: &str| {
        let arguments = json!({"parameters": [{"name": "in", "value": value}]});
        let looped = json!({"name": "a", "template": "say", "withItems": [1]});
        json!({"name": "main", "steps": [[looped], [{"name": "b", "template": "say", "arguments": arguments}]]})
    };
    let steps = groups("{{steps.a.outputs.result}}");
    let done = run(&json!([steps, say("{\"k\": 1}")]));
    assert_eq!(done.status.phase.to_string(), "Succeeded");
    let done = run(&json!([groups("nothing of it"), say("words")]));
    assert_eq!(done.status.phase.to_string(), "Succeeded");
    let done = run(&json!([steps, say("words")]));
    let message = "the result of wf[0].a(0:1) is no JSON, so the results of the loop cannot be listed: expected value at line 1 column 1";
    assert_eq!(told(node(&done, "wf")), format!("Steps Error {message}"));
    assert_eq!(done.status.message, format!("error in entry template execution: {message}"));
    assert!(!done.status.nodes.values().any(|node| node.name == "wf[1]"));
}

#[test]
fn a_duration_is_named_that_is_none() {
    let done = run(&json!([{"name": "main", "suspend": {"duration": "later"}}]));
    let message = "unable to parse later as a duration: time: invalid duration \"later\"";
    assert_eq!(node(&done, "wf").message, message);
    assert_eq!(done.status.message, format!("error in entry template execution: {message}"));
}

#[test]
fn an_absent_output_is_not_missed_in_a_loop_that_does_not_run() {
    let made = json!({"name": "made", "container": {"image": "x"}, "outputs": {"parameters": [{"name": "p", "valueFrom": {"path": "/p"}}]}});
    let used = json!({"name": "used", "inputs": {"parameters": [{"name": "in"}]}, "container": {"image": "x"}});
    let arguments = json!({"parameters": [{"name": "in", "value": "{{steps.a.outputs.parameters.p}}"}]});
    let looped = json!({"name": "b", "template": "used", "when": "false", "withItems": [1, 2], "arguments": arguments});
    let main = json!({"name": "main", "steps": [[{"name": "a", "template": "made", "when": "false"}], [looped]]});
    let done = run(&json!([main, made, used]));
    assert_eq!(told(node(&done, "wf[1].b(1:2)")), "Skipped Skipped when 'false' evaluated false");
    assert_eq!(done.status.phase.to_string(), "Succeeded");
}
