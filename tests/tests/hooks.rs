//! When life-cycle hooks are run.

use serde_json::{Value, json};
use tiphys_api::{NodePhase, Outputs, Workflow};
use tiphys_engine::PodRequest;
use tiphys_sim::{Faults, Outcome, World, simulate};

/// Runs a workflow of these templates, in which every Pod of the template `bad` fails.
fn run(spec: &Value) -> Workflow {
    let mut spec = spec.clone();
    spec["entrypoint"] = "main".into();
    let templates = spec["templates"].as_array_mut().expect("templates");
    templates.extend(["good", "bad"].map(|name| json!({"name": name, "container": {"image": "x", "command": [name]}})));
    let object = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": spec});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let mut script = |request: &PodRequest| match request.template.name.as_str() {
        "bad" => Outcome::failure(1, ""),
        _ => Outcome::success(Outputs::default()),
    };
    simulate(workflow, &World::default(), &mut script, &Faults::default()).expect("an end")
}

/// The names of the nodes that hooks made, in the order in which they began, and their phases.
fn hooked(workflow: &Workflow) -> Vec<(&str, NodePhase)> {
    let nodes = workflow.status.nodes.values();
    let hooks = nodes.filter(|node| node.node_flag.as_ref().is_some_and(|flag| flag.hooked));
    let mut hooks: Vec<_> = hooks.collect();
    hooks.sort_by_key(|node| (node.started_at.map(|time| time.0), node.name.clone()));
    hooks.into_iter().map(|node| (node.name.as_str(), node.phase)).collect()
}

fn of_each_phase() -> Value {
    let hook = |phase: &str| json!({"expression": format!("workflow.status == '{phase}'"), "template": "good"});
    json!({"running": hook("Running"), "well": hook("Succeeded"), "failed": hook("Failed")})
}

#[test]
fn a_workflows_hooks_see_how_it_ends() {
    let steps = |template: &str| json!([{"name": "main", "steps": [[{"name": "a", "template": template}]]}]);
    let good = run(&json!({"hooks": of_each_phase(), "templates": steps("good")}));
    assert_eq!(hooked(&good), [("wf.hooks.running", NodePhase::Succeeded), ("wf.hooks.well", NodePhase::Succeeded)]);
    let well = good.status.nodes.values().find(|node| node.name == "wf.hooks.well").expect("the hook");
    assert!(good.status.nodes["wf"].children.contains(&well.id));
    let bad = run(&json!({"hooks": of_each_phase(), "templates": steps("bad")}));
    assert_eq!(hooked(&bad), [("wf.hooks.running", NodePhase::Succeeded), ("wf.hooks.failed", NodePhase::Succeeded)]);
}

#[test]
fn a_workflows_hooks_are_over_before_its_exit_handler_begins() {
    let templates = json!([{"name": "main", "steps": [[{"name": "a", "template": "good"}]]}]);
    let done = run(&json!({"hooks": of_each_phase(), "onExit": "good", "templates": templates}));
    let names: Vec<&str> = hooked(&done).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["wf.hooks.running", "wf.hooks.well", "wf.onExit"]);
}

#[test]
fn what_is_running_from_its_birth_has_its_hooks_run() {
    let task = |name: &str, template: &str, more: Value| {
        let expression = format!("tasks.{name}.status == 'Running'");
        let mut task = json!({"name": name, "template": template});
        task["hooks"] = json!({"at-work": {"expression": expression, "template": "good"}});
        task.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        task
    };
    let tasks = [
        task("steps", "steps", json!({})),
        task("dag", "dag", json!({})),
        task("loop", "good", json!({"withItems": [1, 2]})),
        task("retried", "retried", json!({})),
    ];
    let templates = json!([
        {"name": "main", "dag": {"tasks": tasks}},
        {"name": "steps", "steps": [[{"name": "a", "template": "good"}]]},
        {"name": "dag", "dag": {"tasks": [{"name": "a", "template": "good"}]}},
        {"name": "retried", "retryStrategy": {"limit": 1}, "container": {"image": "x"}},
    ]);
    let mut names: Vec<String> =
        hooked(&run(&json!({"templates": templates}))).into_iter().map(|(name, _)| name.into()).collect();
    names.sort();
    let expected = ["dag", "loop", "retried", "steps"].map(|name| format!("wf.{name}.hooks.at-work"));
    assert_eq!(names, expected);
}
