//! Nodes without a Pod: what is asked for, what is made of reports, and when a task is taken back.

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::{NodePhase, NodeResult, Outputs, Workflow};
use tiphys_engine::{Action, EngineConfig, Fact, NodeId, Run};
use tiphys_tests::settle::{no_config_map, settle};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

fn begun(templates: Value) -> (Run, Vec<Action>) {
    let object = json!({"metadata": {"name": "wf", "namespace": "default"},
        "spec": {"entrypoint": "main", "arguments": {"parameters": [{"name": "p", "value": "v"}]}, "templates": templates}});
    let workflow: Workflow = serde_json::from_value(object).expect("a workflow");
    let mut run = Run::new(workflow, EngineConfig::default(), at(0));
    let actions = plan(&mut run, 0);
    (run, actions)
}

/// The actions that follow, everything being answered that is asked for.
fn plan(run: &mut Run, second: i64) -> Vec<Action> {
    settle(run, at(second), no_config_map).actions
}

fn report(run: &mut Run, phase: NodePhase, message: &str, progress: &str, second: i64) -> Vec<Action> {
    let outputs = Outputs { result: Some(message.to_string()), ..Outputs::default() };
    let result = NodeResult {
        phase,
        message: message.into(),
        outputs: Some(Box::new(outputs)),
        progress: progress.into(),
        ..NodeResult::default()
    };
    run.observe(Fact::NodeResult { node: NodeId::from("wf"), result: Box::new(result) }, at(second));
    plan(run, second)
}

fn is_end(action: &Action) -> bool {
    matches!(action, Action::EndTask { node } if node.as_str() == "wf")
}

#[test]
fn a_task_is_asked_for_with_everything_filled_in_and_taken_back_with_its_result() {
    let template = json!([{"name": "main", "inputs": {"parameters": [{"name": "x", "value": "{{workflow.parameters.p}}"}]},
        "plugin": {"own": {"name": "{{inputs.parameters.x}} of {{node.name}}"}}}]);
    let (mut run, actions) = begun(template);
    let [Action::RunTask(request)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((request.node.as_str(), request.node_name.as_str()), ("wf", "wf"));
    let plugin = serde_json::to_value(&*request.template).expect("JSON")["plugin"].clone();
    assert_eq!(plugin, json!({"own": {"name": "v of wf"}}));

    assert!(report(&mut run, NodePhase::Running, "half way", "1/2", 1).is_empty());
    let node = |run: &Run| run.node("wf").cloned().expect("the node");
    let running = node(&run);
    assert_eq!(
        (running.phase, running.message.as_str(), running.progress.as_str()),
        (NodePhase::Running, "half way", "1/2")
    );
    assert!(running.finished_at.is_none());
    // A report that was overtaken, and one that says nothing.
    assert!(report(&mut run, NodePhase::Pending, "early", "", 2).is_empty());
    assert!(report(&mut run, NodePhase::Unknown, "", "", 2).is_empty());
    assert_eq!(node(&run), running);

    let actions = report(&mut run, NodePhase::Succeeded, "done", "", 3);
    assert!(matches!(actions.as_slice(), [end, Action::Finish] if is_end(end)), "{actions:?}");
    assert_eq!(node(&run).outputs.and_then(|outputs| outputs.result).as_deref(), Some("done"));
    assert_eq!(run.workflow().status.progress, "2/2");
    // The result is still there: the task was not taken back yet.
    assert!(matches!(report(&mut run, NodePhase::Failed, "late", "", 4).as_slice(), [end] if is_end(end)));
    assert_eq!(node(&run).phase, NodePhase::Succeeded);
}

#[test]
fn a_restart_asks_again_for_what_is_open_and_takes_back_what_is_over() {
    let template = json!([{"name": "main", "http": {"url": "http://x"}}]);
    let (mut run, _) = begun(template);
    let mut again = Run::restore(run.workflow().clone(), EngineConfig::default(), at(5));
    let actions = plan(&mut again, 5);
    assert!(matches!(actions.as_slice(), [Action::RunTask(request)] if request.node.as_str() == "wf"), "{actions:?}");

    report(&mut run, NodePhase::Failed, "received non-2xx response code: 500", "", 6);
    assert_eq!(run.workflow().status.message, "received non-2xx response code: 500");
    let mut over = Run::restore(run.workflow().clone(), EngineConfig::default(), at(7));
    plan(&mut over, 7);
    // A driver tells of every task that is still kept, with a result or without.
    assert!(matches!(report(&mut over, NodePhase::Unknown, "", "", 7).as_slice(), [end] if is_end(end)));
}
