//! Results that were begun to be reported and never are to the end hold up neither node nor workflow for ever.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tiphys_api::{NodePhase, Outputs, Time, Workflow, WorkflowPhase};
use tiphys_engine::{ContainerState, ContainerStatus, EngineConfig, Fact, NodeId, PodPhase, PodState, Run};
use tiphys_tests::settle::{no_config_map, settle};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn config() -> EngineConfig {
    EngineConfig { result_timeout: Some(SignedDuration::from_secs(60)), ..EngineConfig::default() }
}

/// Plans until nothing is needed any more; the moment of the next plan.
fn plan(run: &mut Run, second: i64) -> Option<Timestamp> {
    settle(run, at(second), no_config_map).wake_at
}

fn begin(template: Value) -> Run {
    let object = json!({"metadata": {"name": "wf", "namespace": "default"},
        "spec": {"entrypoint": "main", "templates": [template]}});
    let mut run = Run::new(serde_json::from_value(object).expect("a workflow"), config(), at(0));
    plan(&mut run, 0);
    run
}

fn step(outputs: Value) -> Value {
    json!({"name": "main", "container": {"image": "x"}, "outputs": outputs})
}

fn resource() -> Value {
    json!({"name": "main", "resource": {"action": "get", "manifest": "x"}})
}

fn see(run: &mut Run, second: i64, phase: PodPhase, ended: &[(&str, i32)]) -> Option<Timestamp> {
    let end = |(name, exit_code): &(&str, i32)| ContainerState {
        name: (*name).into(),
        init: false,
        ready: false,
        status: ContainerStatus::Terminated {
            exit_code: *exit_code,
            reason: "Error".into(),
            message: String::new(),
            finished: Some(Time::from_second(at(second).as_second())),
        },
    };
    let state = PodState { phase, containers: ended.iter().map(end).collect(), ..PodState::default() };
    run.observe(Fact::Pod { node: NodeId::from("wf"), state: Box::new(state) }, at(second));
    plan(run, second)
}

fn report(run: &mut Run, second: i64, complete: bool) -> Option<Timestamp> {
    let outputs = Box::default();
    run.observe(Fact::TaskResult { node: NodeId::from("wf"), outputs, progress: String::new(), complete }, at(second));
    plan(run, second)
}

fn node(run: &Run) -> (NodePhase, Option<bool>, WorkflowPhase) {
    let node = run.node("wf").expect("a node");
    (node.phase, node.task_result_synced, run.workflow().status.phase)
}

#[test]
fn a_main_container_that_reports_itself_and_ends_badly_reports_nothing_more() {
    let mut run = begin(resource());
    see(&mut run, 1, PodPhase::Running, &[]);
    report(&mut run, 1, false);
    see(&mut run, 2, PodPhase::Failed, &[("main", 137)]);
    assert_eq!(node(&run), (NodePhase::Failed, Some(true), WorkflowPhase::Failed));
}

#[test]
fn a_node_that_is_over_waits_so_long_for_its_results() {
    let mut run = begin(resource());
    see(&mut run, 1, PodPhase::Running, &[]);
    report(&mut run, 1, false);
    assert_eq!(see(&mut run, 5, PodPhase::Succeeded, &[("main", 0)]), Some(at(65)));
    assert_eq!(node(&run), (NodePhase::Succeeded, Some(false), WorkflowPhase::Running));
    // Also where another driver takes over in between.
    let taken: Workflow = run.workflow().clone();
    let mut other = Run::restore(taken, config(), at(20));
    assert_eq!(plan(&mut other, 20), Some(at(65)));
    for run in [&mut run, &mut other] {
        plan(run, 64);
        assert_eq!(node(run).2, WorkflowPhase::Running);
        plan(run, 65);
        assert_eq!(node(run), (NodePhase::Succeeded, Some(true), WorkflowPhase::Succeeded));
    }
}

#[test]
fn results_in_time_leave_nothing_to_wait_for() {
    let mut run = begin(step(json!({})));
    see(&mut run, 1, PodPhase::Running, &[]);
    report(&mut run, 1, false);
    assert_eq!(see(&mut run, 5, PodPhase::Succeeded, &[("wait", 0), ("main", 0)]), Some(at(65)));
    assert_eq!(report(&mut run, 6, true), None);
    assert_eq!(node(&run), (NodePhase::Succeeded, Some(true), WorkflowPhase::Succeeded));
}

#[test]
fn a_supervisor_that_ended_well_and_did_not_report_is_not_waited_for_either() {
    let mut run = begin(step(json!({})));
    see(&mut run, 1, PodPhase::Running, &[]);
    report(&mut run, 1, false);
    see(&mut run, 5, PodPhase::Succeeded, &[("wait", 0), ("main", 0)]);
    assert_eq!(node(&run).0, NodePhase::Running);
    plan(&mut run, 65);
    assert_eq!(node(&run), (NodePhase::Succeeded, Some(true), WorkflowPhase::Succeeded));
}

#[test]
fn a_node_errs_that_cannot_do_without_its_outputs() {
    let mut run = begin(step(json!({"parameters": [{"name": "p", "valueFrom": {"path": "/p"}}]})));
    see(&mut run, 1, PodPhase::Running, &[]);
    report(&mut run, 1, false);
    see(&mut run, 5, PodPhase::Succeeded, &[("wait", 0), ("main", 0)]);
    plan(&mut run, 65);
    assert_eq!(node(&run), (NodePhase::Error, Some(true), WorkflowPhase::Error));
    let message = &run.node("wf").expect("a node").message;
    assert_eq!(message, "the outputs of the template were not reported within 60 s after the end of the Pod");
    assert_eq!(
        run.node("wf").and_then(|node| node.outputs.as_deref()).map(|outputs: &Outputs| outputs.parameters.len()),
        Some(0)
    );
}
