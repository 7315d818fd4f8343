//! Pods that are lost before they begin are made anew, as often as that is allowed.

use jiff::Timestamp;
use serde_json::json;
use tiphys_api::{NodePhase, Workflow};
use tiphys_engine::{Action, EngineConfig, Fact, NodeId, PodPhase, PodState, Run};
use tiphys_tests::settle::{no_config_map, settle};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn config(restarts: Option<i64>) -> EngineConfig {
    EngineConfig { failed_pod_restarts: restarts, ..EngineConfig::default() }
}

/// Plans until nothing is needed any more; what was done, in words.
fn plan(run: &mut Run) -> Vec<String> {
    let mut done = Vec::new();
    for action in settle(run, at(1), no_config_map).actions {
        match action {
            Action::CreatePod(request) => done.push(format!("create {}", request.pod_name)),
            Action::ReplacePod { pod_name, uid, .. } => done.push(format!("replace {pod_name} {uid}")),
            _ => {}
        }
    }
    done
}

fn begin(restarts: Option<i64>) -> Run {
    let object = json!({"metadata": {"name": "wf", "namespace": "default"},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "x"}}]}});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    Run::new(workflow, config(restarts), at(0))
}

fn fail(run: &mut Run, uid: &str, reason: &str, started: &[&str]) -> Vec<String> {
    let state = PodState {
        uid: uid.into(),
        phase: PodPhase::Failed,
        reason: reason.into(),
        message: "the node was low on resource: memory".into(),
        started: started.iter().map(ToString::to_string).collect(),
        ..PodState::default()
    };
    run.observe(Fact::Pod { node: NodeId::from("wf"), state: Box::new(state) }, at(1));
    plan(run)
}

#[test]
fn a_pod_that_is_lost_is_made_anew() {
    let mut run = begin(Some(2));
    assert_eq!(plan(&mut run), ["create wf"]);
    assert_eq!(fail(&mut run, "u1", "Evicted", &["wait"]), ["replace wf u1"]);
    let node = run.node("wf").expect("a node");
    assert_eq!((node.phase, node.failed_pod_restarts, node.restarting_pod_uid.as_str()), (NodePhase::Pending, 1, "u1"));
    assert_eq!(node.message, "Pod auto-restarting due to Evicted: the node was low on resource: memory");
    // Seen again, it is the same one.
    assert_eq!(fail(&mut run, "u1", "Evicted", &[]), ["replace wf u1"]);
    assert_eq!(run.node("wf").map(|node| node.failed_pod_restarts), Some(1));
    // Another driver takes over in between.
    let mut run = Run::restore(run.workflow().clone(), config(Some(2)), at(1));
    plan(&mut run);
    assert_eq!(fail(&mut run, "u1", "Evicted", &[]), ["replace wf u1"]);
    run.observe(Fact::PodGone { node: NodeId::from("wf") }, at(1));
    assert_eq!(plan(&mut run), ["create wf"]);
    assert_eq!(fail(&mut run, "u2", "NodeShutdown", &[]), ["replace wf u2"]);
    run.observe(Fact::PodGone { node: NodeId::from("wf") }, at(1));
    assert_eq!(plan(&mut run), ["create wf"]);
    assert_eq!(fail(&mut run, "u3", "Evicted", &[]), [""; 0]);
    assert_eq!(run.node("wf").map(|node| node.phase), Some(NodePhase::Failed));
}

#[test]
fn what_has_begun_or_failed_by_itself_stays_failed() {
    for (restarts, reason, started) in
        [(None, "Evicted", &[][..]), (Some(3), "DeadlineExceeded", &[]), (Some(3), "Evicted", &["main"])]
    {
        let mut run = begin(restarts);
        plan(&mut run);
        assert_eq!(fail(&mut run, "u1", reason, started), [""; 0], "{reason}");
        assert_eq!(run.node("wf").map(|node| node.phase), Some(NodePhase::Failed), "{reason}");
    }
}
