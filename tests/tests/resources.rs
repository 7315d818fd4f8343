//! What a workflow uses of resources is known at any time, and at its end also what each of its parts has used.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use tiphys_api::WorkflowPhase;
use tiphys_engine::{EngineConfig, Fact, NodeId, PodPhase, PodState, Run};
use tiphys_tests::settle::{no_config_map, settle};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn plan(run: &mut Run) {
    settle(run, at(1), no_config_map);
}

/// The node's Pod ends, and has used so many seconds of a processor.
fn end(run: &mut Run, node: &str, seconds: i64) {
    let node = NodeId::of("wf", node);
    let (outputs, progress) = (Box::default(), String::new());
    run.observe(Fact::TaskResult { node: node.clone(), outputs, progress, complete: true }, at(1));
    let resources_duration = BTreeMap::from([("cpu".to_owned(), seconds)]);
    let state = PodState { phase: PodPhase::Succeeded, resources_duration, ..PodState::default() };
    run.observe(Fact::Pod { node, state: Box::new(state) }, at(1));
    plan(run);
}

fn used(run: &Run, node: &str) -> i64 {
    let node = run.node(NodeId::of("wf", node).as_str()).expect("a node");
    node.resources_duration.get("cpu").copied().unwrap_or_default()
}

#[test]
fn pods_are_summed_up_once_each() {
    let object = json!({"metadata": {"name": "wf", "namespace": "default"}, "spec": {"entrypoint": "main", "templates": [
        {"name": "main", "dag": {"tasks": [
            {"name": "a", "template": "pod"},
            {"name": "b", "template": "two", "depends": "a"},
            {"name": "c", "template": "pod", "depends": "b"},
            {"name": "d", "template": "pod", "depends": "b && c"}]}},
        {"name": "two", "retryStrategy": {"limit": 1}, "steps": [[{"name": "x", "template": "pod"}, {"name": "y", "template": "pod"}]]},
        {"name": "pod", "container": {"image": "x"}}]}});
    let workflow = serde_json::from_value(object).expect("a workflow");
    let mut run = Run::new(workflow, EngineConfig::default(), at(0));
    plan(&mut run);
    let total = |run: &Run| run.workflow().status.resources_duration.get("cpu").copied();
    end(&mut run, "wf.a", 1);
    end(&mut run, "wf.b(0)[0].x", 10);
    assert_eq!(total(&run), Some(11));
    // The sum does not depend on who has seen the Pods end.
    let mut run = Run::restore(run.workflow().clone(), EngineConfig::default(), at(1));
    plan(&mut run);
    end(&mut run, "wf.b(0)[0].y", 100);
    assert_eq!(total(&run), Some(111));
    end(&mut run, "wf.c", 1_000);
    end(&mut run, "wf.d", 10_000);
    assert_eq!((run.workflow().status.phase, total(&run)), (WorkflowPhase::Succeeded, Some(11_111)));
    // What follows a retried node hangs under its last attempt, as in Argo.
    let parts = ["wf", "wf.a", "wf.b", "wf.b(0)", "wf.b(0)[0]", "wf.c"].map(|node| used(&run, node));
    assert_eq!(parts, [11_111, 1, 11_110, 11_110, 110, 1_000]);
}
