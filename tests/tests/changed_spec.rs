//! A user changes the spec of a workflow while it runs.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::{Workflow, WorkflowSpec};
use tiphys_engine::{Action, EngineConfig, Fact, Need, Plan, PodPhase, PodState, Run};
use tiphys_tests::settle::{no_config_map, settle};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn spec(more: Value) -> Value {
    let mut spec = json!({"entrypoint": "main", "templates": [
        {"name": "main", "steps": [[{"name": "a", "template": "pod", "withItems": [1, 2, 3]}]]},
        {"name": "pod", "container": {"image": "before"}},
    ]});
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    spec
}

fn begin(spec: &Value, template: &Value, defaults: Value) -> (Run, Plan) {
    let object = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": spec});
    let read = |value: Value| serde_json::from_value::<Workflow>(value).expect("a workflow");
    let workflow_defaults = Some(Arc::new(read(json!({"spec": defaults}))));
    let mut run = Run::new(read(object), EngineConfig { workflow_defaults, ..EngineConfig::default() }, at(0));
    let plan = settle(&mut run, at(0), |need| match need {
        Need::Template { cluster_scope, name } => {
            let found = Ok(Box::new(serde_json::from_value(template.clone()).expect("a spec")));
            Fact::Template { cluster_scope, name, found }
        }
        need => no_config_map(need),
    });
    (run, plan)
}

fn change(run: &mut Run, spec: Value, second: i64) -> Plan {
    let spec: WorkflowSpec = serde_json::from_value(spec).expect("a spec");
    run.observe(Fact::Spec(Box::new(spec)), at(second));
    run.plan(at(second))
}

/// The images of the Pods that a plan makes.
fn made(plan: &Plan) -> Vec<String> {
    let images = plan.actions.iter().filter_map(|action| match action {
        Action::CreatePod(request) => request.template.container.as_ref().map(|container| container.image.clone()),
        _ => None,
    });
    images.collect()
}

#[test]
fn more_room_is_used_at_once() {
    let (mut run, plan) = begin(&spec(json!({"parallelism": 1})), &json!({}), json!({}));
    assert_eq!(made(&plan).len(), 1);
    assert_eq!(made(&change(&mut run, spec(json!({"parallelism": 2})), 1)).len(), 1);
    // What nodes are made from is what it was at the beginning.
    let mut other = spec(json!({}));
    other["templates"][1]["container"]["image"] = json!("after");
    assert_eq!(made(&change(&mut run, other, 2)), ["before"]);
}

#[test]
fn the_deadline_moves() {
    let (mut run, plan) = begin(&spec(json!({"activeDeadlineSeconds": 100})), &json!({}), json!({}));
    assert_eq!(plan.wake_at, Some(at(100)));
    let pods: Vec<_> = run.workflow().status.nodes.values().filter(|node| node.name.contains('(')).cloned().collect();
    for node in &pods {
        let state = Box::new(PodState { phase: PodPhase::Running, ..PodState::default() });
        run.observe(Fact::Pod { node: node.id.as_str().into(), state }, at(1));
    }
    assert_eq!(change(&mut run, spec(json!({})), 2).wake_at, None);
    assert_eq!(change(&mut run, spec(json!({"activeDeadlineSeconds": 300})), 3).wake_at, Some(at(300)));
    let plan = change(&mut run, spec(json!({"activeDeadlineSeconds": 10})), 20);
    let killed = plan.actions.iter().filter(|action| matches!(action, Action::KillPod { .. })).count();
    assert_eq!(killed, 3);
}

#[test]
fn what_is_done_at_the_end_is_what_the_spec_says_then() {
    let defaults = json!({"podGC": {"strategy": "OnPodCompletion"}});
    let (mut run, _) = begin(&spec(json!({"ttlStrategy": {"secondsAfterCompletion": 1}})), &json!({}), defaults);
    change(&mut run, spec(json!({"ttlStrategy": {"secondsAfterCompletion": 2}, "priority": 3})), 1);
    for spec in [&run.workflow().spec, run.spec()] {
        let found = serde_json::to_value(spec).expect("JSON");
        assert_eq!(found["ttlStrategy"], json!({"secondsAfterCompletion": 2}));
        // The defaults lie under the new one as well.
        assert_eq!(found["podGC"], json!({"strategy": "OnPodCompletion"}));
        assert_eq!(found["priority"], 3);
    }
}

#[test]
fn one_from_a_template_stays() {
    let own = json!({"workflowTemplateRef": {"name": "t"}, "parallelism": 1});
    let (mut run, plan) = begin(&own, &spec(json!({})), json!({}));
    assert_eq!(made(&plan).len(), 1);
    assert!(made(&change(&mut run, json!({"workflowTemplateRef": {"name": "t"}, "parallelism": 3}), 1)).is_empty());
}
