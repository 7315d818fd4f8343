//! What the engine is told of its surroundings changes what it does as the variables of Argo's controller do.

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::{NodeType, WorkflowPhase};
use tiphys_engine::{Action, EngineConfig, Fact, NodeId, PodNameFormat, PodPhase, PodState, Run};
use tiphys_tests::settle::{no_config_map, settle};

const FORMAT: &str = "workflows.argoproj.io/pod-name-format";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

/// Plans until nothing is needed any more; the names of the Pods that are made.
fn plan(run: &mut Run) -> Vec<String> {
    let made = settle(run, at(1), no_config_map).actions.into_iter().filter_map(|action| match action {
        Action::CreatePod(request) => Some(request.pod_name),
        _ => None,
    });
    made.collect()
}

fn run(config: &EngineConfig, annotations: Value, status: Value, templates: Value) -> Run {
    let object = json!({"metadata": {"name": "wf", "namespace": "default", "annotations": annotations},
        "spec": {"entrypoint": "main", "templates": templates}, "status": status});
    Run::restore(serde_json::from_value(object).expect("a workflow"), config.clone(), at(0))
}

fn one_step() -> Value {
    json!([{"name": "main", "steps": [[{"name": "a", "template": "pod"}]]}, {"name": "pod", "container": {"image": "x"}}])
}

#[test]
fn pods_are_named_as_the_driver_says() {
    let v1 = EngineConfig { pod_names: PodNameFormat::V1, ..EngineConfig::default() };
    let v2 = EngineConfig::default();
    let id = NodeId::of("wf", "wf[0].a").to_string();
    let long = id.replace("wf-", "wf-pod-");
    for (config, annotations, status, name, format) in [
        (&v1, json!({}), json!({}), &id, Some("v1")),
        (&v2, json!({}), json!({}), &long, Some("v2")),
        // A new workflow is not asked.
        (&v2, json!({FORMAT: "v1"}), json!({}), &long, Some("v2")),
        // One that is under way says how it was begun; where it does not, it was begun as the driver says.
        (&v2, json!({FORMAT: "v1"}), json!({"phase": "Running"}), &id, Some("v1")),
        (&v1, json!({FORMAT: "v2"}), json!({"phase": "Running"}), &long, Some("v2")),
        (&v1, json!({}), json!({"phase": "Running"}), &id, None),
    ] {
        let mut run = run(config, annotations.clone(), status.clone(), one_step());
        assert_eq!(plan(&mut run), [name.as_str()], "{annotations} {status}");
        assert_eq!(run.workflow().metadata.annotations.get(FORMAT).map(String::as_str), format);
    }
}

#[test]
fn without_expressions_their_tags_are_names_that_nothing_has() {
    let templates = json!([{"name": "main", "container": {"image": "x", "args": ["{{=1 + 1}} {{workflow.name}}"]}}]);
    let argument = |no_expressions: bool| {
        let config = EngineConfig { no_expressions, ..EngineConfig::default() };
        let mut run = run(&config, json!({}), json!({}), templates.clone());
        let plan = settle(&mut run, at(1), no_config_map);
        let Some(Action::CreatePod(request)) = plan.actions.into_iter().next() else { panic!("no Pod") };
        request.template.container.as_ref().map(|container| container.args.clone()).expect("a container")
    };
    assert_eq!(argument(false), ["2 wf"]);
    assert_eq!(argument(true), ["{{=1 + 1}} wf"]);
}

