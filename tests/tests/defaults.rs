//! `workflowDefaults`: what lies under every workflow, and under the template that it names.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::Workflow;
use tiphys_engine::{Action, EngineConfig, Fact, Need, Run};
use tiphys_tests::settle::{no_config_map, settle};

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

fn defaults() -> Value {
    json!({
        "metadata": {"labels": {"team": "ours", "cost": "1"}, "annotations": {"kept": "yes"}},
        "spec": {
            "ttlStrategy": {"secondsAfterCompletion": 60, "secondsAfterSuccess": 30},
            "artifactGC": {"strategy": "OnWorkflowDeletion"},
            "podGC": {"strategy": "OnPodCompletion"},
            "workflowMetadata": {"annotations": {"note": "default"}},
            "arguments": {"parameters": [{"name": "p", "value": "default"}]},
        },
    })
}

fn templates() -> Value {
    json!([{"name": "main", "container": {"image": "i", "args":
        ["{{workflow.labels.cost}} {{workflow.annotations.note}} {{workflow.parameters.p}}"]}}])
}

/// A workflow after its first turn, and what its container is told. `template` is that of the cluster.
fn begin(object: &Value, defaults: &Value, template: &Value) -> (Run, String) {
    let workflow = |value: &Value| serde_json::from_value::<Workflow>(value.clone()).expect("a workflow");
    let config = EngineConfig { workflow_defaults: Some(Arc::new(workflow(defaults))), ..EngineConfig::default() };
    let mut run = Run::restore(workflow(object), config, now());
    let plan = settle(&mut run, now(), |need| match need {
        Need::Template { cluster_scope, name } => {
            let found = Ok(Box::new(serde_json::from_value(template.clone()).expect("a spec")));
            Fact::Template { cluster_scope, name, found }
        }
        need => no_config_map(need),
    });
    let mut told = String::new();
    for action in plan.actions {
        if let Action::CreatePod(request) = action {
            told = request.template.container.as_ref().map(|container| container.args.join(" ")).unwrap_or_default();
        }
    }
    assert_eq!(run.workflow().status.message, "");
    (run, told)
}

fn spec_of(run: &Run) -> Value {
    serde_json::to_value(&run.workflow().spec).expect("JSON")
}

#[test]
fn they_are_put_into_the_object_itself() {
    let own = json!({
        "metadata": {"name": "wf", "namespace": "default", "labels": {"team": "theirs"}},
        "spec": {"entrypoint": "main", "templates": templates(), "ttlStrategy": {"secondsAfterSuccess": 5}},
    });
    let (run, told) = begin(&own, &defaults(), &json!({}));
    let spec = spec_of(&run);
    assert_eq!(spec["ttlStrategy"], json!({"secondsAfterCompletion": 60, "secondsAfterSuccess": 5}));
    assert_eq!(spec["artifactGC"], json!({"strategy": "OnWorkflowDeletion"}));
    assert_eq!(spec["podGC"], json!({"strategy": "OnPodCompletion"}));
    let metadata = &run.workflow().metadata;
    assert_eq!((metadata.labels["team"].as_str(), metadata.labels["cost"].as_str()), ("theirs", "1"));
    assert_eq!(told, "1 default default");
}

#[test]
fn one_that_began_without_them_gets_them_after_a_restart() {
    let own = json!({
        "metadata": {"name": "wf", "namespace": "default"},
        "spec": {"entrypoint": "main", "templates": templates()},
        "status": {"phase": "Running", "startedAt": "2023-11-14T22:13:20Z"},
    });
    let (run, _) = begin(&own, &defaults(), &json!({}));
    assert_eq!(spec_of(&run)["ttlStrategy"]["secondsAfterCompletion"], 60);
    // What it is selected by stays as it is.
    assert!(!run.workflow().metadata.labels.contains_key("cost"));
}

#[test]
fn with_a_template_they_lie_under_that() {
    let own = json!({
        "metadata": {"name": "wf", "namespace": "default", "labels": {"team": "theirs"}},
        "spec": {"workflowTemplateRef": {"name": "t"}},
    });
    let template = json!({"entrypoint": "main", "templates": templates(), "podGC": {"strategy": "OnWorkflowSuccess"},
        "arguments": {"parameters": [{"name": "p", "value": "template"}]}});
    let (run, told) = begin(&own, &defaults(), &template);
    assert_eq!(spec_of(&run), own["spec"]);
    let executed = serde_json::to_value(run.workflow().executed_spec()).expect("JSON");
    assert_eq!(executed["podGC"], json!({"strategy": "OnWorkflowSuccess"}));
    assert_eq!(executed["ttlStrategy"]["secondsAfterCompletion"], 60);
    let metadata = &run.workflow().metadata;
    assert_eq!((metadata.labels["team"].as_str(), metadata.labels["cost"].as_str()), ("theirs", "1"));
    assert_eq!(told, "1 default template");
}

#[test]
fn a_template_may_come_from_them() {
    let own = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": {}});
    let template =
        json!({"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "i", "args": ["a"]}}]});
    let (_, told) = begin(&own, &json!({"spec": {"workflowTemplateRef": {"name": "t"}}}), &template);
    assert_eq!(told, "a");
}

#[test]
fn a_parameter_that_is_only_named_keeps_the_value_below_it() {
    let named = json!({"parameters": [{"name": "p", "description": "only named"}]});
    let plain = json!({
        "metadata": {"name": "wf", "namespace": "default"},
        "spec": {"entrypoint": "main", "templates": templates(), "arguments": named},
    });
    assert_eq!(begin(&plain, &defaults(), &json!({})).1, "1 default default");
}
