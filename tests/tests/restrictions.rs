//! Workflows that may only call upon templates of the cluster.

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::{Workflow, WorkflowSpec};
use tiphys_engine::{Action, EngineConfig, Fact, Need, Restriction, Run};
use tiphys_tests::settle::{no_config_map, settle};

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

fn template(image: &str) -> WorkflowSpec {
    let spec = json!({"entrypoint": "main", "templates": [{"name": "main", "container": {"image": image}}]});
    serde_json::from_value(spec).expect("a spec")
}

/// Phase and message of a workflow after its first turn, and the image that it runs.
fn outcome(restriction: Restriction, allowed: &[&str], spec: Value, status: Value) -> String {
    let object = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": spec, "status": status});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let allowed_overrides = allowed.iter().map(|field| (*field).to_string()).collect();
    let config = EngineConfig { restriction, allowed_overrides, ..EngineConfig::default() };
    let mut run = Run::restore(workflow, config, now());
    let mut image = String::new();
    let plan = settle(&mut run, now(), |need| match need {
        Need::Template { cluster_scope, name } => {
            Fact::Template { cluster_scope, name, found: Ok(Box::new(template("theirs"))) }
        }
        need => no_config_map(need),
    });
    for action in plan.actions {
        if let Action::CreatePod(request) = action {
            image = request.template.container.as_ref().map(|container| container.image.clone()).unwrap_or_default();
        }
    }
    let status = &run.workflow().status;
    format!("{} {}{image}", status.phase, status.message)
}

const REFERENCE: &str =
    "Error workflows must use workflowTemplateRef to be executed when the controller is in reference mode";

#[test]
fn a_spec_of_ones_own_is_refused() {
    let own = || serde_json::to_value(template("mine")).expect("JSON");
    assert_eq!(outcome(Restriction::None, &[], own(), json!({})), "Running mine");
    assert_eq!(outcome(Restriction::Strict, &[], own(), json!({})), REFERENCE);
    assert_eq!(outcome(Restriction::Secure, &[], own(), json!({})), REFERENCE);
}

#[test]
fn little_may_be_set_beside_the_reference() {
    let reference = json!({"workflowTemplateRef": {"name": "t"}, "arguments": {"parameters": [{"name": "a", "value": "b"}]},
        "ttlStrategy": {"secondsAfterCompletion": 5}});
    assert_eq!(outcome(Restriction::Secure, &[], reference.clone(), json!({})), "Running theirs");
    let mut more = reference;
    more["serviceAccountName"] = json!("admin");
    more["dnsPolicy"] = json!("Default");
    more["artifactGC"] = json!({"strategy": "Never", "podSpecPatch": "x"});
    assert_eq!(
        outcome(Restriction::Strict, &[], more.clone(), json!({})),
        "Error fields [ArtifactGC.PodSpecPatch DNSPolicy ServiceAccountName] are not permitted when using \
         workflowTemplateRef with templateReferencing restriction"
    );
    more["artifactGC"] = json!({"strategy": "Never"});
    assert_eq!(outcome(Restriction::Strict, &["serviceAccountName", "dnsPolicy"], more, json!({})), "Running theirs");
}

#[test]
fn a_status_that_is_brought_along_is_no_way_round() {
    let reference = || json!({"workflowTemplateRef": {"name": "t"}});
    let brought = |phase: &str, image: &str| {
        json!({"phase": phase, "startedAt": "2023-11-14T22:13:20Z",
        "storedWorkflowTemplateSpec": serde_json::to_value(WorkflowSpec {
            workflow_template_ref: serde_json::from_value(json!({"name": "t"})).expect("a reference"),
            ..template(image)
        }).expect("JSON")})
    };
    assert_eq!(outcome(Restriction::Strict, &[], reference(), brought("", "mine")), "Running theirs");
    assert_eq!(outcome(Restriction::Secure, &[], reference(), brought("", "mine")), "Running theirs");
    assert_eq!(
        outcome(Restriction::Secure, &[], reference(), brought("Running", "mine")),
        "Error WorkflowSpec may not change during execution when the controller is set `templateReferencing: Secure`"
    );
    assert_eq!(outcome(Restriction::Secure, &[], reference(), brought("Running", "theirs")), "Running theirs");
}