#[test]
fn messages_that_the_pattern_fits_are_tried_again() {
    let templates = json!([{"name": "main", "container": {"image": "x"},
        "retryStrategy": {"limit": 3, "retryPolicy": "OnTransientError"}}]);
    for (pattern, message, made) in [
        (None, "dial tcp: connection timed out", 1),
        (None, "the proxy is away", 0),
        (Some("proxy is (away|gone)"), "the proxy is away", 1),
    ] {
        let transient_pattern = pattern.map(|pattern| regex::Regex::new(pattern).expect("a pattern"));
        let config = EngineConfig { transient_pattern, ..EngineConfig::default() };
        let mut run = run(&config, json!({}), json!({}), templates.clone());
        plan(&mut run);
        let state = PodState { phase: PodPhase::Failed, message: message.into(), ..PodState::default() };
        run.observe(Fact::Pod { node: NodeId::of("wf", "wf(0)"), state: Box::new(state) }, at(1));
        assert_eq!(plan(&mut run).len(), made, "{message}");
    }
}

#[test]
fn templates_call_each_other_as_deep_as_they_may() {
    const DEPTH: u32 = 400;
    let templates = json!([
        {"name": "main", "inputs": {"parameters": [{"name": "n", "value": "1"}]},
            "steps": [[
                {"name": "a", "template": "main", "when": format!("{{{{inputs.parameters.n}}}} < {DEPTH}"),
                    "arguments": {"parameters": [{"name": "n", "value": "{{=asInt(inputs.parameters.n) + 1}}"}]}},
                {"name": "b", "template": "pod", "when": format!("{{{{inputs.parameters.n}}}} == {DEPTH}")}]]},
        {"name": "pod", "container": {"image": "x"}}]);
    let mut usual = run(&EngineConfig::default(), json!({}), json!({}), templates.clone());
    assert!(plan(&mut usual).is_empty());
    assert_eq!(usual.workflow().status.phase, WorkflowPhase::Failed);
    let config = EngineConfig { max_depth: u32::MAX, ..EngineConfig::default() };
    let mut deep = run(&config, json!({}), json!({}), templates);
    assert_eq!(plan(&mut deep).len(), 1);
    // Nor does it matter how deep it is for another driver that takes it over.
    let mut taken = Run::restore(deep.workflow().clone(), config, at(1));
    assert_eq!(plan(&mut taken).len(), 1);
    let bottom = taken.workflow().status.nodes.values().find(|node| node.r#type == NodeType::Pod).expect("a Pod");
    let node = NodeId::from(bottom.id.as_str());
    let (outputs, progress) = (Box::default(), String::new());
    taken.observe(Fact::TaskResult { node: node.clone(), outputs, progress, complete: true }, at(1));
    let state = PodState { phase: PodPhase::Succeeded, ..PodState::default() };
    taken.observe(Fact::Pod { node, state: Box::new(state) }, at(1));
    plan(&mut taken);
    assert_eq!(taken.workflow().status.phase, WorkflowPhase::Succeeded);
}

#[test]
fn a_retry_keeps_away_from_hosts_on_which_the_steps_before_failed() {
    let templates = json!([
        {"name": "main", "retryStrategy": {"limit": 3, "affinity": {"nodeAntiAffinity": {}}},
            "steps": [[{"name": "a", "template": "pod"}, {"name": "b", "template": "pod"}]]},
        {"name": "pod", "container": {"image": "x"}}]);
    let mut run = run(&EngineConfig::default(), json!({}), json!({}), templates);
    plan(&mut run);
    for (step, host, phase) in [("a", "node1", PodPhase::Failed), ("b", "node2", PodPhase::Succeeded)] {
        let state = PodState { phase, host: host.into(), message: "gone".into(), ..PodState::default() };
        let node = NodeId::of("wf", &format!("wf(0)[0].{step}"));
        let complete =
            Fact::TaskResult { node: node.clone(), outputs: Box::default(), progress: String::new(), complete: true };
        run.observe(complete, at(1));
        run.observe(Fact::Pod { node, state: Box::new(state) }, at(1));
    }
    let requests = run.plan(at(2)).actions.into_iter().filter_map(|action| match action {
        Action::CreatePod(request) => Some(request.avoid_hosts),
        _ => None,
    });
    assert_eq!(requests.collect::<Vec<_>>(), [["node1"], ["node1"]]);
}
